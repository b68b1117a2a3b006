"""From errors of windows to one error, and one error map, a frame: each frame exactly once."""

import numpy as np

from a3dcae_jax.common.errors import UserError


def frame_vector(window_errors, rows, keep, num_frames):
  """Puts window errors in their frames' places.

  Args:
    window_errors: [M, T]. rows: int [M, T], frame indices. keep: bool [M, T], which of a window's frames count.
    num_frames: N.

  Returns: float64 [N]: where several windows keep a frame, their mean.
  Raises: UserError if an error is not finite; AssertionError if a frame is in no window.
  """
  rows = np.asarray(rows)[keep]
  values = np.asarray(window_errors, np.float64)[keep]
  if not np.isfinite(values).all():
    raise UserError(
      f'reconstruction error of frame {rows[~np.isfinite(values)][0]} is not finite: the checkpoint or the footage is damaged'
    )
  counts = np.bincount(rows, minlength=num_frames)
  assert len(counts) == num_frames and counts.min(initial=1) > 0, 'every frame must be scored'
  return np.bincount(rows, values, minlength=num_frames) / counts


def split_by_video(vector, videos):
  """One array a video; `videos` have `first` and `num_frames`."""
  return [vector[video.first : video.first + video.num_frames] for video in videos]


class MeanMaps:
  """Error maps of overlapping windows as one map a frame, their mean, which is given out once the frame's last window has come.

  Only frames that wait for a window are held, so that memory follows the windows' overlap and not the footage.
  """

  def __init__(self, times):
    """times: int [N], how many windows keep each frame."""
    self._times, self._sums, self._seen = np.asarray(times), {}, {}

  def add(self, rows, maps, seen=1):
    """Takes sums of `seen` maps each, [k, H, W], of frames `rows`; returns (rows, mean maps) of the frames that are complete."""
    for row, window_map, count in zip(
      np.asarray(rows).tolist(), maps, np.broadcast_to(seen, len(rows)).tolist(), strict=True
    ):
      self._sums[row] = (
        self._sums[row] + window_map if row in self._sums else np.array(window_map, np.float32)
      )
      self._seen[row] = self._seen.get(row, 0) + count
    done = sorted(
      row for row in set(np.asarray(rows).tolist()) if self._seen[row] == self._times[row]
    )
    means = [self._sums.pop(row) / self._seen.pop(row) for row in done]
    return np.asarray(done, int), np.stack(means) if means else np.zeros(
      (0, *np.shape(maps)[1:]), np.float32
    )

  def waiting(self, size, shape):
    """(rows int [size], -1 behind the last one; sums float32 [size, H, W]; maps a sum int [size]): what other processes have the rest of."""
    rows, sums, seen = np.full(size, -1), np.zeros((size, *shape), np.float32), np.zeros(size, int)
    for index, (row, held) in enumerate(self._sums.items()):
      rows[index], sums[index], seen[index] = row, held, self._seen[row]
    return rows, sums, seen

  def __len__(self):
    """How many frames wait."""
    return len(self._sums)
