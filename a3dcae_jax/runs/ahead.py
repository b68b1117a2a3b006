"""Compiles the real train and inference programs for TPUs that are not there, and reads off what limits them."""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.models.presets import PRESETS
from a3dcae_jax.ops.lowering import lowered_for
from a3dcae_jax.runs import hlo
from a3dcae_jax.scoring.errors import error_maps, frame_errors
from a3dcae_jax.training import parallel
from a3dcae_jax.training.state import init_state, make_optimizer
from a3dcae_jax.training.step import Objective, make_train_step, zero_mean


class Chip(NamedTuple):
  """What one chip can do: bf16 TFLOP/s, memory GB/s, memory GB, and GB/s to its neighbours over all links together.

  Source: the TPU system architecture pages of Google Cloud (v5e, v5p, v6e).
  """
  tflops_per_s: float
  gb_per_s: float
  memory_gb: float
  link_gb_per_s: float


CHIPS = {'v5e': Chip(197, 819, 16, 200), 'v5p': Chip(459, 2765, 95, 600), 'v6e': Chip(918, 1640, 32, 448)}


class Plan(NamedTuple):
  """What is compiled. batch: clips a chip."""
  mode: str
  preset: str
  batch: int
  topology: str
  dtype: str = 'bfloat16'
  window: int = 16
  size_px: int = 0
  split_phases: bool = True
  lowering: str = 'auto'


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


def compile_ahead(plan):
  """(compiled program, seconds it took) of `plan`."""
  devices = topology_devices(plan.topology)
  start = time.perf_counter()
  with lowered_for('tpu'):
    lowered = _lower_inference(plan, devices) if plan.mode == 'infer' else _lower_training(plan, devices)
    compiled = lowered.compile()
  return compiled, time.perf_counter() - start


def _networks(plan, axis_name=None):
  preset, dtype = PRESETS[plan.preset], jnp.dtype(plan.dtype)
  common = {'lowering': plan.lowering, 'split_phases': plan.split_phases, 'dtype': dtype}
  return (AutoEncoder(preset.widths, axis_name=axis_name, **common),
          Discriminator(preset.discriminator_widths, preset.discriminator_units, **common))


def _shapes(plan, networks):
  size = plan.size_px or PRESETS[plan.preset].size_px
  shape = (plan.window, size, size)
  state = jax.eval_shape(lambda: init_state(*networks, make_optimizer(), clip_shape=shape, seed=0))
  return state, shape, jax.ShapeDtypeStruct(shape[1:], jnp.float32)


def _lower_inference(plan, devices):
  networks = _networks(plan)
  state, shape, mean_image = _shapes(plan, networks)

  def errors(batch, clips, variables, mean_image):
    del batch
    real = zero_mean(clips, mean_image)
    return None, frame_errors(error_maps(real, networks[0].apply(variables, real, train=False)))

  variables = {'params': state.generator, 'batch_stats': state.batch_stats}
  clips = jax.ShapeDtypeStruct((len(devices), plan.batch, *shape), jnp.uint8)
  mapped = jax.pmap(lambda variables, clips, mean_image: errors(None, clips, variables, mean_image)[1], axis_name=parallel.AXIS,
                    in_axes=(None, 0, None), out_axes=0, devices=devices)
  return mapped.lower(variables, clips, mean_image)


def _lower_training(plan, devices):
  axis_name = parallel.AXIS
  state, shape, mean_image = _shapes(plan, _networks(plan))
  step = make_train_step(*_networks(plan, axis_name), make_optimizer(), Objective(), seed=0, axis_name=axis_name)
  mapped = parallel.map_step(step, num_shared=1, devices=devices)
  return mapped.lower(state, jax.ShapeDtypeStruct((len(devices), plan.batch, *shape), jnp.uint8), mean_image)


def report(plan):
  """Dict of figures for one plan, all a chip: FLOPs, bytes, memory, roofline, moves over 1 MB, collectives."""
  compiled, seconds = compile_ahead(plan)
  chip, text = CHIPS[plan.topology.partition(':')[0]], compiled.as_text()
  cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
  cost = cost[0] if isinstance(cost, list) else cost
  flops, moved = cost['flops'], cost['bytes accessed']
  used = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes - memory.alias_size_in_bytes
  compute_s, memory_s = flops / (chip.tflops_per_s * 1e12), moved / (chip.gb_per_s * 1e9)
  sent = hlo.collectives(text)
  sent_s = sum(row['bytes'] for row in sent) * 2 / (chip.link_gb_per_s * 1e9)  # a ring sends each byte out and back
  bound = max(compute_s, memory_s)
  return {**plan._asdict(), 'chips': len(topology_devices(plan.topology)), 'compile_s': seconds,
          'gflops_per_clip': flops / plan.batch / 1e9, 'gb_per_clip': moved / plan.batch / 1e9,
          'memory_gb': used / 1e9, 'memory_share': used / (chip.memory_gb * 1e9), 'fits': used < chip.memory_gb * 1e9,
          'compute_s': compute_s, 'memory_s': memory_s, 'limited_by': 'FLOPs' if compute_s >= memory_s else 'memory',
          'roofline_frames_per_s': plan.batch * plan.window / bound, 'convolution_share': min(1.0, hlo.convolution_flops(text) / flops),
          'large_moves': hlo.large_moves(text), 'collectives': sent, 'collective_s': sent_s, 'collective_share': sent_s / bound}
