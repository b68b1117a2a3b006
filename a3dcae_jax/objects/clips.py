"""Clips of objects: a box in one position over some frames."""

from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.data.frame_cache import Split, videos_of
from a3dcae_jax.objects.boxes import Boxes


class ObjectTable(NamedTuple):
  """Objects of a split, ordered by frame.

  Attributes:
    frame: int32 [M], index of the object's frame in the split.
    low: int32 [M], index of the first frame of its video.
    high: int32 [M], index of the last frame of its video.
    corners: float32 [M, 4], x1, y1, x2, y2 in pixels of the frame cache.
  """

  frame: np.ndarray
  low: np.ndarray
  high: np.ndarray
  corners: np.ndarray

  def take(self, chosen: Any) -> 'ObjectTable':
    """Return some of the objects."""
    return ObjectTable(*(column[chosen] for column in self))


def object_table(boxes: Boxes, split: Split) -> ObjectTable:
  """Return the objects of a split."""
  videos = videos_of(split, boxes.frame)
  first = np.asarray([video.first for video in split.videos], np.int32)
  length = np.asarray([video.num_frames for video in split.videos], np.int32)
  return ObjectTable(
    frame=np.asarray(boxes.frame, np.int32),
    low=first[videos],
    high=(first + length - 1)[videos],
    corners=np.asarray(boxes.corners, np.float32),
  )


def scored_objects(table: ObjectTable, step: int) -> ObjectTable:
  """Return the objects of frames 0, step, 2 step, ... of each video."""
  return table.take((table.frame - table.low) % step == 0)


def spread_objects(table: ObjectTable, split: Split, step: int) -> tuple[ObjectTable, np.ndarray]:
  """Give each frame the objects of the nearest scored frame of its video.

  Args:
    table: objects of scored frames, see `scored_objects`.
    split: the split.
    step: frames between two scored ones.

  Returns:
    The objects of all frames, and the index of each in `table`.
  """
  nearest = [np.zeros(0, int)]
  for video in split.videos:
    position = np.arange(video.num_frames) + (step - 1) // 2
    last = (video.num_frames - 1) // step
    nearest.append(video.first + step * np.minimum(position // step, last))
  first, end = np.searchsorted(table.frame, np.concatenate(nearest) + np.asarray([[0], [1]]))
  counts = end - first
  before = np.cumsum(counts) - counts
  index = np.repeat(first - before, counts) + np.arange(counts.sum())
  frame = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
  return table.take(index)._replace(frame=frame), index


def object_rows(frame: Any, low: Any, high: Any, *, window: int, xp: Any = np) -> Any:
  """Compute the frame indices of the clips of objects.

      clip(frame - T // 2 + (0 .. T-1), low, high)

  The clip has the object's frame at position T // 2. Beyond the ends of the video, its first or
  last frame is repeated.

  Args:
    frame: int [M].
    low: int [M], first frame of the video.
    high: int [M], last frame of the video.
    window: frames per clip, T.
    xp: `numpy`, or `jax.numpy` in a program.

  Returns:
    int [M, T].
  """
  rows = frame[:, None] - window // 2 + xp.arange(window, dtype=frame.dtype)
  return xp.clip(rows, low[:, None], high[:, None])
