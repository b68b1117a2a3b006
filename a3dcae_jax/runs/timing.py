"""Times one setting of the network: inference or the full adversarial step, in one process, medians after warm-up."""

import statistics
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.models.presets import PRESETS
from a3dcae_jax.runs.networks import compute_dtype
from a3dcae_jax.scoring.errors import error_maps, frame_errors
from a3dcae_jax.training.state import init_state, make_optimizer
from a3dcae_jax.training.step import Objective, make_train_step, zero_mean

MODES = ('infer', 'train')


class Setting(NamedTuple):
  """What is timed. size_px 0 takes the preset's."""
  mode: str
  preset: str
  batch: int
  dtype: str = 'auto'
  window: int = 16
  size_px: int = 0
  lowering: str = 'auto'
  split_phases: bool = True

  @property
  def size(self):
    return self.size_px or PRESETS[self.preset].size_px


class Program(NamedTuple):
  """A compiled setting: `run()` computes once and waits; `compile_s`; `flops` of one run (None where XLA does not say)."""
  run: object
  compile_s: float
  flops: float | None
  parameters: int


def make_program(setting):
  """Compiles a setting on the default device, its input already there."""
  preset, dtype = PRESETS[setting.preset], compute_dtype(setting.dtype)
  common = {'lowering': setting.lowering, 'split_phases': setting.split_phases, 'dtype': dtype}
  networks = AutoEncoder(preset.widths, **common), Discriminator(preset.discriminator_widths, preset.discriminator_units, **common)
  optimizer, shape = make_optimizer(), (setting.window, setting.size, setting.size)
  state = init_state(*networks, optimizer, clip_shape=shape, seed=0)
  clips = jnp.asarray(np.random.default_rng(0).integers(0, 256, (setting.batch, *shape), dtype=np.uint8))
  mean_image = jnp.full(shape[1:], 0.5, jnp.float32)
  if setting.mode == 'infer':
    return _inference(networks[0], state, clips, mean_image)
  return _training(networks, optimizer, state, clips, mean_image)


def _inference(generator, state, clips, mean_image):
  variables = {'params': state.generator, 'batch_stats': state.batch_stats}

  def errors(variables, clips):
    real = zero_mean(clips, mean_image)
    return frame_errors(error_maps(real, generator.apply(variables, real, train=False)))

  compiled, seconds = _compile(jax.jit(errors), variables, clips)
  return Program(lambda: jax.block_until_ready(compiled(variables, clips)), seconds, _flops(compiled), _count(state.generator))


def _training(networks, optimizer, state, clips, mean_image):
  step = jax.jit(make_train_step(*networks, optimizer, Objective(), seed=0), donate_argnums=0)
  compiled, seconds = _compile(step, state, clips, mean_image)
  parameters = _count((state.generator, state.discriminator))
  held = [state]

  def run():
    held[0], metrics = compiled(held[0], clips, mean_image)
    jax.block_until_ready((held[0], metrics))

  return Program(run, seconds, _flops(compiled), parameters)


def measure(program, setting, *, reps, warmup=3):
  """Times `program` `reps` times; returns a dict of figures."""
  for _ in range(warmup):
    program.run()
  times = []
  for _ in range(reps):
    start = time.perf_counter()
    program.run()
    times.append(time.perf_counter() - start)
  median = statistics.median(times)
  peak = (jax.local_devices()[0].memory_stats() or {}).get('peak_bytes_in_use')
  return {**setting._asdict(), 'size_px': setting.size, 'dtype': jnp.dtype(compute_dtype(setting.dtype)).name, 'median_s': median, 'min_s': min(times),
          'max_s': max(times), 'clips_per_s': setting.batch / median, 'frames_per_s': setting.batch * setting.window / median,
          'compile_s': program.compile_s, 'parameters': program.parameters, 'flops_per_clip': program.flops and program.flops / setting.batch,
          'tflops_per_s': program.flops and program.flops / median / 1e12, 'peak_gib': peak and peak / 2**30}


def matrix_rate(dtype, *, size=0):
  """TFLOP/s of a square matrix product on random data in `dtype`: what this device can be asked for, measured in the same run."""
  size = size or (8192 if jax.default_backend() != 'cpu' else 2048)
  matrix = jax.random.normal(jax.random.key(0), (size, size), jnp.float32).astype(compute_dtype(dtype))
  product = jax.jit(lambda a: a @ a)
  jax.block_until_ready(product(product(matrix)))
  times = []
  for _ in range(7):
    start = time.perf_counter()
    jax.block_until_ready(product(matrix))
    times.append(time.perf_counter() - start)
  return 2 * size**3 / statistics.median(times) / 1e12


def device_facts():
  """What the figures belong to."""
  device = jax.local_devices()[0]
  return {'platform': device.platform, 'device': device.device_kind, 'jax': jax.__version__}


def _compile(jitted, *arguments):
  start = time.perf_counter()
  compiled = jitted.lower(*arguments).compile()
  return compiled, time.perf_counter() - start


def _flops(compiled):
  analysis = compiled.cost_analysis()
  analysis = analysis[0] if isinstance(analysis, list) else analysis
  return (analysis or {}).get('flops')


def _count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))
