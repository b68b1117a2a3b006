"""Corruptions: changes between days that are not abnormal.

    light      gain of 0.85 to 1.15 and an offset of at most 12 grey levels
    shift      the camera is moved by 1 or 2 pixels
    noise      Gaussian noise with a standard deviation of 3 grey levels
    bystander  a person near the camera, with another contrast, stands there throughout and
               sways by at most a pixel

Videos of the validation set are corrupted and keep their labels. A score that reacts to a
corruption fails on real test videos, which were recorded on other days than the training videos.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from tools.validation.movers import find_walker
from tools.validation.sprites import paste

GAIN = (0.85, 1.15)
OFFSET = (-12.0, 12.0)  # grey levels
SHIFT_PX = 2
NOISE_STD = 3.0  # grey levels
# A bystander is cut from a walker.
BYSTANDER_SCALE = (1.5, 2.5)  # size, relative to the walker
BYSTANDER_CONTRAST = (1.0, 2.0)  # contrast, relative to the walker
BYSTANDER_BRIGHTNESS = (20.0, 235.0)  # mean grey level
SWAY_PX = (0.3, 1.0)  # amplitude
SWAY_FRAMES = (20.0, 50.0)  # period


def corrupted(
  frames: np.ndarray, mean: np.ndarray, corruption: str, rng: np.random.Generator
) -> np.ndarray:
  """Return a corrupted copy of a video.

  Args:
    frames: uint8 [N, H, W].
    mean: the mean image, float [H, W], in grey levels.
    corruption: a name in `CORRUPTIONS`.
    rng: random numbers.
  """
  return CORRUPTIONS[corruption](frames, mean, rng)


def _light(frames: np.ndarray, mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  gain = rng.uniform(*GAIN)
  offset = rng.uniform(*OFFSET)
  return _to_bytes(frames * gain + offset)


def _shift(frames: np.ndarray, mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  down = 0
  right = 0
  while not (down or right):
    down, right = rng.integers(-SHIFT_PX, SHIFT_PX + 1, 2)

  _, height, width = frames.shape
  margin = (SHIFT_PX, SHIFT_PX)
  padded = np.pad(frames, ((0, 0), margin, margin), mode='edge')
  top = SHIFT_PX + down
  left = SHIFT_PX + right
  return padded[:, top : top + height, left : left + width].copy()


def _noise(frames: np.ndarray, mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  noise = NOISE_STD * rng.standard_normal(frames.shape, np.float32)
  return _to_bytes(frames + noise)


def _bystander(frames: np.ndarray, mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  walker = find_walker(frames, mean, rng)
  scale = rng.uniform(*BYSTANDER_SCALE)
  opacity = ndimage.zoom(walker.opacity[0], scale, order=1)
  weighted = ndimage.zoom(walker.pixels[0] * walker.opacity[0], scale, order=1)
  pixels = weighted / np.maximum(opacity, 1e-3)

  mean_level = np.average(pixels, weights=opacity)
  brightness = rng.uniform(*BYSTANDER_BRIGHTNESS)
  contrast = rng.uniform(*BYSTANDER_CONTRAST)
  pixels = brightness + (pixels - mean_level) * contrast

  _, height, width = frames.shape
  top = min(walker.top, height - len(pixels))
  left = rng.uniform(0, width - pixels.shape[1])
  sway = rng.uniform(*SWAY_PX)
  period = rng.uniform(*SWAY_FRAMES)

  copy = frames.copy()
  for index, frame in enumerate(copy):
    angle = 2 * np.pi * index / period
    paste(frame, pixels, opacity, top, left + sway * np.sin(angle))
  return copy


def _to_bytes(values: np.ndarray) -> np.ndarray:
  return np.clip(np.round(values), 0, 255).astype(np.uint8)


CORRUPTIONS: dict[str, Callable] = {
  'light': _light,
  'shift': _shift,
  'noise': _noise,
  'bystander': _bystander,
}
