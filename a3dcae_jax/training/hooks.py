"""What happens beside the updates: metrics to files, a progress bar, checkpoints. See `loop.fit` for when they are called."""

import contextlib
import json
import pathlib
import time

import tqdm

from a3dcae_jax.common.files import atomic_write


class Hook:
  """Does nothing at any of the loop's five calls."""

  def before_step(self, step, state):
    """Update `step` is about to start from `state`, which may still be being computed."""

  def on_metrics(self, rows):
    """`rows`: dicts of floats with 'step', in order, all finite; called before `on_step`."""

  def on_step(self, step, state):
    """`state` after update `step`, all metrics so far being finite."""

  def on_end(self, step, state):
    """The last call of a run that ended well."""

  def close(self):
    """Gives files and threads back; called however the run ended."""


class MetricsFile(Hook):
  """Appends every step's metrics to `metrics.jsonl`, one JSON object a line, and averages of them to TensorBoard.

  On resuming at `first_step`, rows of later steps (written after the checkpoint that is resumed from) are dropped.
  """

  def __init__(self, workdir, *, first_step):
    self._path = pathlib.Path(workdir) / 'metrics.jsonl'
    if self._path.exists():
      rows = [row for row in read_metrics(self._path) if row['step'] <= first_step]
      with atomic_write(self._path) as file:
        file.writelines(json.dumps(row) + '\n' for row in rows)
    from a3dcae_jax.training.tensorboard import (
      TensorBoardWriter,
    )  # imported here: only a training run needs TensorBoard's formats

    self._board = TensorBoardWriter(
      pathlib.Path(workdir) / 'tensorboard', first_step=first_step + 1
    )

  def on_metrics(self, rows):
    with self._path.open('a', encoding='utf-8') as file:
      file.writelines(json.dumps(row) + '\n' for row in rows)
    names = rows[-1].keys() - {'step'}
    self._board.add_scalars(
      {name: sum(row[name] for row in rows) / len(rows) for name in sorted(names)}, rows[-1]['step']
    )

  def close(self):
    with contextlib.suppress(OSError):  # a full disk: whatever writes metrics has said so
      self._board.close()


def read_metrics(path):
  """Rows of a `metrics.jsonl`; a last line cut off by a killed run is left out."""
  rows = []
  for line in pathlib.Path(path).read_text(encoding='utf-8').splitlines():
    try:
      rows.append(json.loads(line))
    except json.JSONDecodeError:
      break
  return rows


class Progress(Hook):
  """A progress bar: losses of the last step, clips a second, time left."""

  def __init__(self, *, first_step, last_step, batch_size):
    self._batch_size, self._step, self._first = batch_size, first_step, None
    self._bar = tqdm.tqdm(
      total=last_step,
      initial=first_step,
      desc='train',
      unit='step',
      mininterval=0.5,
      dynamic_ncols=True,
    )

  def on_metrics(self, rows):
    row, now = rows[-1], time.monotonic()
    if self._first is None:  # the first reading has the compilation in it
      self._first = (row['step'], now)
    shown = {name: f'{row[name]:.4g}' for name in ('rec', 'adv') if name in row}
    if row['step'] > self._first[0]:
      rate = (row['step'] - self._first[0]) * self._batch_size / (now - self._first[1])
      shown['clips/s'] = f'{rate:.1f}'
    self._bar.set_postfix(shown, refresh=False)
    self._bar.update(row['step'] - self._step)
    self._step = row['step']

  def close(self):
    self._bar.close()


class SaveCheckpoints(Hook):
  """Saves at the first reading at or after every multiple of `every_steps`, and the last state; says in the end what that cost the loop."""

  def __init__(self, checkpoints, *, first_step, every_steps):
    self._checkpoints, self._every = checkpoints, every_steps
    self._next = self._following(first_step)

  def _following(self, step):
    return (step // self._every + 1) * self._every

  def on_step(self, step, state):
    if step >= self._next:
      self._checkpoints.save(step, state)
      self._next = self._following(step)

  def on_end(self, step, state):
    self._checkpoints.save(step, state)
    self._checkpoints.wait()
    held = self._checkpoints.held_s
    if held:
      print(
        f'{len(held)} checkpoints held the loop for {sum(held):.2f} s, the longest for {max(held):.2f} s',
        flush=True,
      )
