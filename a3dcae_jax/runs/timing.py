"""Times one setting of the network: inference or the full adversarial step, in one process, medians after warm-up."""

import statistics
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.runs.networks import compute_dtype
from a3dcae_jax.runs.programs import error_program, fresh_state, input_shapes, train_program, variables_of


class Program(NamedTuple):
  """A compiled setting: `run()` computes once and waits; `compile_s`; `flops` of one run (None where XLA does not say)."""
  run: object
  compile_s: float
  flops: float | None
  parameters: int


def make_program(setting):
  """Compiles a `programs.Setting` on the default device, its input already there."""
  state = fresh_state(setting)
  clips, mean_image = input_shapes(setting)
  clips = jnp.asarray(np.random.default_rng(0).integers(0, 256, clips.shape, dtype=np.uint8))
  mean_image = jnp.full(mean_image.shape, 0.5, jnp.float32)
  if setting.mode == 'infer':
    return _inference(error_program(setting), variables_of(state), clips, mean_image)
  return _training(train_program(setting), state, clips, mean_image)


def _inference(errors, variables, clips, mean_image):
  compiled, seconds = _compile(jax.jit(errors), variables, clips, mean_image)
  return Program(lambda: jax.block_until_ready(compiled(variables, clips, mean_image)), seconds, _flops(compiled), _count(variables['params']))


def _training(step, state, clips, mean_image):
  compiled, seconds = _compile(jax.jit(step, donate_argnums=0), state, clips, mean_image)
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
