"""Scores without learning: the baselines that stand beside every figure."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from a3dcae_jax.common.frame_rms import squared_gain

BASELINES = ('frame_difference', 'mean_image_distance')
"""The two baselines that every run has."""

NORMALISED = 'frame_difference_normalised'
"""The third baseline, for networks that see normalised frames."""


def baseline_errors(
  frames: np.ndarray,
  videos: Sequence[Any],
  mean_images: np.ndarray,
  mean_image_ids: np.ndarray,
  *,
  target_rms: float = 0.0,
  on_frame: Callable[[], Any] = lambda: None,
) -> dict[str, np.ndarray]:
  """Return the error of each frame under each baseline, for pixels in [0, 1].

      frame_difference:            mean over pixels of (x_t - x_{t-1})^2; the first frame of a
                                   video takes the value of the second one
      mean_image_distance:         mean over pixels of (x_t - mean image)^2
      frame_difference_normalised: the frame difference of frames as the network gets them, minus
                                   the mean image and normalised to `target_rms`

  The third one is computed only with a `target_rms`. The mean image distance E needs no normalised
  form, because E 2 c^2 / (E + c^2) orders frames as E does.

  Only one frame at a time is in memory.

  Args:
    frames: uint8 [N, H, W].
    videos: videos with `first` and `num_frames`.
    mean_images: float [S, H, W] in [0, 1].
    mean_image_ids: int [V], the index of each video's mean image.
    target_rms: root mean square that frames are normalised to; 0 if they are not.
    on_frame: called after each frame.

  Returns:
    Name of the baseline -> float64 [N].
  """
  errors = {name: np.zeros(len(frames)) for name in BASELINES}
  if target_rms:
    errors[NORMALISED] = np.zeros(len(frames))
  for video, mean_image_id in zip(videos, mean_image_ids, strict=True):
    end = video.first + video.num_frames
    in_video = slice(video.first, end)
    mean_image = mean_images[mean_image_id]
    of_video = {name: values[in_video] for name, values in errors.items()}
    for _ in _score_frames(frames[in_video], mean_image, target_rms, of_video):
      on_frame()
  return errors


def _score_frames(
  frames: np.ndarray, mean_image: np.ndarray, target_rms: float, errors: dict[str, np.ndarray]
) -> Iterator[None]:
  """Write the errors of one video into `errors`, frame by frame.

  Each array of `errors` is float64 [n].
  """
  previous = {}
  for index, frame in enumerate(frames):
    pixels = frame / np.float32(255)
    centred = pixels - mean_image
    energy = _mean_square(centred)
    errors['mean_image_distance'][index] = energy
    images = {'frame_difference': centred}
    if target_rms:
      gain = np.sqrt(squared_gain(energy, target_rms))
      images[NORMALISED] = centred * np.float32(gain)
    for name, image in images.items():
      if index > 0:
        errors[name][index] = _mean_square(image - previous[name])
      if index == 1:
        errors[name][0] = errors[name][1]
    previous = images
    yield


def _mean_square(image: np.ndarray) -> float:
  return np.square(image).mean(dtype=np.float64)
