"""Time scoring or the adversarial training step in this process.

Figures are medians after warm-up.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from a3dcae_jax.measuring.columns import table
from a3dcae_jax.measuring.costs import model_flops, used_bytes, xla_cost
from a3dcae_jax.measuring.object_programs import object_arguments
from a3dcae_jax.measuring.parts import program_of
from a3dcae_jax.measuring.programs import Setting, fresh_state, report_fields, variables_of
from a3dcae_jax.measuring.timed_batches import timed_batches, with_batches
from a3dcae_jax.models.dtypes import compute_dtype

_COLUMNS = (
  ('mode', '{mode}'),
  ('preset', '{preset}'),
  ('px', '{size_px}'),
  ('batch', '{batch}'),
  ('dtype', '{dtype}'),
  ('target_rms', '{target_rms:g}'),
  ('input pipeline', '{input_pipeline}'),
  ('frames/s', '{frames_per_s:,.0f}'),
  ('clips/s', '{clips_per_s:,.2f}'),
  ('ratio to the first', '{of_first_pipeline:.3f}'),
  ('ms/step', '{ms:,.1f}'),
  ('compile s', '{compile_s:.0f}'),
  ('M parameters', '{millions:,.2f}'),
  ('GFLOP/clip', '{gflops:,.1f}'),
  ('% of matrix rate', '{percent:.0f}'),
  ('program GiB', '{program_gib:.2f}'),
  ('peak GiB', '{peak_gib:.2f}'),
)
_PEER_COLUMNS = (
  ('reference clips/s', '{peer[clips_per_s]:.2f}'),
  ('ratio', '{ratio:.2f}'),
)


class Program(NamedTuple):
  """A compiled program with its batches.

  Attributes:
    run: a function of `steps` that runs this number of steps and waits for the last one. Like
      training, it dispatches each step without waiting for the step before.
    input_pipeline: source of its batches.
    compile_s: seconds that compilation took.
    flops: FLOPs of one step by the direct method (`costs.model_flops`).
    xla_flops: FLOPs of one step by the count of XLA; None if it has none.
    num_bytes: device memory that it needs.
    parameters: number of trained parameters.
    text: a function that returns the compiled program as text.
  """

  run: Callable[[int], None]
  input_pipeline: str
  compile_s: float
  flops: int
  xla_flops: float | None
  num_bytes: int
  parameters: int
  text: Callable[[], str]


class _Runner:
  """Runs a compiled program, and keeps the state between steps."""

  def __init__(
    self,
    compiled: Callable[..., Any],
    carry: Any,
    batches: Iterator[Any],
    shared: tuple[jax.Array, ...],
  ):
    self._compiled = compiled
    self._carry = carry
    self._batches = batches
    self._shared = shared

  def score(self, steps: int = 1) -> None:
    """Run a scoring program, whose variables stay the same."""
    for _ in range(steps):
      errors = self._compiled(self._carry, next(self._batches), *self._shared)
    jax.block_until_ready(errors)

  def train(self, steps: int = 1) -> None:
    """Run a training step, which takes the state of the step before."""
    for _ in range(steps):
      self._carry, metrics = self._compiled(self._carry, next(self._batches), *self._shared)
    jax.block_until_ready(metrics)


def make_program(setting: Setting, input_pipeline: str = 'none') -> Program:
  """Compile a setting on the default device.

  Args:
    setting: the program.
    input_pipeline: source of its batches, see `timed_batches`.
  """
  if setting.of_objects:
    program = program_of(setting)
    carry, batches, shared = object_arguments(setting)
    trained = carry.generator if setting.trains else carry
  else:
    state = fresh_state(setting)
    batches, frames = timed_batches(setting, input_pipeline)
    shared = (jnp.full(setting.clip_shape[1:], 0.5, jnp.float32), *frames)
    program = with_batches(program_of(setting), setting)
    carry = state if setting.trains else variables_of(state)
    trained = (state.generator, state.discriminator) if setting.trains else state.generator
  parameters = _num_parameters(trained)
  step = jax.jit(program, donate_argnums=0 if setting.trains else ())
  start = time.perf_counter()
  compiled = step.lower(carry, next(batches), *shared).compile()
  compile_s = time.perf_counter() - start
  runner = _Runner(compiled, carry, batches, shared)
  return Program(
    run=runner.train if setting.trains else runner.score,
    input_pipeline=input_pipeline,
    compile_s=compile_s,
    flops=model_flops(setting),
    xla_flops=xla_cost(compiled).flops,
    num_bytes=used_bytes(compiled),
    parameters=parameters,
    text=compiled.as_text,
  )


def measure(
  programs: Sequence[Program], setting: Setting, *, reps: int, steps: int = 1, warmup: int = 3
) -> list[dict[str, Any]]:
  """Time several programs of one setting in turns.

  Args:
    programs: programs that differ in their input pipelines.
    setting: the setting that they compute.
    reps: turns of each program.
    steps: steps per turn.
    warmup: steps of each program before its first turn.

  Returns:
    A row of figures for each program; times are per step.
  """
  times = [[] for _ in programs]
  for program in programs:
    program.run(warmup)
  for _ in range(reps):
    for taken, program in zip(times, programs, strict=True):
      start = time.perf_counter()
      program.run(steps)
      taken.append((time.perf_counter() - start) / steps)
  rows = []
  for taken, program in zip(times, programs, strict=True):
    rows.append(_figures(setting, program, taken))
  for row in rows:
    row['of_first_pipeline'] = row['clips_per_s'] / rows[0]['clips_per_s']
  return rows


def _figures(setting: Setting, program: Program, times: Sequence[float]) -> dict[str, Any]:
  median = statistics.median(times)
  memory = jax.local_devices()[0].memory_stats() or {}
  peak = memory.get('peak_bytes_in_use')
  xla_flops = program.xla_flops
  return {
    **report_fields(setting),
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
    'xla_flops_per_clip': None if xla_flops is None else xla_flops / setting.batch,
    'tflops_per_s': program.flops / median / 1e12,
    'program_gib': program.num_bytes / 2**30,
    'peak_gib': None if peak is None else peak / 2**30,
  }


def matrix_rate(dtype: str, *, size: int = 0) -> float:
  """Measure the rate of a square matrix product of random numbers on this device.

  Args:
    dtype: as `model.dtype`.
    size: rows and columns; 0 means 2048 on CPUs and 8192 on accelerators.

  Returns:
    TFLOP/s, a practical upper bound for programs in the same process.
  """
  if jax.default_backend() == 'cpu':
    size = size or 2048
    products = 1
  else:
    size = size or 8192
    products = 16  # queued, since an accelerator would wait for the host between single products
  matrix = jax.random.normal(jax.random.key(0), (size, size), jnp.float32)
  matrix = matrix.astype(compute_dtype(dtype))
  product = jax.jit(lambda a: a @ a)
  jax.block_until_ready(product(product(matrix)))
  times = []
  for _ in range(7):
    start = time.perf_counter()
    jax.block_until_ready([product(matrix) for _ in range(products)])
    times.append((time.perf_counter() - start) / products)
  return 2 * size**3 / statistics.median(times) / 1e12


def device_facts() -> dict[str, str]:
  """Return the platform, the device and the version of JAX."""
  device = jax.local_devices()[0]
  return {'platform': device.platform, 'device': device.device_kind, 'jax': jax.__version__}


def describe(row: Mapping[str, Any]) -> str:
  """Return a row of figures as one line for the terminal."""
  milliseconds = 1e3 * row['median_s']
  percent = 100 * row['share_of_matrix_rate']
  text = (
    f'{row["mode"]:5s} {row["preset"]} {row["size_px"]} px, batch {row["batch"]}, '
    f'{row["dtype"]}, target_rms {row["target_rms"]:g}, input pipeline {row["input_pipeline"]}: '
    f'{row["frames_per_s"]:,.0f} frames/s, {row["clips_per_s"]:.2f} clips/s, '
    f'{milliseconds:.1f} ms, compiled in {row["compile_s"]:.0f} s'
  )
  if row['peak_gib'] is not None:
    text += f', peak {row["peak_gib"]:.1f} GiB'
  text += f', {percent:.0f} % of the matrix rate'
  if 'peer' in row:
    reference = row['peer']['clips_per_s']
    text += f'; reference {reference:.2f} clips/s, ratio {row["ratio"]:.2f}'
  return text


def figures_table(rows: Sequence[Mapping[str, Any]]) -> str:
  """Return rows of figures as an aligned table."""
  columns = _COLUMNS
  if any('peer' in row for row in rows):
    columns += _PEER_COLUMNS
  shown = []
  for row in rows:
    shown.append(
      {
        **row,
        'ms': 1e3 * row['median_s'],
        'millions': row['parameters'] / 1e6,
        'gflops': row['flops_per_clip'] / 1e9,
        'percent': 100 * row['share_of_matrix_rate'],
      }
    )
  return table(shown, columns)


def _num_parameters(tree: Any) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(tree))
