"""Read the state of a run's newest checkpoint."""

import pathlib

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import fields
from a3dcae_jax.run.train import fresh_state
from a3dcae_jax.training import processes
from a3dcae_jax.training.checkpoints import Checkpoints, restored_for_all
from a3dcae_jax.training.state import TrainState


def restored_state(settings: fields.Config, workdir: str | pathlib.Path) -> TrainState:
  """Return the state of the newest checkpoint, on every process of a pod.

  Raises:
    UserError: if there is no checkpoint.
  """
  folder = pathlib.Path(workdir) / 'checkpoints'
  checkpoints = Checkpoints(folder, keep=settings.train.keep_checkpoints)
  try:
    if processes.is_primary() and checkpoints.latest_step() is None:
      raise UserError(f'{folder}: no checkpoint to evaluate; train first')
    state, _ = restored_for_all(checkpoints, lambda: fresh_state(settings))
  finally:
    checkpoints.close()
  return state
