"""Frames resized to the input of a detector, in its upper left corner.

The resizing is Pillow's bilinear one, in the same integers: columns first, rounded to grey levels,
then rows. Where a frame shrinks, the filter widens with it. Weights are multiples of 2^-22.

Source: Pillow 12, src/libImaging/Resample.c.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

PADDING = 114
"""Grey level beside the frame."""

_BITS = 22


def fitted_size(height: int, width: int, size: tuple[int, int]) -> tuple[int, int, float]:
  """Return height and width of a frame fitted into a size, and their ratio.

  Args:
    height: of the frame.
    width: of the frame.
    size: height and width of the input.
  """
  ratio = min(size[0] / height, size[1] / width)
  return max(1, round(height * ratio)), max(1, round(width * ratio)), ratio


def letterbox(frames: jax.Array, size: tuple[int, int]) -> jax.Array:
  """Resize frames to fit into a size, and fill the rest with `PADDING`.

  Args:
    frames: uint8 [B, H, W].
    size: height and width of the result.

  Returns:
    float32 [B, *size], whole grey levels.
  """
  height, width, _ = fitted_size(*frames.shape[1:], size)
  resized = _resampled(_resampled(frames, width, 2), height, 1)
  margins = [(0, 0), (0, size[0] - height), (0, size[1] - width)]
  return jnp.pad(resized.astype(jnp.float32), margins, constant_values=PADDING)


def _resampled(levels: jax.Array, length: int, axis: int) -> jax.Array:
  """Resize one axis of whole grey levels."""
  before = levels.shape[axis]
  if before == length:
    return levels
  first, weights = bilinear_weights(before, length)
  total = 2 ** (_BITS - 1)
  for tap, weight in enumerate(weights):
    pixels = np.minimum(first + tap, before - 1)
    along = [1] * levels.ndim
    along[axis] = length
    taken = jnp.take(levels, pixels, axis=axis).astype(jnp.int32)
    total += taken * weight.reshape(along)
  return total >> _BITS


def bilinear_weights(before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
  """Return the first pixel of each new pixel, and Pillow's weights from there on.

  The weights of a new pixel add up to about 2^22.

  Args:
    before: length of the axis.
    after: its new length.

  Returns:
    int32 [after] and int32 [taps, after].
  """
  scale = before / after
  support = max(scale, 1.0)
  firsts = np.zeros(after, np.int32)
  weights = np.zeros((2 * math.ceil(support) + 1, after), np.int32)
  for place in range(after):
    centre = (place + 0.5) * scale
    first = max(int(centre - support + 0.5), 0)
    end = min(int(centre + support + 0.5), before)
    own = [max(1 - abs((pixel - centre + 0.5) / support), 0) for pixel in range(first, end)]
    total = sum(own)
    firsts[place] = first
    weights[: end - first, place] = [int(0.5 + weight / total * 2**_BITS) for weight in own]
  return firsts, weights
