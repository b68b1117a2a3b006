"""Checkpoints of the whole training state, written in the background by Orbax; the newest few are kept.

A checkpoint is `folder/STEP/`: Orbax's files in `default/`, and `manifest.json` with size and SHA-256 of each. It is written under another name,
hashed, and then renamed, so under its own name it is whole or was damaged later; which of the two, its manifest says. In a pod process 0 alone
saves and restores; arrays are the host's, so a checkpoint does not know how many devices or processes wrote it.
"""

import logging
import pathlib
import shutil
import time
from concurrent import futures

import jax
import numpy as np
import orbax.checkpoint as ocp

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.training.manifest import NAME, damage, misfit, write_manifest

_SAVING, _DELETING = '.saving-', '.deleting-'


class Checkpoints:
  """The checkpoints of one run.

  Attributes:
    held_s: for each save, how long the caller was held: waiting for the save before it, and copying the state to the host.
  """

  def __init__(self, folder, *, keep=3):
    logging.getLogger('absl').setLevel(logging.ERROR)  # Orbax logs a screenful for every save
    self.folder, self._keep, self.held_s = pathlib.Path(folder).absolute(), keep, []
    options = (
      ocp.options.MultiprocessingOptions(
        primary_host=0, active_processes={0}, barrier_sync_key_prefix='a3dcae_jax'
      )
      if _in_pod()
      else ocp.options.MultiprocessingOptions()
    )
    self._orbax = ocp.Checkpointer(
      ocp.StandardCheckpointHandler(multiprocessing_options=options),
      multiprocessing_options=options,
    )
    self._writer = futures.ThreadPoolExecutor(1, thread_name_prefix='checkpoint')
    self._running, self._failed, self._checked = None, None, {}

  def steps(self):
    """Steps of all checkpoints under their own names, oldest first; nothing is read."""
    entries = self.folder.iterdir() if self.folder.is_dir() else ()
    return sorted(int(entry.name) for entry in entries if entry.name.isdecimal() and entry.is_dir())

  def latest_step(self):
    """The step of the newest whole checkpoint, or None. Each newer one that is not whole is named on the way."""
    steps = self.steps()
    before_manifests = not any((self.folder / str(step) / NAME).exists() for step in steps)
    for step in reversed(steps):
      if before_manifests and (self.folder / str(step) / '_CHECKPOINT_METADATA').exists():
        return step  # a run of an earlier version: Orbax's own commit is all there is
      if step not in self._checked:
        self._checked[step] = damage(self.folder / str(step))
        if self._checked[step]:
          print(
            f'{self.folder / str(step)} is not whole: {self._checked[step]}; looking for an older one',
            flush=True,
          )
      if not self._checked[step]:
        return step
    return None

  def save(self, step, state):
    """Starts writing `state`; returns as soon as its values are copied. Saving a step again is a no-op."""
    start = time.monotonic()
    self.wait()
    if step in self.steps() and not self._checked.setdefault(step, damage(self.folder / str(step))):
      return
    copied = jax.tree.map(_copy, jax.device_get(state))
    held = time.monotonic() - start
    self.held_s.append(held)
    self._running = self._writer.submit(self._write, step, copied, held)

  def restore(self, step, like):
    """The state of `step`, with the structure, shapes and dtypes of `like` (arrays or shapes), on the default device.

    Raises: UserError naming the first array that does not fit.
    """
    folder = self.folder / str(step)
    difference = misfit(folder, like) if (folder / NAME).exists() else ''
    if difference:
      raise UserError(f'{folder} does not fit this config: {difference}')
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    hosted = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    return jax.device_put(
      self._orbax.restore(folder / 'default', args=ocp.args.StandardRestore(hosted)), sharding
    )

  def wait(self):
    """Returns when everything started has been written, or has failed: `failure` says how."""
    if self._running:
      self._running.result()
      self._running = None

  @property
  def failure(self):
    """Why the newest save came to nothing, in one line; None where it did not."""
    return self._failed

  def close(self):
    """Waits and gives the thread back."""
    self.wait()
    self._writer.shutdown()
    self._orbax.close()

  def _write(self, step, state, held_s):
    """Runs on the writer's thread. A save that fails leaves the older checkpoints and says so; training goes on."""
    start, temporary = time.monotonic(), self.folder / f'{_SAVING}{step}'
    try:
      self._sweep()
      temporary.mkdir(parents=True)
      self._orbax.save(temporary / 'default', args=ocp.args.StandardSave(state))
      write_manifest(
        temporary,
        state,
        step=step,
        held_s=round(held_s, 4),
        write_s=round(time.monotonic() - start, 4),
      )
      self._delete(step)  # a damaged one of the same step
      temporary.rename(self.folder / str(step))
      self._checked[step], self._failed = '', None
      for old in self.steps()[: -self._keep]:
        self._delete(old)
    except Exception as error:  # whatever the file system and the libraries between raise
      shutil.rmtree(temporary, ignore_errors=True)
      self._failed = f'checkpoint of step {step} could not be written: {_reason(error)}'
      print(f'{self.folder}: {self._failed}', flush=True)

  def _sweep(self):
    """Removes what killed saves and removals have left; only the process that writes does this."""
    if not self.folder.is_dir():
      return
    for entry in self.folder.iterdir():
      if entry.name.startswith((_SAVING, _DELETING)) or '.orbax-checkpoint-tmp' in entry.name:
        shutil.rmtree(entry, ignore_errors=True)

  def _delete(self, step):
    """Renames, then removes: a removal that is cut off leaves nothing under a checkpoint's name."""
    if (self.folder / str(step)).exists():
      self._checked.pop(step, None)
      doomed = (self.folder / str(step)).rename(self.folder / f'{_DELETING}{step}')
      shutil.rmtree(doomed, ignore_errors=True)


def _copy(array):
  """The values themselves: on CPUs `device_get` gives a view of memory that the next step may reuse."""
  array = np.asarray(array)
  return array if array.flags.owndata else array.copy()


def _in_pod():
  return jax.process_count() > 1


def _reason(error):
  lines = [line for line in str(error).splitlines() if line.strip()]
  return lines[0][:300] if lines else type(error).__name__
