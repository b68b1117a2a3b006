"""Times settings of the network: inference or the full adversarial step, in one process, medians after warm-up."""

import statistics
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from a3dcae_jax.measuring.flops import model_flops
from a3dcae_jax.measuring.programs import (
  error_program,
  fresh_state,
  input_shapes,
  resolved,
  train_program,
  variables_of,
)
from a3dcae_jax.measuring.timed_batches import fed, timed_batches
from a3dcae_jax.run.networks import compute_dtype


class Program(NamedTuple):
  """A compiled setting with its batches.

  `run(steps)` computes so many steps, handing out one after another as training does, and waits for the last. `compile_s`. `flops` of one step
  by the direct method (`runs.flops`); `xla_flops`: as XLA counts what it runs, `program_bytes`: the memory that takes (None: XLA does not say).
  `text()`: what XLA made of it.
  """

  run: object
  input_pipeline: str
  compile_s: float
  flops: float
  xla_flops: float | None
  program_bytes: int | None
  parameters: int
  text: object


def make_program(setting, input_pipeline='none'):
  """Compiles a `programs.Setting` on the default device; `input_pipeline` is where its batches come from, see `timed_batches`."""
  state, source = fresh_state(setting), timed_batches(setting, input_pipeline)
  mean_image = jnp.full(input_shapes(setting)[1].shape, 0.5, jnp.float32)
  if setting.mode == 'infer':
    parameters, held, jitted = (
      _count(state.generator),
      [variables_of(state)],
      jax.jit(fed(error_program(setting), setting)),
    )
  else:
    parameters, held = _count((state.generator, state.discriminator)), [state]
    jitted = jax.jit(fed(train_program(setting), setting), donate_argnums=0)
  del state  # a training state is donated: nothing else may hold it
  shared, batches = (mean_image, *source.frames), source.batches
  start = time.perf_counter()
  compiled = jitted.lower(held[0], next(batches), *shared).compile()
  seconds = time.perf_counter() - start

  def run(steps=1):
    for _ in range(steps):
      result = compiled(held[0], next(batches), *shared)
      if setting.mode == 'train':
        held[0], result = result
    jax.block_until_ready(result)

  return Program(
    run,
    input_pipeline,
    seconds,
    model_flops(setting),
    _xla_flops(compiled),
    _program_bytes(compiled),
    parameters,
    compiled.as_text,
  )


def measure(programs, setting, *, reps, steps=1, warmup=3):
  """Times `programs` of one setting in turns, `reps` turns of `steps` steps each; returns a dict of figures for each, times being a step's."""
  times = [[] for _ in programs]
  for program in programs:
    program.run(warmup)
  for _ in range(reps):
    for taken, program in zip(times, programs, strict=True):
      start = time.perf_counter()
      program.run(steps)
      taken.append((time.perf_counter() - start) / steps)
  return [_figures(setting, program, taken) for program, taken in zip(programs, times, strict=True)]


def _figures(setting, program, times):
  median = statistics.median(times)
  peak = (jax.local_devices()[0].memory_stats() or {}).get('peak_bytes_in_use')
  gib = lambda num_bytes: num_bytes and num_bytes / 2**30  # noqa: E731
  return {
    **resolved(setting)._asdict(),
    'size_px': setting.size,
    'input_pipeline': program.input_pipeline,
    'median_s': median,
    'min_s': min(times),
    'max_s': max(times),
    'times_s': times,
    'clips_per_s': setting.batch / median,
    'frames_per_s': setting.batch * setting.window / median,
    'compile_s': program.compile_s,
    'parameters': program.parameters,
    'flops_per_clip': program.flops / setting.batch,
    'xla_flops_per_clip': program.xla_flops and program.xla_flops / setting.batch,
    'tflops_per_s': program.flops / median / 1e12,
    'program_gib': gib(program.program_bytes),
    'peak_gib': gib(peak),
  }


def matrix_rate(dtype, *, size=0):
  """TFLOP/s of a square matrix product on random data in `dtype`: what this device can be asked for, measured in the same run."""
  on_cpu = jax.default_backend() == 'cpu'
  size, products = (
    size or (2048 if on_cpu else 8192),
    1 if on_cpu else 16,
  )  # one at a time an accelerator waits for the host
  matrix = jax.random.normal(jax.random.key(0), (size, size), jnp.float32).astype(
    compute_dtype(dtype)
  )
  product = jax.jit(lambda a: a @ a)
  jax.block_until_ready(product(product(matrix)))
  times = []
  for _ in range(7):
    start = time.perf_counter()
    jax.block_until_ready([product(matrix) for _ in range(products)])
    times.append((time.perf_counter() - start) / products)
  return 2 * size**3 / statistics.median(times) / 1e12


def device_facts():
  """What the figures belong to."""
  device = jax.local_devices()[0]
  return {'platform': device.platform, 'device': device.device_kind, 'jax': jax.__version__}


def _xla_flops(compiled):
  analysis = compiled.cost_analysis()
  analysis = analysis[0] if isinstance(analysis, list) else analysis
  return (analysis or {}).get('flops')


def _program_bytes(compiled):
  memory = compiled.memory_analysis()
  return (
    memory
    and memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    + memory.temp_size_in_bytes
    - memory.alias_size_in_bytes
  )


def _count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))
