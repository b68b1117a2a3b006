"""Trace a few updates of a run, for TensorBoard and Perfetto."""

import pathlib
import re
from typing import Any

import jax

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.training.hooks import Hook


class Profile(Hook):
  """A hook that traces updates `first_step` to `last_step` into `folder`.

  The device is idle when the trace starts and ends, so the trace holds these updates whole.
  """

  def __init__(self, folder: pathlib.Path, *, first_step: int, last_step: int) -> None:
    self._folder = pathlib.Path(folder)
    self._first = first_step
    self._last = last_step
    self._is_running = False
    self._has_ended = False

  def before_step(self, step: int, state: Any) -> None:
    """See `Hook`."""
    if step == self._first:
      jax.block_until_ready(state)
      jax.profiler.start_trace(self._folder)
      self._is_running = True
    elif step == self._last + 1:
      self._stop(state)

  def on_end(self, step: int, state: Any) -> None:
    """See `Hook`."""
    self._stop(state)

  def close(self) -> None:
    """See `Hook`."""
    self._stop(None)
    if not self._has_ended:
      print(f'no profile: updates {self._first} to {self._last} were not run')

  def _stop(self, state: Any) -> None:
    if not self._is_running:
      return
    self._is_running = False
    self._has_ended = True
    jax.block_until_ready(state)
    jax.profiler.stop_trace()
    traces = sorted(self._folder.rglob('*.trace.json.gz'), key=lambda path: path.stat().st_mtime)
    trace = traces[-1] if traces else self._folder
    print(
      f'profile of updates {self._first} to {self._last} in {self._folder}: '
      f'tensorboard --logdir={self._folder}, or open {trace} in ui.perfetto.dev'
    )


def profile_hooks(text: str, workdir: pathlib.Path, last_step: int) -> list[Profile]:
  """Return the hook for `--profile`, or no hook if the flag is empty.

  Args:
    text: 'START:STOP', the first and the last update to trace.
    workdir: folder of the run.
    last_step: last update of the run.

  Raises:
    UserError: for any other text.
  """
  if not text:
    return []
  found = re.fullmatch(r'(\d+):(\d+)', text)
  start, stop = map(int, found.groups()) if found else (0, 0)
  if not 1 <= start <= stop <= last_step:
    raise UserError(
      f'--profile {text!r}: write START:STOP, two updates from 1 to train.steps (={last_step}), '
      'as in --profile=20:25'
    )
  folder = pathlib.Path(workdir) / 'profile'
  return [Profile(folder, first_step=start, last_step=stop)]
