"""From errors of windows to one error a frame, each frame exactly once."""

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
    raise UserError(f'reconstruction error of frame {rows[~np.isfinite(values)][0]} is not finite: the checkpoint or the footage is damaged')
  counts = np.bincount(rows, minlength=num_frames)
  assert len(counts) == num_frames and counts.min(initial=1) > 0, 'every frame must be scored'
  return np.bincount(rows, values, minlength=num_frames) / counts


def split_by_video(vector, videos):
  """One array a video; `videos` have `first` and `num_frames`."""
  return [vector[video.first:video.first + video.num_frames] for video in videos]
