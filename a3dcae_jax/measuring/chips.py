"""Data sheets of accelerators that are absent, and devices to compile for."""

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from a3dcae_jax.common.errors import UserError


class Chip(NamedTuple):
  """Peak rates and memory of one chip.

  Sources: the pages on TPU system architecture of Google Cloud (v5e, v5p, v6e); NVIDIA's data
  sheets of A100, H100 and H200 SXM (dense rates, NVLink).

  Attributes:
    tflops_per_s: peak rate in bfloat16.
    gb_per_s: bandwidth of the memory.
    memory_gib: size of the memory.
    link_gb_per_s: rate at which the chip sends over all its links together.
  """

  tflops_per_s: float
  gb_per_s: float
  memory_gib: float
  link_gb_per_s: float


class Gpu(NamedTuple):
  """Properties of a GPU that XLA needs for compilation.

  They are the fields of its `GpuTargetConfigProto`. Source: CUDA's tables of compute capabilities.
  """

  name: str
  capability: int
  cores: int
  fpus_per_core: int
  shared_per_core: int
  shared_per_block: int
  l2_bytes: int
  clock_ghz: float
  memory_bytes: int


class Topology(NamedTuple):
  """A grid of chips.

  Attributes:
    kind: a name in `CHIPS`.
    grid: chips along each axis of a TPU slice; or hosts and GPUs per host.
  """

  kind: str
  grid: tuple[int, ...]


TPUS = {
  'v5e': Chip(197, 819, 16, 200),
  'v5p': Chip(459, 2765, 95, 600),
  'v6e': Chip(918, 1640, 32, 448),
}
GPUS = {
  'a100': Chip(312, 2039, 79.3, 300),
  'h100': Chip(989, 3352, 79.1, 450),
  'h200': Chip(989, 4800, 141, 450),
}
CHIPS = TPUS | GPUS
DEFAULTS = {'tpu': 'v5e:1x1', 'cuda': 'h200:1x1'}  # default topology of each platform

_A100 = Gpu('NVIDIA A100-SXM4-80GB', 8, 108, 64, 167936, 166912, 40 * 2**20, 1.41, 85_100_068_864)
_H100 = Gpu('NVIDIA H100 80GB HBM3', 9, 132, 128, 233472, 232448, 50 * 2**20, 1.98, 84_942_979_072)
_H200 = Gpu('NVIDIA H200', 9, 132, 128, 233472, 232448, 50 * 2**20, 1.98, 151_397_597_184)
_TARGETS = {'a100': _A100, 'h100': _H100, 'h200': _H200}

_INSTALL_HINTS = {
  'tpu': "pip install -e '.[tpu]' brings libtpu",
  'cuda': "pip install -e '.[cuda12]' brings XLA's compiler for CUDA; it needs no GPU",
}
_NOT_INSTALLED = ('libtpu', 'not installed', 'not implemented', 'no platforms')


def parse_topology(name: str) -> Topology:
  """Read a topology such as 'v5e:2x2' or 'h200:1x4'.

  Raises:
    UserError: if the kind of chip is unknown or the grid is not a product of positive numbers.
  """
  kind, _, grid = name.partition(':')
  sizes = grid.split('x')
  if kind not in CHIPS or not all(size.isdigit() and int(size) > 0 for size in sizes):
    raise UserError(
      f'--topology {name!r}: write KIND:GRID with KIND of {", ".join(CHIPS)}, '
      'as in v5e:16x16 (TPU chips) or h200:1x4 (hosts x GPUs)'
    )
  return Topology(kind, tuple(int(size) for size in sizes))


def platform_of(topology: str) -> str:
  """Return the platform of a topology, 'tpu' or 'cuda'."""
  return 'tpu' if parse_topology(topology).kind in TPUS else 'cuda'


def chip_of(topology: str) -> Chip:
  """Return the data sheet of a topology's chips."""
  return CHIPS[parse_topology(topology).kind]


def topology_devices(topology: str) -> Sequence[Any]:
  """Return the devices of a topology, for which programs can be compiled.

  Raises:
    UserError: if the topology is unknown or its compiler is not installed.
  """
  platform = platform_of(topology)
  kind, grid = parse_topology(topology)
  if platform == 'cuda':
    hosts, gpus = (1, *grid)[-2:]
    name = ''
    options = {'target_config': gpu_target(kind), 'topology': f'1x{hosts}x{gpus}'}
  else:
    name = topology
    is_single = all(size == 1 for size in grid)
    options = {'chips_per_host_bounds': (1, 1, 1)} if is_single else {}
  try:
    return topologies.get_topology_desc(name, platform=platform, **options).devices
  except Exception as error:  # each plug-in raises its own types
    message = str(error)
    is_missing = any(words in message.lower() for words in _NOT_INSTALLED)
    hint = f'; {_INSTALL_HINTS[platform]}' if is_missing else ''
    raise UserError(f'--topology {topology!r}: {message.splitlines()[0]}{hint}') from None


def kernels_for(devices: Sequence[Any], axis_name: str) -> contextlib.AbstractContextManager[Any]:
  """Return a context in which Pallas compiles GPU kernels for absent devices.

  Pallas otherwise queries the GPU for its properties; here they come from an abstract device. TPUs
  need no context.

  Args:
    devices: the devices of a topology.
    axis_name: the axis that is mapped over them.
  """
  if devices[0].platform == 'tpu':
    return contextlib.nullcontext()
  device = jax.sharding.AbstractDevice(
    device_kind=devices[0].device_kind, num_cores=devices[0].core_count, platform='gpu'
  )
  mesh = jax.sharding.AbstractMesh(
    (len(devices),), (axis_name,), (jax.sharding.AxisType.Auto,), abstract_device=device
  )
  return jax.sharding.use_abstract_mesh(mesh)


def gpu_target(kind: str) -> str:
  """Return a kind of GPU as the text of a `GpuTargetConfigProto`.

  Source of the fields: openxla/xla, device_description.proto.
  """
  gpu = _TARGETS[kind]
  bandwidth = int(GPUS[kind].gb_per_s * 1e9)
  return f"""gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: {gpu.shared_per_core}
  shared_memory_per_block_optin: {gpu.shared_per_block}
  core_count: {gpu.cores} fpus_per_core: {gpu.fpus_per_core} clock_rate_ghz: {gpu.clock_ghz}
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth} l2_cache_size: {gpu.l2_bytes}
  device_memory_size: {gpu.memory_bytes}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  cuda_compute_capability {{ major: {gpu.capability} }}
}}
platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 12 minor: 8 }}
device_description_str: "{gpu.name}"
"""
