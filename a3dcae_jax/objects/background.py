"""The background of a scene: fitted, aligned to a camera, subtracted.

Between two videos of a scene the camera turns a little and its exposure changes. So a background is
aligned to a video by an affine map, and every frame is compared with it up to gain, offset and a
remaining movement of about a pixel.
"""

from typing import NamedTuple

import numpy as np
from scipy import fft, ndimage

NO_MOVEMENT = np.asarray([[0, 1, 0], [0, 0, 1]], np.float32)
BRIGHTNESS_STEP = 16
_MAX_SHIFT_PX = 16
_EDGE_TOLERANCE_PX = 0.3  # movement that the fit may have missed
_MIN_NOISE = 1.5  # grey levels
_BAND_CYCLES = 0.12  # per pixel: finer structure is noise to the registration
_FIT_STEP = 4
_FIT_ROUNDS = 4
_MAD_TO_DEVIATION = 1.4826  # from the median of absolute values, for normal noise
_TRIM = 2.5  # pixels farther than so many medians belong to objects
_RIDGE = 1e-3
_ALIGN_ROUNDS = 4
_LIGHT_TERMS = 5
_LOCAL_NOISE_PX = 5  # side of the squares over which the noise of pixels is averaged


class Noise(NamedTuple):
  """Deviation of frames without objects, in grey levels.

  Attributes:
    by_brightness: float32 [16], at each brightness of the background.
    by_pixel: float32 [H, W], of each pixel: leaves in the wind differ more than a wall.
  """

  by_brightness: np.ndarray
  by_pixel: np.ndarray


class Background(NamedTuple):
  """A background as one camera sees it.

  Attributes:
    image: float32 [H, W], blurred, in grey levels.
    noise: float32 [H, W], deviation of a frame without objects; infinite where nothing is known.
    terms: float32 [11, H, W], what may differ: five terms of light, six of an affine movement.
    sampled: float32 [S, 11], the terms at every few pixels.
  """

  image: np.ndarray
  noise: np.ndarray
  terms: np.ndarray
  sampled: np.ndarray


def blur(frame: np.ndarray) -> np.ndarray:
  """Return a frame [H, W] blurred by a binomial filter of variance 1, as float32."""
  padded = np.pad(np.asarray(frame, np.float32), 2, mode='edge')
  rows = padded[:-4] + padded[4:] + 4 * (padded[1:-3] + padded[3:-1]) + 6 * padded[2:-2]
  both = rows[:, :-4] + rows[:, 4:] + 4 * (rows[:, 1:-3] + rows[:, 3:-1]) + 6 * rows[:, 2:-2]
  return both / 256


def fit_image(frames: np.ndarray) -> np.ndarray:
  """Return the blurred median of frames of one scene, float32 [H, W].

  Args:
    frames: uint8 [N, H, W], spread over the videos, so that objects are elsewhere in most of them.
  """
  return blur(np.median(frames, axis=0))


def fit_noise(frames: np.ndarray, image: np.ndarray) -> Noise:
  """Fit the noise of a scene.

  Both kinds are medians: over the pixels of a brightness, and over the frames at a pixel. Most
  pixels show no object, and most frames show none at a pixel.

  Args:
    frames: uint8 [N, H, W] of the scene.
    image: float32 [H, W], its background.
  """
  background = make_background(image, no_noise(image.shape))
  far = np.stack([np.abs(difference(blur(frame), background)) for frame in frames])
  by_pixel = _MAD_TO_DEVIATION * np.median(far, axis=0)
  slope = _slope(image)
  flat = slope <= np.median(slope)
  brightness = np.clip(image[flat] / BRIGHTNESS_STEP, 0, 15.99).astype(int)
  values = far[:, flat]
  steps = np.flatnonzero(np.bincount(brightness, minlength=16) >= 50)
  medians = [_MAD_TO_DEVIATION * np.median(values[:, brightness == step]) for step in steps]
  return Noise(
    np.maximum(np.interp(np.arange(16), steps, medians), _MIN_NOISE).astype(np.float32),
    ndimage.uniform_filter(by_pixel, _LOCAL_NOISE_PX).astype(np.float32),
  )


def no_noise(shape: tuple[int, int]) -> Noise:
  """Return no noise for frames of a shape."""
  return Noise(np.zeros(256 // BRIGHTNESS_STEP, np.float32), np.zeros(shape, np.float32))


def make_background(
  image: np.ndarray, noise: Noise, movement: np.ndarray = NO_MOVEMENT
) -> Background:
  """Return a background as a camera sees it.

  Args:
    image: float32 [H, W], blurred.
    noise: of the scene.
    movement: float32 [2, 3] of the camera, see `align`.
  """
  moved = _warped(image, movement)
  levels = np.interp(moved, BRIGHTNESS_STEP * (np.arange(16) + 0.5), noise.by_brightness)
  deviation = np.hypot(levels, _EDGE_TOLERANCE_PX * _slope(moved))
  deviation = np.maximum(deviation, _warped(noise.by_pixel, movement)).astype(np.float32)
  deviation[_outside(image.shape, movement)] = np.inf
  terms = _terms(moved)
  sampled = np.ascontiguousarray(_sample(terms).reshape(len(terms), -1).T)
  return Background(moved, deviation, terms, sampled)


def difference(frame: np.ndarray, background: Background) -> np.ndarray:
  """Return a frame minus the background, fitted in light and small movement.

  Args:
    frame: float32 [H, W], blurred.
    background: as the camera sees it.

  Returns:
    float32 [H, W], in grey levels.
  """
  rest = frame - background.image
  weights = _fit(background.sampled, _sample(rest).ravel())
  return rest - np.tensordot(weights, background.terms, 1)


def spread(values: np.ndarray) -> float:
  """Return the median of the absolute values, which a few objects do not change."""
  return float(np.median(np.abs(_sample(values))))


def unlike(frame: np.ndarray, image: np.ndarray) -> float:
  """Return the share of a background's contrast that a frame lacks, 0 to 1.

  Args:
    frame: float32 [H, W], blurred.
    image: float32 [H, W], a background aligned to it.
  """
  fine = image - ndimage.uniform_filter(image, 15)
  rest = frame - image
  rest = rest - ndimage.uniform_filter(rest, 15)
  return spread(rest) / max(spread(fine), 1e-6)


def align(image: np.ndarray, frame: np.ndarray) -> np.ndarray:
  """Return the movement of the camera between a background and a frame.

  The shift comes from phase correlation, an affine map from least squares after it.

  Args:
    image: float32 [H, W], blurred background.
    frame: float32 [H, W], blurred frame.

  Returns:
    float32 [2, 3]: rows of (offset, row, column). A pixel of the frame times this is where the
    background shows the same. No movement if nothing better is found.
  """
  quiet = no_noise(image.shape)
  best = NO_MOVEMENT
  least = spread(difference(frame, make_background(image, quiet)))
  shift = _shift(frame, image)
  for start in (NO_MOVEMENT, NO_MOVEMENT - np.asarray([[shift[0], 0, 0], [shift[1], 0, 0]])):
    movement = start.astype(np.float32)
    for _ in range(_ALIGN_ROUNDS):
      seen = make_background(image, quiet, movement)
      rest = _sample(frame - seen.image).ravel()
      weights = _fit(seen.sampled, rest)
      left = float(np.median(np.abs(rest - seen.sampled @ weights)))
      if left < 0.98 * least:
        best, least = movement, left
      movement = _moved_further(movement, weights, image.shape)
  return best


def _terms(image: np.ndarray) -> np.ndarray:
  """Return the terms in which a frame may differ from its background.

  Light: offset, slope over rows and columns, gain, curvature of the gain. Movement along rows, then
  along columns: of the whole frame, growing by row, growing by column.
  """
  height, width = image.shape
  rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
  columns = np.linspace(-1, 1, width, dtype=np.float32)[None]
  one = np.ones_like(image)
  bright = (image - image.mean()) / 64
  terms = [one, one * rows, one * columns, bright, bright**2]
  for slope in np.gradient(image):
    terms += [slope, slope * rows, slope * columns]
  return np.stack(terms)


def _fit(terms: np.ndarray, rest: np.ndarray) -> np.ndarray:
  """Return the weights of the terms, fitted to the pixels without objects."""
  weights = np.zeros(terms.shape[1], np.float32)
  weights[0] = np.median(rest)
  for _ in range(_FIT_ROUNDS):
    far = np.abs(rest - terms @ weights)
    near = far <= _TRIM * np.median(far) + 1e-3
    chosen = terms[near]
    ridge = _RIDGE * len(chosen) * np.eye(len(weights), dtype=np.float32)
    weights = np.linalg.solve(chosen.T @ chosen + ridge, chosen.T @ rest[near])
  return weights


def _moved_further(movement: np.ndarray, weights: np.ndarray, shape: tuple) -> np.ndarray:
  """Return a movement after the one whose weights were fitted."""
  height, width = (size - 1 for size in shape)
  step = np.zeros((2, 3))
  for axis, (whole, by_row, by_column) in enumerate(weights[_LIGHT_TERMS:].reshape(2, 3)):
    step[axis] = whole - by_row - by_column, 2 * by_row / height, 2 * by_column / width
  linear = movement[:, 1:] @ (np.eye(2) + step[:, 1:])
  offset = movement[:, 0] + movement[:, 1:] @ step[:, 0]
  return np.column_stack([offset, linear]).astype(np.float32)


def _warped(image: np.ndarray, movement: np.ndarray) -> np.ndarray:
  if np.array_equal(movement, NO_MOVEMENT):
    return image
  return ndimage.affine_transform(
    image, movement[:, 1:], movement[:, 0], order=1, mode='nearest', output=np.float32
  )


def _outside(shape: tuple, movement: np.ndarray) -> np.ndarray:
  """Return the pixels that the background does not show."""
  rows, columns = np.ogrid[: shape[0], : shape[1]]
  outside = np.zeros(shape, bool)
  for (offset, by_row, by_column), size in zip(movement, shape, strict=True):
    place = offset + by_row * rows + by_column * columns
    outside |= (place < -0.5) | (place > size - 0.5)
  return outside


def _shift(frame: np.ndarray, image: np.ndarray) -> tuple[int, int]:
  """Return by how many rows and columns a frame is shifted against a background."""
  peaks = fft.irfft2(_whitened(frame) * np.conj(_whitened(image)), frame.shape)
  reach = [min(_MAX_SHIFT_PX, (size - 1) // 4) for size in frame.shape]
  rows, columns = (np.arange(-far, far + 1) for far in reach)
  near = peaks[np.ix_(rows, columns)]
  row, column = np.unravel_index(np.argmax(near), near.shape)
  return int(rows[row]), int(columns[column])


def _whitened(image: np.ndarray) -> np.ndarray:
  height, width = image.shape
  window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
  spectrum = fft.rfft2((image - image.mean()) * window)
  radius2 = fft.fftfreq(height)[:, None] ** 2 + fft.rfftfreq(width)[None] ** 2
  return spectrum / (np.abs(spectrum) + 1e-3) * np.exp(-radius2 / (2 * _BAND_CYCLES**2))


def _sample(values: np.ndarray) -> np.ndarray:
  return values[..., 2::_FIT_STEP, 2::_FIT_STEP]


def _slope(image: np.ndarray) -> np.ndarray:
  return np.hypot(*np.gradient(image))
