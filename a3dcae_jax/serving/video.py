"""From a video to one score per frame, with NumPy alone.

The results equal those of `data.windows`, `objects.clips`, `scoring.assemble` and
`scoring.normalisation`, which a bundle does not import. A test compares both.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError


class FrameError(NamedTuple):
  """The final error of a frame of a stream.

  Attributes:
    error: of a whole frame, the mean over the windows that keep it. Of objects, that of the worst
      one, interpolated if the frame is not scored; 0 without objects.
    heat: float32 [h, w], the error of each square of a whole frame; None if objects are scored.
    objects: float64 [M, 5], corners and error of each object of the nearest scored frame; None if
      frames are scored whole.
  """

  error: float
  heat: np.ndarray | None
  objects: np.ndarray | None


def cut_windows(
  num_frames: int, *, window: int, step: int, stride: int
) -> tuple[np.ndarray, np.ndarray]:
  """List the windows that score one video.

  With a stride s > 1 the video is treated as s videos, with frames 0, s, 2s, ..., frames 1,
  s + 1, ... and so on. Each of them is cut into windows, the last one ending with the video. A
  video that is too short takes the largest stride that fits.

  Args:
    num_frames: N.
    window: frames per window, T.
    step: distance between two windows in frames of the strided video; all their frames count. 0:
      windows lie back to back, and only those frames of the last window count that no earlier one
      has.
    stride: distance between two frames of a window in frames of the video.

  Returns:
    Indices of the windows' frames, int [M, T], and whether each of them counts, bool [M, T].

  Raises:
    UserError: if the video is shorter than a window.
  """
  if num_frames < window:
    raise UserError(f'the video has {num_frames} frames, fewer than the window (={window})')
  stride = min(stride, num_frames // window)
  positions = np.arange(window)
  rows = []
  keep = []
  for phase in range(stride):
    length = len(range(phase, num_frames, stride))
    last = length - window
    starts = [*range(0, last, step or window), last]
    counted = 0
    for start in starts:
      frames = start + positions
      rows.append(phase + stride * frames)
      keep.append(frames >= counted)
      if step == 0:
        counted = start + window
  rows = np.asarray(rows)
  keep = np.asarray(keep)
  order = np.argsort(rows[:, 0], kind='stable')
  return rows[order], keep[order]


def object_rows(frame: np.ndarray, num_frames: int, *, window: int) -> np.ndarray:
  """Compute the frame indices of the clips of objects.

  The clip has the object's frame at position T // 2. Beyond the ends of the video, its first or
  last frame is repeated.

  Args:
    frame: int [M], frame of each object.
    num_frames: N.
    window: frames per clip, T.

  Returns:
    int [M, T].
  """
  rows = frame[:, None] - window // 2 + np.arange(window, dtype=frame.dtype)
  return np.clip(rows, 0, num_frames - 1)


def video_scores(
  errors: np.ndarray, rows: np.ndarray, keep: np.ndarray, calibration: Mapping[str, Any]
) -> np.ndarray:
  """Return the score of each frame, in standard deviations of the training errors.

  Errors are divided by the mean training error at their position in the window, if the detector
  has per-position calibration. They are averaged over the windows that keep a frame, become
  z-scores, and are smoothed.

  Args:
    errors: errors of the windows, [M, T].
    rows: int [M, T], from `cut_windows`.
    keep: bool [M, T], from `cut_windows`.
    calibration: the field `calibration` of `detector.json`.

  Returns:
    float64 [N].
  """
  errors = np.asarray(errors, np.float64)
  if calibration['per_position']:
    errors = errors / np.asarray(calibration['position_mean'])
  frames = rows[keep]
  sums = np.bincount(frames, errors[keep])
  counts = np.bincount(frames)
  mean_errors = sums / counts
  scores = (mean_errors - calibration['mean']) / calibration['std']
  return smooth(scores, calibration['smoothing_frames'], calibration['smoothing_mode'])


def smooth(scores: np.ndarray, sigma_frames: float, mode: str) -> np.ndarray:
  """Smooth the scores of a video with a Gaussian.

  Args:
    scores: float64 [N].
    sigma_frames: standard deviation in frames; 0 returns `scores`.
    mode: 'centred', or 'causal', which uses only the frame and earlier ones. The first and the last
      score are repeated beyond the ends of the video.
  """
  if not sigma_frames:
    return scores
  weights = gaussian(sigma_frames, mode)
  before = len(weights) - 1
  after = 0
  if mode == 'centred':
    before = after = len(weights) // 2
  return np.convolve(np.pad(scores, (before, after), mode='edge'), weights, 'valid')


def gaussian(sigma_frames: float, mode: str) -> np.ndarray:
  """Return the weights of a Gaussian over frames; they sum to 1.

  Args:
    sigma_frames: standard deviation in frames; 0 gives a single weight.
    mode: 'centred', or 'causal': the weights of the frame, the one before it, and so on.
  """
  if not sigma_frames:
    return np.ones(1)
  if mode == 'centred':
    radius = int(4 * sigma_frames + 0.5)
    offsets = np.arange(-radius, radius + 1)
  else:
    offsets = np.arange(int(4 * sigma_frames) + 1)
  weights = np.exp(-0.5 * np.square(offsets / sigma_frames))
  return weights / weights.sum()
