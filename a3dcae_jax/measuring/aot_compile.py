"""Compiles the real train and inference programs for TPUs and GPUs that are not there, and reads off what limits them."""

import re
import time

import jax

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring import hlo
from a3dcae_jax.measuring.chips import chip_of, kernels_for, platform_of, topology_devices
from a3dcae_jax.measuring.flops import model_flops
from a3dcae_jax.measuring.links import sending_s
from a3dcae_jax.measuring.main_memory import main_memory_bytes
from a3dcae_jax.measuring.programs import (
  error_program,
  fresh_state,
  input_shapes,
  resolved,
  train_program,
  variables_of,
)
from a3dcae_jax.ops.conv_algorithm import tracing_for
from a3dcae_jax.training import parallel

LOWERED_FOR = {'tpu': 'tpu', 'cuda': 'gpu'}
# XLA chooses the tiles of its own matrix products by timing them; without a GPU it ends with an error at some shapes. cuBLAS needs no tiles.
# The layout of convolutions is what `common.tuning` asks for where programs run.
OPTIONS = {
  'tpu': None,
  'cuda': {'xla_gpu_enable_triton_gemm': False, 'xla_gpu_force_conv_nhwc': True},
}


class OutOfMemory(UserError):
  """A program does not compile for a chip, for want of the chip's memory or, which is another matter, of what a kernel may hold on chip."""


def compile_ahead(setting, topology):
  """(compiled program, seconds it took) of a `programs.Setting` over the devices of `topology`, mapped as training maps it. Raises: OutOfMemory."""
  devices, platform, start = topology_devices(topology), platform_of(topology), time.perf_counter()
  with tracing_for(LOWERED_FOR[platform]), kernels_for(devices, parallel.AXIS):
    lowered = _lower(setting, devices)
    try:
      compiled = lowered.compile(compiler_options=OPTIONS[platform])
    except jax.errors.JaxRuntimeError as error:
      if 'RESOURCE_EXHAUSTED' not in str(error):
        raise
      raise OutOfMemory(
        f'{setting.mode} {setting.preset}, {setting.batch} clips a chip, on {topology}: {out_of_memory(str(error))}'
      ) from None
  return compiled, time.perf_counter() - start


def resolved_for(setting, topology):
  """`programs.resolved` for the chips of `topology`."""
  with tracing_for(LOWERED_FOR[platform_of(topology)]):
    return resolved(setting)


def _lower(setting, devices):
  state = jax.eval_shape(lambda: fresh_state(setting))
  clips, mean_image = input_shapes(setting, len(devices))
  if setting.mode == 'infer':
    mapped = jax.pmap(
      error_program(setting),
      axis_name=parallel.AXIS,
      in_axes=(None, 0, None),
      out_axes=0,
      devices=devices,
    )
    return mapped.lower(variables_of(state), clips, mean_image)
  return parallel.map_step(
    train_program(setting, parallel.AXIS), num_shared=1, devices=devices
  ).lower(state, clips, mean_image)


def out_of_memory(message):
  """What a compiler that ran out of memory says, in a line: of which memory, and the operation that is named, a kernel's where it is on chip."""
  where = re.search(r'memory space (\w+)', message)
  kernel = re.search(r'op_name="([^"]*)"', message) if where and where.group(1) == 'vmem' else None
  if kernel:
    return f"a kernel does not fit on chip ({kernel.group(1)}): not for want of the chip's memory, please report it; a smaller --batch compiles"
  return 'out of memory; try a smaller --batch, --remat=blocks, or --largest_batch, which finds what fits'


def used_bytes(compiled):
  """Bytes of a chip's memory that a compiled program takes at its largest: arguments, results that reuse none, and what lies between."""
  memory = compiled.memory_analysis()
  return (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    + memory.temp_size_in_bytes
    - memory.alias_size_in_bytes
  )


def report(setting, topology):
  """Dict of figures for a setting on a topology, all a chip: FLOPs, bytes, memory, roofline, moves over 1 MB, collectives, kernels.

  For GPUs XLA counts neither FLOPs nor bytes: FLOPs are those of `flops.model_flops`, bytes what every kernel reads and writes by the program's text
  (`measuring.main_memory`).
  """
  setting = resolved_for(setting, topology)
  compiled, seconds = compile_ahead(setting, topology)
  chip, chips, text, used = (
    chip_of(topology),
    len(topology_devices(topology)),
    compiled.as_text(),
    used_bytes(compiled),
  )
  model = model_flops(setting)
  (flops, moved), main_memory = _cost(compiled), main_memory_bytes(text)
  counted, flops, moved = moved is not None, flops or model, moved or main_memory
  compute_s, memory_s = flops / (chip.tflops_per_s * 1e12), moved / (chip.gb_per_s * 1e9)
  bound = max(compute_s, memory_s)
  sent = hlo.collectives(text)
  return {
    **setting._asdict(),
    'topology': topology,
    'chips': chips,
    'compile_s': seconds,
    'gflops_per_clip': flops / setting.batch / 1e9,
    'model_gflops_per_clip': model / setting.batch / 1e9,
    'gb_per_clip': moved / setting.batch / 1e9,
    'main_memory_gb_per_clip': main_memory / setting.batch / 1e9,
    'memory_gb': used / 1e9,
    'memory_share': used / (chip.memory_gib * 2**30),
    'fits': used < chip.memory_gib * 2**30,
    'compute_s': compute_s,
    'memory_s': memory_s,
    'limited_by': 'FLOPs' if compute_s == bound else 'memory',
    'roofline_frames_per_s': setting.batch * setting.window / bound,
    'convolution_share': min(1.0, hlo.convolution_flops(text) / flops) if counted else None,
    'large_moves': hlo.large_moves(text),
    'kernels': hlo.kernels(text) if platform_of(topology) == 'cuda' else [],
    'collectives': sent,
    **reductions(sent, topology, bound),
  }


def reductions(sent, topology, step_s):
  """What is sent a step: how many collectives for which purpose, MB, and their time at the rate of the chip's links (`links.sending_s`).

  `waited_share`: of the step, for what nothing is computed beside.
  """
  gradients, statistics = (
    [row for row in sent if row['purpose'] == purpose] for purpose in ('gradients', 'statistics')
  )
  reduced = [row for row in gradients if row['opcode'].startswith(('all-reduce', 'reduce-scatter'))]
  total_s, waited_s = (
    sum(sending_s(row['opcode'], row['bytes'], topology) for row in rows)
    for rows in (sent, [row for row in sent if not row['overlapped']])
  )
  return {
    'gradient_reductions': len(reduced),
    'gradient_exchanges': len(gradients) - len(reduced),
    'gradient_mb': _mb(gradients),
    'statistics_reductions': len(statistics),
    'statistics_mb': _mb(statistics),
    'collective_s': total_s,
    'collective_share': total_s / step_s,
    'waited_share': waited_s / step_s,
    'overlapped': bool(gradients) and all(row['overlapped'] for row in gradients),
  }


def _mb(rows):
  return sum(row['bytes'] for row in rows) / 1e6


def _cost(compiled):
  """(FLOPs, bytes moved) as XLA counts them, or (None, None) where it does not."""
  try:
    cost = compiled.cost_analysis()
  except jax.errors.JaxRuntimeError:
    cost = None
  cost = cost[0] if isinstance(cost, list) else cost
  return (cost['flops'], cost['bytes accessed']) if cost else (None, None)
