"""Compile the measured programs for absent TPUs and GPUs, and report limits."""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring import hlo
from a3dcae_jax.measuring.chips import Chip, chip_of, kernels_for, platform_of, topology_devices
from a3dcae_jax.measuring.costs import model_flops, used_bytes, xla_cost
from a3dcae_jax.measuring.links import sending_s
from a3dcae_jax.measuring.main_memory import main_memory_bytes
from a3dcae_jax.measuring.parts import parts_of
from a3dcae_jax.measuring.programs import Setting, report_fields, resolved
from a3dcae_jax.ops.conv_algorithm import tracing_for
from a3dcae_jax.training import parallel

TRACED_FOR = {'tpu': 'tpu', 'cuda': 'gpu'}
# XLA times its own matrix products to choose their tiles, which fails for some shapes without a
# GPU; cuBLAS needs no tiles. The layout of convolutions is the one that `common.tuning` sets on
# GPUs.
COMPILER_OPTIONS = {
  'tpu': None,
  'cuda': {'xla_gpu_enable_triton_gemm': False, 'xla_gpu_force_conv_nhwc': True},
}


class OutOfMemory(UserError):
  """A program does not fit the memory or the on-chip memory of a chip."""


def compile_for(setting: Setting, topology: str) -> tuple[Any, float]:
  """Compile a program over the devices of a topology, mapped as training maps it.

  Returns:
    The compiled program, and the seconds that compilation took.

  Raises:
    OutOfMemory: if the program does not fit.
  """
  start = time.perf_counter()
  devices = topology_devices(topology)
  platform = platform_of(topology)
  with tracing_for(TRACED_FOR[platform]), kernels_for(devices, parallel.AXIS):
    lowered = _lower(setting, devices)
    try:
      compiled = lowered.compile(compiler_options=COMPILER_OPTIONS[platform])
    except jax.errors.JaxRuntimeError as error:
      message = str(error)
      if 'RESOURCE_EXHAUSTED' not in message:
        raise
      raise OutOfMemory(
        f'{setting.mode} {setting.preset}, {setting.batch} clips per chip, on {topology}: '
        f'{out_of_memory(message)}'
      ) from None
  return compiled, time.perf_counter() - start


def resolved_for(setting: Setting, topology: str) -> Setting:
  """Replace the dtype 'auto' by its value on the chips of a topology."""
  with tracing_for(TRACED_FOR[platform_of(topology)]):
    return resolved(setting)


def _lower(setting: Setting, devices: Sequence[Any]) -> Any:
  parts = parts_of(setting, parallel.AXIS)
  count = len(devices)
  batch = jax.tree.map(
    lambda array: jax.ShapeDtypeStruct((count, *array.shape), array.dtype), parts.batch
  )
  if setting.trains:
    mapped = parallel.map_step(parts.program, num_shared=len(parts.shared), devices=devices)
  else:
    mapped = jax.pmap(
      parts.program,
      axis_name=parallel.AXIS,
      in_axes=(None, 0) + (None,) * len(parts.shared),
      out_axes=0,
      devices=devices,
    )
  return mapped.lower(parts.carry, batch, *parts.shared)


def out_of_memory(message: str) -> str:
  """Summarise the message of a compiler that ran out of memory.

  Args:
    message: names the memory and the operation that needed it.
  """
  memory_space = re.search(r'memory space (\w+)', message)
  operation = re.search(r'op_name="([^"]*)"', message)
  is_on_chip = memory_space is not None and memory_space.group(1) == 'vmem'
  if is_on_chip and operation:
    return (
      f'the kernel {operation.group(1)} does not fit into on-chip memory: '
      'please report it; a smaller --batch compiles'
    )
  return (
    'out of memory; try a smaller --batch, --remat=blocks, or --largest_batch, '
    'which finds the largest batch that fits'
  )


def report(setting: Setting, topology: str) -> dict[str, Any]:
  """Compile a program for a topology and report its figures, all per chip.

  For GPUs XLA counts neither FLOPs nor bytes. FLOPs then come from `costs.model_flops`, and bytes
  from the reads and writes of all kernels in the program's text (`main_memory`).

  Returns:
    FLOPs, bytes, memory, roofline, moves over 1 MB, kernels and collectives.
  """
  setting = resolved_for(setting, topology)
  chip = chip_of(topology)
  compiled, seconds = compile_for(setting, topology)
  text = compiled.as_text()
  cost = xla_cost(compiled)
  memory = used_bytes(compiled)
  main_memory = main_memory_bytes(text)
  direct_flops = model_flops(setting)
  flops = cost.flops or direct_flops
  num_bytes = cost.num_bytes or main_memory
  is_counted = cost.num_bytes is not None
  limits = roofline(flops, num_bytes, chip)
  step_s = max(limits['compute_s'], limits['memory_s'])
  sent = hlo.collectives(text)
  return {
    **report_fields(setting),
    'topology': topology,
    'chips': len(topology_devices(topology)),
    'compile_s': seconds,
    'gflops_per_clip': flops / setting.batch / 1e9,
    'model_gflops_per_clip': direct_flops / setting.batch / 1e9,
    'gb_per_clip': num_bytes / setting.batch / 1e9,
    'main_memory_gb_per_clip': main_memory / setting.batch / 1e9,
    'memory_gb': memory / 1e9,
    'memory_share': memory / (chip.memory_gib * 2**30),
    'fits': memory < chip.memory_gib * 2**30,
    **limits,
    'roofline_frames_per_s': setting.batch * setting.window / step_s,
    'roofline_clips_per_s': setting.batch / step_s,
    'gb_per_batch': num_bytes / 1e9,
    'convolution_share': min(1.0, hlo.convolution_flops(text) / flops) if is_counted else None,
    'large_moves': hlo.large_moves(text),
    'kernels': hlo.kernels(text) if platform_of(topology) == 'cuda' else [],
    'collectives': sent,
    **sent_figures(sent, topology, step_s),
  }


def roofline(flops: float, num_bytes: float, chip: Chip) -> dict[str, Any]:
  """Return the times for FLOPs and bytes at peak rates, and which is longer."""
  compute_s = flops / (chip.tflops_per_s * 1e12)
  memory_s = num_bytes / (chip.gb_per_s * 1e9)
  return {
    'compute_s': compute_s,
    'memory_s': memory_s,
    'limited_by': 'FLOPs' if compute_s >= memory_s else 'memory',
  }


def sent_figures(sent: Sequence[Mapping[str, Any]], topology: str, step_s: float) -> dict[str, Any]:
  """Sum up the collectives of one step.

  Args:
    sent: rows of `hlo.collectives`.
    topology: name of the topology, for the rate of its links (`links.sending_s`).
    step_s: duration of the step.

  Returns:
    Numbers of collectives and MB by purpose; `collective_s`, their time at the rate of the links;
    `collective_share`, its share of the step; and `waited_share`, the share in which nothing is
    computed. Gradients that are not reduced are gathered as factors (`ops.factored_gradient`).
  """
  gradients = [row for row in sent if row['purpose'] == 'gradients']
  statistics = [row for row in sent if row['purpose'] == 'statistics']
  reductions = [r for r in gradients if r['opcode'].startswith(('all-reduce', 'reduce-scatter'))]
  total_s = 0
  waited_s = 0
  for row in sent:
    seconds = sending_s(row['opcode'], row['bytes'], topology)
    total_s += seconds
    if not row['overlapped']:
      waited_s += seconds
  return {
    'gradient_reductions': len(reductions),
    'other_gradient_collectives': len(gradients) - len(reductions),
    'gradient_mb': _megabytes(gradients),
    'statistics_reductions': len(statistics),
    'statistics_mb': _megabytes(statistics),
    'collective_s': total_s,
    'collective_share': total_s / step_s,
    'waited_share': waited_s / step_s,
    'overlapped': bool(gradients) and all(row['overlapped'] for row in gradients),
  }


def _megabytes(rows: Sequence[Mapping[str, Any]]) -> float:
  return sum(row['bytes'] for row in rows) / 1e6
