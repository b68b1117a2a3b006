"""Checkpoints of the whole training state, written in the background by Orbax.

A checkpoint is the folder `FOLDER/STEP/`: Orbax's files in `default/`, and `manifest.json` with
the size and SHA-256 of each file. It is written under another name, hashed, and then renamed. So a
folder under its own name either is whole or was damaged later, and its manifest tells which.

In a pod only process 0 saves and restores. Arrays are saved as they are on its host, so a
checkpoint does not depend on the number of devices or processes that wrote it.
"""

import logging
import pathlib
import shutil
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.training import processes
from a3dcae_jax.training.manifest import damage, misfit, write_manifest

_SAVING = '.saving-'
_DELETING = '.deleting-'


class Checkpoints:
  """The checkpoints of one run, of which the newest few are kept.

  Attributes:
    folder: folder of all checkpoints.
    held_s: for each save, the seconds for which it stopped the caller: to wait for the save before
      it, and to copy the state to the host.
  """

  def __init__(self, folder: str | pathlib.Path, *, keep: int = 3) -> None:
    """Open the checkpoints in a folder.

    Args:
      folder: folder of all checkpoints; it need not exist.
      keep: how many of the newest checkpoints are kept.
    """
    logging.getLogger('absl').setLevel(logging.ERROR)  # Orbax logs a screenful for every save
    self.folder = pathlib.Path(folder).absolute()
    self.held_s: list[float] = []
    self._keep = keep
    self._orbax = _make_checkpointer()
    self._writer = futures.ThreadPoolExecutor(1, thread_name_prefix='checkpoint')
    self._running: futures.Future | None = None
    self._failure: str | None = None
    self._checked: dict[int, str] = {}  # step -> damage, '' if the checkpoint is whole

  def steps(self) -> list[int]:
    """Return the steps of all checkpoints, oldest first, without reading any."""
    if not self.folder.is_dir():
      return []
    steps = []
    for entry in self.folder.iterdir():
      if entry.name.isdecimal() and entry.is_dir():
        steps.append(int(entry.name))
    return sorted(steps)

  def latest_step(self) -> int | None:
    """Return the step of the newest whole checkpoint, or None.

    Each newer checkpoint that is damaged is named on the terminal.
    """
    for step in reversed(self.steps()):
      folder = self.folder / str(step)
      is_new = step not in self._checked
      reason = self._damage(step)
      if not reason:
        return step
      if is_new:
        print(f'{folder} is not whole: {reason}; looking for an older one', flush=True)
    return None

  def save(self, step: int, state: Any) -> None:
    """Copy `state` to the host and start writing it.

    Saving a step that is saved already does nothing, unless that checkpoint is damaged.
    """
    start = time.monotonic()
    self.wait()
    if self._is_saved(step):
      return
    copied = jax.tree.map(_copy, jax.device_get(state))
    held_s = time.monotonic() - start
    self.held_s.append(held_s)
    self._running = self._writer.submit(self._write, step, copied, held_s)

  def restore(self, step: int, like: Any) -> Any:
    """Read the state of `step` onto the default device.

    Args:
      step: a step of `steps()`.
      like: a state of the same structure, shapes and dtypes; arrays or `jax.ShapeDtypeStruct`s.

    Raises:
      UserError: naming the first array that does not fit `like`.
    """
    folder = self.folder / str(step)
    difference = misfit(folder, like)
    if difference:
      raise UserError(f'{folder} does not fit this config: {difference}')
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    arguments = ocp.args.StandardRestore(zeros)
    restored = self._orbax.restore(folder / 'default', args=arguments)
    device = jax.local_devices()[0]
    return jax.device_put(restored, jax.sharding.SingleDeviceSharding(device))

  def wait(self) -> None:
    """Wait until everything started is written or has failed; see `failure`."""
    if self._running:
      self._running.result()
      self._running = None

  @property
  def failure(self) -> str | None:
    """Return the reason why the newest save failed, in one line; None if it did not."""
    return self._failure

  def close(self) -> None:
    """Wait for the last save and end the writer's thread."""
    self.wait()
    self._writer.shutdown()
    self._orbax.close()

  def _is_saved(self, step: int) -> bool:
    return step in self.steps() and not self._damage(step)

  def _damage(self, step: int) -> str:
    """Return the damage of a checkpoint, '' if it is whole; read each only once."""
    if step not in self._checked:
      self._checked[step] = damage(self.folder / str(step))
    return self._checked[step]

  def _write(self, step: int, state: Any, held_s: float) -> None:
    """Write one checkpoint, on the writer's thread.

    A save that fails leaves the older checkpoints and prints the reason; training continues.
    """
    temporary = self.folder / f'{_SAVING}{step}'
    try:
      self._sweep()
      self._write_files(temporary, step, state, held_s)
      self._delete(step)  # only a damaged checkpoint can be there
      temporary.rename(self.folder / str(step))
      self._checked[step] = ''
      self._failure = None
      for old in self.steps()[: -self._keep]:
        self._delete(old)
    except Exception as error:  # file systems and Orbax raise many types
      shutil.rmtree(temporary, ignore_errors=True)
      self._failure = f'checkpoint of step {step} could not be written: {_reason(error)}'
      print(f'{self.folder}: {self._failure}', flush=True)

  def _write_files(self, folder: pathlib.Path, step: int, state: Any, held_s: float) -> None:
    start = time.monotonic()
    folder.mkdir(parents=True)
    self._orbax.save(folder / 'default', args=ocp.args.StandardSave(state))
    write_s = time.monotonic() - start
    write_manifest(
      folder,
      state,
      step=step,
      held_s=round(held_s, 4),
      write_s=round(write_s, 4),
    )

  def _sweep(self) -> None:
    """Remove the remains of killed saves and removals.

    Only the process that writes does this: a reader leaves a writer's files alone.
    """
    if not self.folder.is_dir():
      return
    for entry in self.folder.iterdir():
      is_unfinished = entry.name.startswith((_SAVING, _DELETING))
      if is_unfinished or '.orbax-checkpoint-tmp' in entry.name:
        shutil.rmtree(entry, ignore_errors=True)

  def _delete(self, step: int) -> None:
    """Rename a checkpoint, then remove it.

    An interrupted removal then leaves nothing under a checkpoint's name.
    """
    folder = self.folder / str(step)
    if not folder.exists():
      return
    self._checked.pop(step, None)
    doomed = self.folder / f'{_DELETING}{step}'
    folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def restore_or_init(checkpoints: Checkpoints, init: Callable[[], Any]) -> tuple[Any, int]:
  """Return the newest checkpoint's state and step, or a fresh state and 0.

  Args:
    checkpoints: the checkpoints of the run.
    init: returns a fresh state; a checkpoint must have the same structure, shapes and dtypes.

  Raises:
    UserError: if the checkpoint does not fit.
  """
  step = checkpoints.latest_step()
  if step is None:
    return init(), 0
  try:
    return checkpoints.restore(step, jax.eval_shape(init)), step
  except (ValueError, KeyError, TypeError) as error:
    raise UserError(
      f'the checkpoint of step {step} does not fit this config: {_reason(error)}'
    ) from None


def restored_for_all(checkpoints: Checkpoints, init: Callable[[], Any]) -> tuple[Any, int]:
  """Call `restore_or_init` on process 0 and return its result on every process.

  The other processes of a pod need not see the checkpoints.
  """
  if processes.count() == 1:
    return restore_or_init(checkpoints, init)
  states = []

  def restore() -> int:
    state, step = restore_or_init(checkpoints, init)
    states.append(state)
    return step

  step = processes.run_on_primary('checkpoint', restore)
  if not states:
    # Zeros, which the broadcast replaces. `init` itself would have to be compiled first.
    shapes = jax.eval_shape(init)
    states.append(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes))
  return processes.broadcast(states[0]), step


def _make_checkpointer() -> ocp.Checkpointer:
  """Make Orbax's writer, for process 0 alone in a pod."""
  options = ocp.options.MultiprocessingOptions()
  if processes.count() > 1:
    options = ocp.options.MultiprocessingOptions(
      primary_host=0, active_processes={0}, barrier_sync_key_prefix='a3dcae_jax'
    )
  handler = ocp.StandardCheckpointHandler(multiprocessing_options=options)
  return ocp.Checkpointer(handler, multiprocessing_options=options)


def _copy(array: Any) -> np.ndarray:
  """Return an array that owns its memory, copying it if necessary.

  On CPUs `device_get` gives a view of memory that the next step may reuse.
  """
  array = np.asarray(array)
  if array.flags.owndata:
    return array
  return array.copy()


def _reason(error: Exception) -> str:
  """Return the first line of an error's message, or the name of its type."""
  lines = [line for line in str(error).splitlines() if line.strip()]
  if not lines:
    return type(error).__name__
  return lines[0][:300]
