"""Runs to export, without training."""

import numpy as np

from a3dcae_jax.common.files import write_json
from a3dcae_jax.evaluation.calibrate import find_input_statistics
from a3dcae_jax.run import train, workdir
from a3dcae_jax.run.datasets import open_cache
from a3dcae_jax.training.checkpoints import Checkpoints


def write_untrained_run(settings, run):
  """Write the folder of a run whose only checkpoint is untrained, and return it."""
  cache = open_cache(settings.data)
  workdir.init_or_check_workdir(run, settings)
  find_input_statistics('set', settings.input, cache).save(run)
  write_json(run / 'provenance.json', workdir.provenance(cache.data_hash))
  checkpoints = Checkpoints(run / 'checkpoints')
  checkpoints.save(7, train.fresh_state(settings).replace(step=np.int32(7)))
  checkpoints.close()
  return run
