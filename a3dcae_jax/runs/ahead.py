"""Compiles the real train and inference programs for TPUs that are not there, and reads off what limits them."""

import time
from typing import NamedTuple

import jax
from jax.experimental import topologies

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.ops.lowering import lowered_for
from a3dcae_jax.runs import hlo
from a3dcae_jax.runs.programs import error_program, fresh_state, input_shapes, train_program, variables_of
from a3dcae_jax.training import parallel


class Chip(NamedTuple):
  """What one chip can do: bf16 TFLOP/s, memory GB/s, memory GB, and GB/s to its neighbours over all links together.

  Source: the TPU system architecture pages of Google Cloud (v5e, v5p, v6e).
  """
  tflops_per_s: float
  gb_per_s: float
  memory_gb: float
  link_gb_per_s: float


CHIPS = {'v5e': Chip(197, 819, 16, 200), 'v5p': Chip(459, 2765, 95, 600), 'v6e': Chip(918, 1640, 32, 448)}


def topology_devices(name):
  """The devices of a topology such as 'v5e:2x2'; a `UserError` where it is not known or libtpu is not installed."""
  kind, _, grid = name.partition(':')
  if kind not in CHIPS or not grid:
    raise UserError(f'--topology {name!r}: write KIND:GRID with KIND of {", ".join(CHIPS)}, as in v5e:1x1 or v5e:16x16')
  options = {}
  sizes = [int(size) for size in grid.split('x')]
  if all(size == 1 for size in sizes):
    options = {'chips_per_host_bounds': (1,) * 3}
  try:
    return topologies.get_topology_desc(name, platform='tpu', **options).devices
  except Exception as error:  # the plug-in raises its own kinds
    hint = '' if 'libtpu' not in str(error).lower() else "; pip install -e '.[tpu]' brings libtpu"
    raise UserError(f'--topology {name!r}: {str(error).splitlines()[0]}{hint}') from None


def compile_ahead(setting, devices):
  """(compiled program, seconds it took) of a `programs.Setting` over TPU `devices`, mapped as training maps it."""
  start = time.perf_counter()
  with lowered_for('tpu'):
    compiled = _lower(setting, devices).compile()
  return compiled, time.perf_counter() - start


def _lower(setting, devices):
  state = jax.eval_shape(lambda: fresh_state(setting))
  clips, mean_image = input_shapes(setting, len(devices))
  if setting.mode == 'infer':
    mapped = jax.pmap(error_program(setting), axis_name=parallel.AXIS, in_axes=(None, 0, None), out_axes=0, devices=devices)
    return mapped.lower(variables_of(state), clips, mean_image)
  return parallel.map_step(train_program(setting, parallel.AXIS), num_shared=1, devices=devices).lower(state, clips, mean_image)


def report(setting, topology):
  """Dict of figures for a setting on a topology, all a chip: FLOPs, bytes, memory, roofline, moves over 1 MB, collectives."""
  devices = topology_devices(topology)
  compiled, seconds = compile_ahead(setting, devices)
  chip, text = CHIPS[topology.partition(':')[0]], compiled.as_text()
  cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
  cost = cost[0] if isinstance(cost, list) else cost
  flops, moved = cost['flops'], cost['bytes accessed']
  used = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes - memory.alias_size_in_bytes
  compute_s, memory_s = flops / (chip.tflops_per_s * 1e12), moved / (chip.gb_per_s * 1e9)
  sent = hlo.collectives(text)
  sent_s = sum(row['bytes'] for row in sent) * 2 / (chip.link_gb_per_s * 1e9)  # a ring sends each byte out and back
  bound = max(compute_s, memory_s)
  return {**setting._asdict(), 'topology': topology, 'chips': len(devices), 'compile_s': seconds,
          'gflops_per_clip': flops / setting.batch / 1e9, 'gb_per_clip': moved / setting.batch / 1e9,
          'memory_gb': used / 1e9, 'memory_share': used / (chip.memory_gb * 1e9), 'fits': used < chip.memory_gb * 1e9,
          'compute_s': compute_s, 'memory_s': memory_s, 'limited_by': 'FLOPs' if compute_s >= memory_s else 'memory',
          'roofline_frames_per_s': setting.batch * setting.window / bound, 'convolution_share': min(1.0, hlo.convolution_flops(text) / flops),
          'large_moves': hlo.large_moves(text), 'collectives': sent, 'collective_s': sent_s, 'collective_share': sent_s / bound}
