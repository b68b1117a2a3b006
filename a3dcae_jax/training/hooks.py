"""Actions beside the updates: metrics to files, a progress bar, checkpoints.

`loop.fit` calls them.
"""

import contextlib
import json
import pathlib
import time
from typing import Any

import tqdm

from a3dcae_jax.common.files import atomic_write
from a3dcae_jax.training.checkpoints import Checkpoints

Row = dict[str, float]


class Hook:
  """The base of all hooks; it does nothing."""

  def before_step(self, step: int, state: Any) -> None:
    """Act before update `step`, whose `state` may still be under computation."""

  def on_metrics(self, rows: list[Row]) -> None:
    """Act on the metrics since the last reading, before `on_step`.

    Each row has the metrics of one step, all finite, and the step's number as 'step'.
    """

  def on_step(self, step: int, state: Any) -> None:
    """Act at every reading on the state after update `step`; all metrics are finite."""

  def on_end(self, step: int, state: Any) -> None:
    """Act after the last update of a run that ends well."""

  def close(self) -> None:
    """Release files and threads, however the run ends."""


class MetricsFile(Hook):
  """Writes the metrics of every step to `metrics.jsonl`, and means to TensorBoard.

  The file has one JSON object per line. On resuming, rows that were written after the checkpoint
  are dropped.
  """

  def __init__(self, workdir: str | pathlib.Path, *, first_step: int) -> None:
    """Open the files in `workdir`, for updates after `first_step`."""
    # Imported here, because only training runs need it.
    from a3dcae_jax.training.tensorboard import TensorBoardWriter

    workdir = pathlib.Path(workdir)
    self._path = workdir / 'metrics.jsonl'
    if self._path.exists():
      _drop_rows_after(self._path, first_step)
    self._writer = TensorBoardWriter(workdir / 'tensorboard', first_step=first_step + 1)

  def on_metrics(self, rows: list[Row]) -> None:
    with self._path.open('a', encoding='utf-8') as file:
      _write_rows(file, rows)
    last = rows[-1]
    means = {}
    for name in sorted(last.keys() - {'step'}):
      total = sum(row[name] for row in rows)
      means[name] = total / len(rows)
    self._writer.add_scalars(means, last['step'])

  def close(self) -> None:
    # On a full disk this fails too; the failed write of metrics was reported before.
    with contextlib.suppress(OSError):
      self._writer.close()


def read_metrics(path: str | pathlib.Path) -> list[Row]:
  """Read the rows of a `metrics.jsonl`.

  A last line that a killed run has cut off is left out.
  """
  rows = []
  for line in pathlib.Path(path).read_text(encoding='utf-8').splitlines():
    try:
      rows.append(json.loads(line))
    except json.JSONDecodeError:
      break
  return rows


def _drop_rows_after(path: pathlib.Path, step: int) -> None:
  rows = [row for row in read_metrics(path) if row['step'] <= step]
  with atomic_write(path) as file:
    _write_rows(file, rows)


def _write_rows(file: Any, rows: list[Row]) -> None:
  for row in rows:
    file.write(json.dumps(row) + '\n')


class Progress(Hook):
  """A progress bar with the losses of the last step, clips per second and time left."""

  def __init__(self, *, first_step: int, last_step: int, batch_size: int) -> None:
    """Show the bar at `first_step` of `last_step` updates of `batch_size` clips."""
    self._batch_size = batch_size
    self._step = first_step
    self._first: tuple[int, float] | None = None
    self._bar = tqdm.tqdm(
      total=last_step,
      initial=first_step,
      desc='train',
      unit='step',
      mininterval=0.5,
      dynamic_ncols=True,
    )

  def on_metrics(self, rows: list[Row]) -> None:
    row = rows[-1]
    step = row['step']
    now = time.monotonic()
    if self._first is None:
      self._first = (step, now)  # the rate excludes the first reading, which includes compilation
    shown = {}
    for name in ('rec', 'adv'):
      if name in row:
        shown[name] = f'{row[name]:.4g}'
    first_step, first_time = self._first
    if step > first_step:
      clips = (step - first_step) * self._batch_size
      shown['clips/s'] = f'{clips / (now - first_time):.1f}'
    self._bar.set_postfix(shown, refresh=False)
    self._bar.update(step - self._step)
    self._step = step

  def close(self) -> None:
    self._bar.close()


class SaveCheckpoints(Hook):
  """Saves checkpoints: at the first reading after each interval, and the last state."""

  def __init__(self, checkpoints: Checkpoints, *, first_step: int, every_steps: int) -> None:
    """Save at the first reading at or after every multiple of `every_steps`."""
    self._checkpoints = checkpoints
    self._every_steps = every_steps
    self._next = self._multiple_after(first_step)

  def _multiple_after(self, step: int) -> int:
    return (step // self._every_steps + 1) * self._every_steps

  def on_step(self, step: int, state: Any) -> None:
    if step >= self._next:
      self._checkpoints.save(step, state)
      self._next = self._multiple_after(step)

  def on_end(self, step: int, state: Any) -> None:
    """Save the last state, and print how long all saves have stopped the loop."""
    self._checkpoints.save(step, state)
    self._checkpoints.wait()
    held_s = self._checkpoints.held_s
    if held_s:
      print(
        f'{len(held_s)} checkpoints held the loop for {sum(held_s):.2f} s, '
        f'the longest for {max(held_s):.2f} s',
        flush=True,
      )
