"""Checkpoints of the whole training state, written in the background by Orbax; the newest few are kept."""

import logging
import pathlib

import jax
import orbax.checkpoint as ocp


class Checkpoints:
  """The checkpoints of one run, in `folder/STEP/`.

  A save is visible under its step number only once it is whole: Orbax writes into a temporary folder and renames it.
  """

  def __init__(self, folder, *, keep=3):
    logging.getLogger('absl').setLevel(logging.ERROR)  # Orbax logs a screenful for every save
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, cleanup_tmp_directories=True)
    self._manager = ocp.CheckpointManager(pathlib.Path(folder).absolute(), options=options)

  def latest_step(self):
    """The newest whole checkpoint's step, or None."""
    return self._manager.latest_step()

  def steps(self):
    """Steps of all whole checkpoints, oldest first."""
    return sorted(self._manager.all_steps())

  def save(self, step, state):
    """Starts writing `state`; returns as soon as its values are copied. Saving a step again is a no-op."""
    if step not in self._manager.all_steps():
      self._manager.save(step, args=ocp.args.StandardSave(state))

  def restore(self, step, like):
    """The state of `step`, with the structure, shapes and dtypes of `like` (arrays or shapes), on the default device."""
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), like)
    return self._manager.restore(step, args=ocp.args.StandardRestore(abstract))

  def wait(self):
    """Returns when everything started has been written."""
    self._manager.wait_until_finished()

  def close(self):
    """Waits and gives the threads back."""
    self._manager.wait_until_finished()
    self._manager.close()
