"""From errors to scores. Each way is named, and the name stands beside every figure."""

import numpy as np
from scipy import ndimage

from a3dcae_jax.common.errors import UserError

NORMALISATIONS = ('eq14', 'minmax', 'psnr', 'none', 'train')
_LEAST_ERROR = 1e-10  # whose PSNR, 100 dB, is the highest


def normalise(errors, how, *, train_mean=None, train_std=None):
  """Scores of each video, higher = more abnormal.

      eq14:   (e - min e) / max e over the video: the paper's Eq. 14, which divides by the maximum, not by the range
      minmax: (e - min e) / (max e - min e) over the video
      psnr:   1 - minmax of PSNR = -10 log10 e, as most systems after Liu et al. (CVPR 2018) report; e at least 1e-10
      none:   e
      train:  (e - train_mean) / train_std: needs no future of the video, so a stream can use it

  A video whose frames all have one error scores 0 under the first three.

  Args: errors: list of float [N_v]. train_mean, train_std: of the training frames' errors, for 'train'.
  Returns: list of float64 [N_v].
  Raises: UserError for errors that are not finite or a name that is not known.
  """
  if how not in NORMALISATIONS:
    raise UserError(f'normalisation {how!r}: known are {", ".join(NORMALISATIONS)}')
  errors = [np.asarray(video, np.float64) for video in errors]
  for index, video in enumerate(errors):
    if not np.isfinite(video).all():
      raise UserError(
        f'normalisation {how}: error of frame {np.flatnonzero(~np.isfinite(video))[0]} of video {index} is not finite'
      )
  if how == 'none':
    return errors
  if how == 'train':
    if train_mean is None or not train_std:
      raise UserError(
        'normalisation train: needs the mean and the (positive) standard deviation of training errors'
      )
    return [(video - train_mean) / train_std for video in errors]
  return [_per_video(video, how) for video in errors]


def _per_video(video, how):
  if how == 'psnr':
    video = np.log(np.maximum(video, _LEAST_ERROR))
  shifted = video - video.min()
  span = video.max() if how == 'eq14' else shifted.max()
  return shifted / span if span > 0 else np.zeros_like(video)


def smooth(scores, sigma_frames, mode='centred'):
  """Gaussian smoothing along each video: a named option, off by default; 0 returns `scores`.

  Args:
    scores: list of float [N_v]. sigma_frames: standard deviation. mode: 'centred' looks ahead; 'causal' weighs the frame
      and those before it alone, which a stream can do.
  """
  if mode not in ('centred', 'causal'):
    raise UserError(f"eval.smoothing_mode {mode!r}: known are 'centred', 'causal'")
  if not sigma_frames:
    return scores
  if mode == 'centred':
    return [ndimage.gaussian_filter1d(video, sigma_frames, mode='nearest') for video in scores]
  weights = np.exp(-0.5 * np.square(np.arange(int(4 * sigma_frames) + 1) / sigma_frames))
  return [
    np.convolve(np.r_[np.full(len(weights) - 1, video[0]), video], weights / weights.sum(), 'valid')
    for video in scores
  ]
