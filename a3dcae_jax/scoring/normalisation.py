"""From errors to scores; every figure names its normalisation."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from a3dcae_jax.common.errors import UserError

NORMALISATIONS = ('eq14', 'minmax', 'psnr', 'raw', 'zscore')
UNCALIBRATED = ('eq14', 'minmax', 'psnr', 'raw')
"""Normalisations that need no training errors, so that baselines have them too."""

_LEAST_ERROR = 1e-10  # error of the highest PSNR, 100 dB


def normalise(
  errors: Sequence[np.ndarray],
  how: str,
  *,
  train_mean: float | None = None,
  train_std: float | None = None,
) -> list[np.ndarray]:
  """Return the scores of each video; higher is more abnormal.

      eq14:   (e - min e) / max e over the video: the paper's Eq. 14, which divides by the maximum
              and not by the range
      minmax: (e - min e) / (max e - min e) over the video
      psnr:   1 - minmax of PSNR = -10 log10 e, as most systems after Liu et al. (CVPR 2018)
              report; e is at least 1e-10
      raw:    e
      zscore: (e - train_mean) / train_std; does not depend on later frames, so a stream can use it

  With the first three, a video whose frames all have the same error scores 0.

  Args:
    errors: one float [N_v] per video.
    how: one of `NORMALISATIONS`.
    train_mean: mean of the errors of training frames, for zscore.
    train_std: their standard deviation, for zscore.

  Returns:
    One float64 [N_v] per video.

  Raises:
    UserError: if an error is not finite, or for an unknown or uncalibrated normalisation.
  """
  if how not in NORMALISATIONS:
    raise UserError(f'normalisation {how!r}: known are {", ".join(NORMALISATIONS)}')
  errors = [np.asarray(video, np.float64) for video in errors]
  for index, video in enumerate(errors):
    _check_finite(video, index, how)
  if how == 'raw':
    return errors
  if how == 'zscore':
    if train_mean is None or not train_std:
      raise UserError(
        'normalisation zscore: needs the mean and the positive standard deviation of training '
        'errors'
      )
    return [(video - train_mean) / train_std for video in errors]
  return [_normalised_video(video, how) for video in errors]


def smooth(
  scores: Sequence[np.ndarray], sigma_frames: float, mode: str = 'centred'
) -> Sequence[np.ndarray]:
  """Smooth the scores of each video with a Gaussian.

  Args:
    scores: one float [N_v] per video.
    sigma_frames: standard deviation in frames; 0 returns `scores` themselves.
    mode: 'centred' also uses later frames; 'causal' uses only the frame and earlier ones, so a
      stream can use it.

  Raises:
    UserError: for an unknown mode.
  """
  if mode not in ('centred', 'causal'):
    raise UserError(f"eval.smoothing_mode {mode!r}: known are 'centred', 'causal'")
  if not sigma_frames:
    return scores
  if mode == 'centred':
    return [ndimage.gaussian_filter1d(video, sigma_frames, mode='nearest') for video in scores]
  return [_smoothed_causally(video, sigma_frames) for video in scores]


def _check_finite(video: np.ndarray, index: int, how: str) -> None:
  wrong = np.flatnonzero(~np.isfinite(video))
  if len(wrong):
    raise UserError(
      f'normalisation {how}: error of frame {wrong[0]} of video {index} is not finite'
    )


def _normalised_video(video: np.ndarray, how: str) -> np.ndarray:
  if how == 'psnr':
    video = np.log(np.maximum(video, _LEAST_ERROR))
  shifted = video - video.min()
  span = shifted.max()
  if how == 'eq14':
    span = video.max()
  if span <= 0:
    return np.zeros_like(video)
  return shifted / span


def _smoothed_causally(video: np.ndarray, sigma_frames: float) -> np.ndarray:
  """Smooth over each frame and earlier ones; the first score is repeated before it."""
  reach = int(4 * sigma_frames)
  ages = np.arange(reach + 1)
  weights = np.exp(-0.5 * np.square(ages / sigma_frames))
  weights = weights / weights.sum()
  extended = np.pad(video, (reach, 0), mode='edge')
  return np.convolve(extended, weights, 'valid')
