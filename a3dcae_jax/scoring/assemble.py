"""From windows to frames: one error and one error map for each frame."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from a3dcae_jax.common.errors import UserError


def frame_vector(
  window_errors: np.ndarray, rows: np.ndarray, keep: np.ndarray, num_frames: int
) -> np.ndarray:
  """Return the error of each frame: the mean over the windows that keep it.

  Args:
    window_errors: [M, T].
    rows: int [M, T], the index of each window's frames.
    keep: bool [M, T], whether a window's frame counts.
    num_frames: N.

  Returns:
    float64 [N].

  Raises:
    UserError: if an error is not finite.
    AssertionError: if some frame is kept by no window.
  """
  rows = np.asarray(rows)[keep]
  values = np.asarray(window_errors, np.float64)[keep]
  is_finite = np.isfinite(values)
  if not is_finite.all():
    raise UserError(
      f'reconstruction error of frame {rows[~is_finite][0]} is not finite: '
      'the checkpoint or the video is damaged'
    )
  counts = np.bincount(rows, minlength=num_frames)
  assert len(counts) == num_frames and counts.min(initial=1) > 0, 'every frame must be scored'
  return np.bincount(rows, values, minlength=num_frames) / counts


def split_by_video(vector: np.ndarray, videos: Sequence[Any]) -> list[np.ndarray]:
  """Return one array per video; `videos` have `first` and `num_frames`."""
  return [vector[video.first : video.first + video.num_frames] for video in videos]


class MeanMaps:
  """Mean error map of each frame, over the windows that keep it.

  A frame's map is returned as soon as its last window was added. Only frames that wait for
  further windows are held, so memory grows with the overlap of the windows, not with the length of
  the videos.
  """

  def __init__(self, times: np.ndarray) -> None:
    """Start without maps.

    Args:
      times: int [N], the number of windows that keep each frame.
    """
    self._times = np.asarray(times)
    self._sums = {}
    self._seen = {}

  def add(
    self, rows: np.ndarray, maps: np.ndarray, seen: np.ndarray | int = 1
  ) -> tuple[np.ndarray, np.ndarray]:
    """Add maps and return those that are complete.

    Args:
      rows: int [k], indices of frames.
      maps: [k, H, W], for each frame a sum of maps.
      seen: number of maps in each sum; one number or int [k].

    Returns:
      The complete frames, int [c] in rising order, and their mean maps [c, H, W].
    """
    rows = np.asarray(rows).tolist()
    counts = np.broadcast_to(seen, len(rows)).tolist()
    for row, window_map, count in zip(rows, maps, counts, strict=True):
      if row in self._sums:
        self._sums[row] = self._sums[row] + window_map
        self._seen[row] += count
      else:
        self._sums[row] = np.array(window_map, np.float32)
        self._seen[row] = count
    complete = []
    means = []
    for row in sorted(set(rows)):
      if self._seen[row] == self._times[row]:
        complete.append(row)
        means.append(self._sums.pop(row) / self._seen.pop(row))
    if not means:
      _, height, width = np.shape(maps)
      means = np.zeros((0, height, width), np.float32)
    return np.asarray(complete, int), np.asarray(means)

  def waiting(self, size: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the frames that wait for windows which other processes have.

    Args:
      size: length of the result, at least the number of waiting frames.
      shape: (H, W).

    Returns:
      Indices of the frames int [size], padded with -1; sums of their maps, float32 [size, H, W];
      and the number of maps in each sum, int [size].
    """
    rows = np.full(size, -1)
    sums = np.zeros((size, *shape), np.float32)
    seen = np.zeros(size, int)
    for index, (row, held) in enumerate(self._sums.items()):
      rows[index] = row
      sums[index] = held
      seen[index] = self._seen[row]
    return rows, sums, seen

  def __len__(self) -> int:
    """Return the number of frames that wait."""
    return len(self._sums)
