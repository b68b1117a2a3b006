"""The objects of a split and how unusual they are: boxes are known or found here."""

from typing import NamedTuple

import jax
import numpy as np

from a3dcae_jax.data.frame_cache import Split
from a3dcae_jax.evaluation.clip_program import ClipProgram
from a3dcae_jax.evaluation.object_scorer import ObjectScorer, shared_measurements
from a3dcae_jax.objects.clips import ObjectTable, object_rows
from a3dcae_jax.serving.object_bundle import ObjectBundle
from a3dcae_jax.serving.object_statistics import ObjectStatistics, vertical_edges

_CPU_FRAMES = 4  # per batch; larger ones take as long per frame


class ScoredObjects(NamedTuple):
  """The objects of the scored frames of a split.

  Attributes:
    table: M objects.
    zscores: [M, 3], their `MEASUREMENTS` among those of the training objects.
  """

  table: ObjectTable
  zscores: np.ndarray


def of_boxes(
  scorer: ObjectScorer,
  split: Split,
  table: ObjectTable,
  statistics: ObjectStatistics,
  *,
  batch_size: int,
) -> ScoredObjects:
  """Measure objects whose boxes are known.

  Args:
    scorer: measures them.
    split: the test split.
    table: objects of its scored frames.
    statistics: of the training objects.
    batch_size: objects per batch and device.
  """
  measurements = shared_measurements(
    scorer, split.frames, table, batch_size=batch_size, progress='test objects'
  )
  edges = vertical_edges(table.corners, split.frames.shape[1])
  return ScoredObjects(table, statistics.zscores(edges, measurements))


def found_by(bundle: ObjectBundle, split: Split, *, step: int, batch_size: int) -> ScoredObjects:
  """Find and measure the objects of a split by the one program of a bundle.

  Args:
    bundle: one that finds boxes.
    split: the test split.
    step: frames 0, step, 2 step, ... of each video are scored.
    batch_size: frames per batch and device, on accelerators.
  """
  frame, low, high = _scored_frames(split, step)
  call, arrays = bundle.detecting
  corners, valid, _, _, zscores = ClipProgram(call).results(
    *arrays,
    split.frames,
    object_rows(frame, low, high, window=bundle.window),
    batch_size=_CPU_FRAMES if jax.default_backend() == 'cpu' else batch_size,
    progress='test frames',
  )
  index, place = np.nonzero(valid)
  table = ObjectTable(frame[index], low[index], high[index], corners[index, place])
  return ScoredObjects(table, zscores[index, place].astype(np.float64))


def _scored_frames(split: Split, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Return the scored frames, and the ends of the video of each, int32 [M]."""
  frames = [np.zeros((0, 3), np.int32)]
  for video in split.videos:
    end = video.first + video.num_frames
    frame = np.arange(video.first, end, step, dtype=np.int32)
    frames.append(
      np.stack([frame, np.full_like(frame, video.first), np.full_like(frame, end - 1)], 1)
    )
  frame, low, high = np.concatenate(frames).T
  return frame, low, high
