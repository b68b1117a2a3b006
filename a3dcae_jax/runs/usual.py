"""What is usual in a run's training footage: the calibration of `scoring.local`, taken once a checkpoint."""

import pathlib

import jax
import numpy as np

from a3dcae_jax.common.files import whole_file
from a3dcae_jax.scoring.errors import error_maps
from a3dcae_jax.scoring.local import make_rule, pooled_maps, row_sums, usual_of

MAX_WINDOWS = 128  # of training footage, evenly spread: they are passed through the network once more


def local_rule(options):
  """The `Rule` of the config's `eval` subtree; its defaults where a run is older than the rule."""
  return make_rule(**options.get('local', {}))


def calibrated(detector, frames, first, *, window, batch_size, rule):
  """`detector` with `usual` from at most `MAX_WINDOWS` of the training windows that start at frames `first`.

  Args: frames: uint8 [N, H, W]. first: int [M]. window: T. batch_size: windows a pass. rule: `Rule`.
  """
  @jax.jit
  def sums_of(clips, counted):
    clips, recon = detector.reconstruct(clips)
    pooled = pooled_maps(error_maps(clips, recon), clips, rule)
    return row_sums(pooled._replace(energy=pooled.energy * counted[:, None, None, None]))  # the last batch repeats itself: once is enough

  chosen, total = first[::-(-len(first) // MAX_WINDOWS)], 0.0
  for start in range(0, len(chosen), batch_size):
    rows = chosen[start:start + batch_size]
    counted = (np.arange(batch_size) < len(rows)).astype(np.float32)
    total = total + np.asarray(sums_of(frames[np.resize(rows, batch_size)[:, None] + np.arange(window)], counted), np.float64)
  return detector._replace(usual=usual_of(total))


def write_usual(workdir, usual):
  """Writes `usual.npy`, float32 [2, T, h]: of speed and of surprise, by place in the clip and row of the pooled maps."""
  with whole_file(pathlib.Path(workdir) / 'usual.npy', 'wb') as file:
    np.save(file, usual)
