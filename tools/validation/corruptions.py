"""What is not abnormal but differs between days, for validation: made videos are disturbed, and keep their labels.

    light      gain 0.85 to 1.15 and an offset of at most 12 grey levels
    shift      the camera stands 1 or 2 px elsewhere
    noise      Gaussian, 3 grey levels
    bystander  somebody near the camera, in clothes of a contrast of their own, stands there throughout and sways by a pixel at most

A score that is set off by them fails on real test videos, which were shot on other days than the training videos.
"""

import numpy as np
from scipy import ndimage

from tools.validation.movers import find_walker
from tools.validation.sprites import paste

GAIN, OFFSET = (0.85, 1.15), (-12.0, 12.0)  # grey levels
SHIFT_PX = 2
NOISE_STD = 3.0  # grey levels
NEARER, CONTRAST = (
  (1.5, 2.5),
  (1.0, 2.0),
)  # size and contrast of a bystander, times the walker's that it is cut from
BRIGHTNESS = (20.0, 235.0)  # grey level of its mean
SWAY_PX, SWAY_FRAMES = (0.3, 1.0), (20.0, 50.0)  # amplitude and period


def disturbed(frames, mean, how, rng):
  """A copy of a video under a disturbance. Args: frames: uint8 [N, H, W]. mean: mean image [H, W], 0 .. 255. how: of `DISTURBANCES`."""
  return DISTURBANCES[how](frames, mean, rng)


def _light(frames, mean, rng):
  return _to_bytes(frames * rng.uniform(*GAIN) + rng.uniform(*OFFSET))


def _shift(frames, mean, rng):
  down, across = 0, 0
  while not (down or across):
    down, across = rng.integers(-SHIFT_PX, SHIFT_PX + 1, 2)
  padded = np.pad(frames, ((0, 0), (SHIFT_PX, SHIFT_PX), (SHIFT_PX, SHIFT_PX)), mode='edge')
  rows, columns = (
    slice(SHIFT_PX + by, SHIFT_PX + by + size)
    for by, size in zip((down, across), frames.shape[1:], strict=True)
  )
  return padded[:, rows, columns].copy()


def _noise(frames, mean, rng):
  return _to_bytes(frames + NOISE_STD * rng.standard_normal(frames.shape, np.float32))


def _bystander(frames, mean, rng):
  walker, size, (height, width) = (
    find_walker(frames, mean, rng),
    rng.uniform(*NEARER),
    frames.shape[1:],
  )
  opacity = ndimage.zoom(walker.opacity[0], size, order=1)
  pixels = ndimage.zoom(walker.pixels[0] * walker.opacity[0], size, order=1) / np.maximum(
    opacity, 1e-3
  )
  pixels = rng.uniform(*BRIGHTNESS) + (pixels - np.average(pixels, weights=opacity)) * rng.uniform(
    *CONTRAST
  )
  top, left = min(walker.top_left[0], height - len(pixels)), rng.uniform(0, width - pixels.shape[1])
  sway, period, made = rng.uniform(*SWAY_PX), rng.uniform(*SWAY_FRAMES), frames.copy()
  for index, frame in enumerate(made):
    paste(frame, pixels, opacity, top, left + sway * np.sin(2 * np.pi * index / period))
  return made


def _to_bytes(values):
  return np.clip(np.round(values), 0, 255).astype(np.uint8)


DISTURBANCES = {'light': _light, 'shift': _shift, 'noise': _noise, 'bystander': _bystander}
