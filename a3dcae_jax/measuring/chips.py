"""Chips that are not there: what each can do, and its devices as the compilers describe them."""

import contextlib
from typing import NamedTuple

import jax
from jax.experimental import topologies

from a3dcae_jax.common.errors import UserError


class Chip(NamedTuple):
  """What one chip can do: bf16 TFLOP/s, memory GB/s, memory GiB, and GB/s that it can send over all its links together.

  Sources: the TPU system architecture pages of Google Cloud (v5e, v5p, v6e); NVIDIA's data sheets of A100, H100 and H200 SXM (dense rates, NVLink).
  """

  tflops_per_s: float
  gb_per_s: float
  memory_gib: float
  link_gb_per_s: float


class Gpu(NamedTuple):
  """What XLA asks of a GPU before it compiles for it: its `GpuTargetConfigProto`. Source: CUDA's tables of compute capabilities."""

  name: str
  capability: int
  cores: int
  fpus_per_core: int
  shared_per_core: int
  shared_per_block: int
  l2_bytes: int
  clock_ghz: float
  memory_bytes: int


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
_TARGETS = {
  'a100': Gpu(
    'NVIDIA A100-SXM4-80GB', 8, 108, 64, 167936, 166912, 40 * 2**20, 1.41, 85_100_068_864
  ),
  'h100': Gpu(
    'NVIDIA H100 80GB HBM3', 9, 132, 128, 233472, 232448, 50 * 2**20, 1.98, 84_942_979_072
  ),
  'h200': Gpu('NVIDIA H200', 9, 132, 128, 233472, 232448, 50 * 2**20, 1.98, 151_397_597_184),
}
DEFAULTS = {'tpu': 'v5e:1x1', 'cuda': 'h200:1x1'}


def platform_of(topology):
  """'tpu' or 'cuda': what a topology such as 'v5e:2x2' or 'h200:1x4' belongs to; a `UserError` where it is not known."""
  kind, _, grid = topology.partition(':')
  if (
    kind not in CHIPS
    or not grid
    or not all(size.isdigit() and int(size) for size in grid.split('x'))
  ):
    raise UserError(
      f'--topology {topology!r}: write KIND:GRID with KIND of {", ".join(CHIPS)}, as in v5e:16x16 (TPU chips) or h200:1x4 (hosts x GPUs)'
    )
  return 'tpu' if kind in TPUS else 'cuda'


def chip_of(topology):
  """The `Chip` of a topology."""
  return CHIPS[topology.partition(':')[0]]


def topology_devices(topology):
  """The devices of a topology; a `UserError` where it is not known or its compiler is not installed."""
  platform = platform_of(topology)
  kind, _, grid = topology.partition(':')
  sizes = [int(size) for size in grid.split('x')]
  if platform == 'cuda':
    hosts, gpus = (1, *sizes)[-2:]
    name, options = '', {'target_config': gpu_target(kind), 'topology': f'1x{hosts}x{gpus}'}
  else:
    name, options = (
      topology,
      {'chips_per_host_bounds': (1,) * 3} if all(size == 1 for size in sizes) else {},
    )
  try:
    return topologies.get_topology_desc(name, platform=platform, **options).devices
  except Exception as error:  # the plug-ins raise their own kinds
    lacks = {
      'tpu': "'.[tpu]' brings libtpu",
      'cuda': "'.[cuda12]' brings XLA's compiler for CUDA; it needs no GPU",
    }
    missing = any(
      word in str(error).lower()
      for word in ('libtpu', 'not installed', 'not implemented', 'no platforms')
    )
    hint = f'; pip install -e {lacks[platform]}' if missing else ''
    raise UserError(f'--topology {topology!r}: {str(error).splitlines()[0]}{hint}') from None


def kernels_for(devices, axis_name):
  """Inside, Pallas writes GPU kernels for `devices`, over which `axis_name` is mapped: they are not there to be asked what they are. TPUs' it knows."""
  if devices[0].platform == 'tpu':
    return contextlib.nullcontext()
  device = jax.sharding.AbstractDevice(
    device_kind=devices[0].device_kind, num_cores=devices[0].core_count, platform='gpu'
  )
  return jax.sharding.use_abstract_mesh(
    jax.sharding.AbstractMesh(
      (len(devices),), (axis_name,), (jax.sharding.AxisType.Auto,), abstract_device=device
    )
  )


def gpu_target(kind):
  """A kind of GPU as the text of a `GpuTargetConfigProto`. Source of the fields: openxla/xla, device_description.proto."""
  gpu = _TARGETS[kind]
  return f'''gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: {gpu.shared_per_core} shared_memory_per_block_optin: {gpu.shared_per_block}
  core_count: {gpu.cores} fpus_per_core: {gpu.fpus_per_core} clock_rate_ghz: {gpu.clock_ghz}
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: {int(GPUS[kind].gb_per_s * 1e9)} l2_cache_size: {gpu.l2_bytes} device_memory_size: {gpu.memory_bytes}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  cuda_compute_capability {{ major: {gpu.capability} }}
}}
platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 10 }} runtime_version {{ major: 12 minor: 8 }}
device_description_str: "{gpu.name}"
'''
