"""The training loop: it knows neither config nor data set; state, step, batches and hooks are handed in."""

import jax
import numpy as np


class NonFiniteLoss(Exception):
  """A loss or gradient stopped being a number; `step` is the update that did it, `names` the metrics."""

  def __init__(self, step, names):
    super().__init__(f'{", ".join(names)} not finite at step {step}')
    self.step, self.names = step, names


def fit(
  state,
  train_step,
  batches,
  *,
  first_step,
  last_step,
  hooks=(),
  read_every_steps=10,
  wait=False,
  stop=lambda: False,
  transfer_guard='allow',
  preempted=lambda step: False,
):
  """Runs updates `first_step + 1 .. last_step` and returns (state, step) after the last one.

  Metrics stay on the device and are read `read_every_steps` at a time, so that the host runs ahead of the device; every
  step's are read in the end, and none is acted upon before it has been found finite.

  Args:
    state: `TrainState` after `first_step` updates.
    train_step: (state, batch) -> (state, metrics).
    batches: iterator; its k-th item is the batch of update first_step + k.
    hooks: `hooks.Hook`s, called in order at every reading and at the end.
    wait: block on every step. stop: asked at every reading; true ends the run early.
    transfer_guard: of `jax.transfer_guard`, around each step and the making of its batch: 'disallow' makes every copy between host
      and device that is not asked for by name (device_put) an error. Hooks, which read on purpose, are outside of it.
    preempted: asked after every step; true makes it the last one, read and ended like any other.

  Raises: NonFiniteLoss, naming the first step at fault; no hook sees that step or a later one.
  """
  pending, step = [], first_step
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
    asked = preempted(step)
    if asked or step % read_every_steps == 0 or step == last_step:
      rows = _read(pending)
      pending = []
      for hook in hooks:
        hook.on_metrics(rows)
      for hook in hooks:
        hook.on_step(step, state)
      if asked or stop():
        break
  for hook in hooks:
    hook.on_end(step, state)
  return state, step


def _read(pending):
  rows = [
    {'step': step} | {name: float(value) for name, value in metrics.items()}
    for step, metrics in jax.device_get(pending)
  ]
  for row in rows:
    bad = [name for name, value in row.items() if not np.isfinite(value)]
    if bad:
      raise NonFiniteLoss(row['step'], bad)
  return rows
