"""What is usual in a run's training footage: the calibration of `scoring.local`, taken once a checkpoint."""

import pathlib

import jax
import numpy as np

from a3dcae_jax.common.files import atomic_write
from a3dcae_jax.evaluation.program import USUAL
from a3dcae_jax.scoring.errors import error_maps
from a3dcae_jax.scoring.local import pooled_maps, row_sums, usual_of

MAX_WINDOWS = (
  128  # of training footage, evenly spread: they are passed through the network once more
)


def with_usual(detector, frames, rows, *, batch_size, rule, scenes=None):
  """`detector` calibrated by at most `MAX_WINDOWS` of the training windows of frames `rows`.

  Args: frames: uint8 [N, H, W]. rows: int [M, T]. batch_size: windows a pass. rule: `Rule`. scenes: int [M] or None, as in `window_errors`.
  """

  @jax.jit
  def sums_of(clips, scene, counted):
    clips, recon = detector.reconstruct(clips, scene)
    pooled = pooled_maps(error_maps(clips, recon), clips, rule)
    return row_sums(
      pooled._replace(energy=pooled.energy * counted[:, None, None, None])
    )  # the last batch repeats itself: once is enough

  chosen, total = np.arange(0, len(rows), -(-len(rows) // MAX_WINDOWS)), 0.0
  for start in range(0, len(chosen), batch_size):
    batch = np.resize(chosen[start : start + batch_size], batch_size)
    counted = (np.arange(batch_size) < len(chosen) - start).astype(np.float32)
    clips = frames[rows[batch]]
    total = total + np.asarray(
      sums_of(clips, None if scenes is None else scenes[batch], counted), np.float64
    )
  return detector.with_calibration({'usual': usual_of(total)})


def write_usual(workdir, detector):
  """Writes `usual.npy`, float32 [2, T, h]: of speed and of surprise, by place in the clip and row of the pooled maps. Nothing where there is none."""
  if USUAL in detector.weights:
    with atomic_write(pathlib.Path(workdir) / 'usual.npy', 'wb') as file:
      np.save(file, np.asarray(detector.weights[USUAL]))
