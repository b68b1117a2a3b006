"""The training loop, which knows neither the settings nor the data set.

State, step, batches and hooks are arguments.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from a3dcae_jax.training.hooks import Hook


class NonFiniteLoss(Exception):
  """A loss or gradient stopped being finite.

  Attributes:
    step: the first update at fault.
    names: the metrics that are not finite there.
  """

  def __init__(self, step: int, names: Sequence[str]) -> None:
    super().__init__(f'{", ".join(names)} not finite at step {step}')
    self.step = step
    self.names = names


def fit(
  state: Any,
  train_step: Callable[[Any, Any], tuple[Any, dict[str, jax.Array]]],
  batches: Iterator[Any],
  *,
  first_step: int,
  last_step: int,
  hooks: Sequence[Hook] = (),
  read_every_steps: int = 10,
  wait: bool = False,
  stop: Callable[[], bool] = lambda: False,
  preempted: Callable[[int], bool] = lambda step: False,
  transfer_guard: str = 'allow',
) -> tuple[Any, int]:
  """Run the updates `first_step + 1` to `last_step`.

  Metrics stay on the device and are read `read_every_steps` at a time, so that the host runs ahead
  of the device. The metrics of every step are read, and are checked before hooks see them.

  Args:
    state: `TrainState` after `first_step` updates.
    train_step: (state, batch) -> (state, metrics).
    batches: the k-th item is the batch of update first_step + k.
    first_step: number of updates done.
    last_step: number of the last update.
    hooks: called in order at every reading and at the end.
    read_every_steps: updates between two readings.
    wait: block on every step.
    stop: called at every reading; True ends the run there.
    preempted: called after every step; True makes this step the last one, with a reading.
    transfer_guard: level of `jax.transfer_guard` around each step and the making of its batch.
      With 'disallow' a copy between host and device must be explicit (`device_put`). Hooks, which
      read on purpose, are outside of it.

  Returns:
    The state after the last update, and its number.

  Raises:
    NonFiniteLoss: naming the first step at fault. No hook sees that step or a later one.
  """
  pending = []
  step = first_step
  for step in range(first_step + 1, last_step + 1):
    for hook in hooks:
      hook.before_step(step, state)
    with (
      jax.profiler.StepTraceAnnotation('train', step_num=step),
      jax.transfer_guard(transfer_guard),
    ):
      with jax.profiler.TraceAnnotation('next_batch'):
        batch = next(batches)
      state, metrics = train_step(state, batch)
    pending.append((step, metrics))
    if wait:
      jax.block_until_ready(metrics)
    must_end = preempted(step)
    if must_end or step % read_every_steps == 0 or step == last_step:
      rows = _read(pending)
      pending = []
      _report(hooks, rows, step, state)
      if must_end or stop():
        break
  for hook in hooks:
    hook.on_end(step, state)
  return state, step


def _read(pending: list[tuple[int, dict[str, jax.Array]]]) -> list[dict[str, float]]:
  """Copy metrics to the host and check that they are finite."""
  rows = []
  for step, metrics in jax.device_get(pending):
    row = {'step': step}
    for name, value in metrics.items():
      row[name] = float(value)
    rows.append(row)
  for row in rows:
    bad = [name for name, value in row.items() if not np.isfinite(value)]
    if bad:
      raise NonFiniteLoss(row['step'], bad)
  return rows


def _report(hooks: Sequence[Hook], rows: list[dict[str, float]], step: int, state: Any) -> None:
  """Call the hooks; all of them see the metrics before any sees the state."""
  for hook in hooks:
    hook.on_metrics(rows)
  for hook in hooks:
    hook.on_step(step, state)
