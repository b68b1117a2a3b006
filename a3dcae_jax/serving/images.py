"""Frames of any size and colour, made grey and resized as training frames were.

The arithmetic is that of Pillow, which a bundle does not import. Rows are resized before columns.
Recent versions of Pillow begin with columns where that is cheaper. Grey levels then differ by 1 at
most.
"""

import functools
import math
from typing import Any

import numpy as np

from a3dcae_jax.common.errors import UserError

_LUMA = np.uint32([19595, 38470, 7471])  # of red, green and blue: ITU-R 601 in 16 bits
_BITS = 22  # of the fraction of a weight


def prepared(frame: Any, height: int, width: int) -> np.ndarray:
  """Return a frame as a bundle takes it, uint8 [height, width].

  A frame of this size that is grey is returned as it is.

  Args:
    frame: uint8 [H, W], or [H, W, 3] in the order red, green, blue.
    height: of the result.
    width: of the result.

  Raises:
    UserError: for another shape or type.
  """
  if not _is_image(frame):
    what = f'{frame.dtype} {list(frame.shape)}' if hasattr(frame, 'dtype') else type(frame).__name__
    raise UserError(f'a frame is {what}; it must be a NumPy array uint8 [H, W] or [H, W, 3]')
  if frame.ndim == 3:
    frame = grey(frame)
  return resized(frame, height, width)


def grey(frame: np.ndarray) -> np.ndarray:
  """Return the luma of a frame in colour: uint8 [H, W, 3] -> [H, W]."""
  sums = frame.astype(np.uint32) @ _LUMA
  return ((sums + 2**15) >> 16).astype(np.uint8)


def grey_levels(image: np.ndarray) -> np.ndarray:
  """Return an image in [0, 1], such as a mean image, as uint8."""
  return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def resized(frame: np.ndarray, height: int, width: int) -> np.ndarray:
  """Resize a frame, uint8 [H, W], with an antialiased bilinear filter."""
  if frame.shape[1] != width:
    frame = _resized_rows(frame.T, width).T
  if frame.shape[0] != height:
    frame = _resized_rows(frame, height)
  return np.ascontiguousarray(frame)


def _is_image(frame):
  if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or not frame.size:
    return False
  return frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3)


def _resized_rows(frame, size):
  """Return a frame with another number of rows, each the weighted sum of some rows."""
  rows, weights = _filter(frame.shape[0], size)
  sums = np.full((size, frame.shape[1]), 2 ** (_BITS - 1), np.int32)
  for column in range(rows.shape[1]):
    sums += frame[rows[:, column]] * weights[:, column, None]
  return np.clip(sums >> _BITS, 0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=16)
def _filter(length, size):
  """Return the source rows of each new row, and their weights: int32 [size, K]."""
  scale = length / size
  reach = max(scale, 1.0)
  count = math.ceil(reach) * 2 + 1
  rows = np.zeros((size, count), np.int32)
  weights = np.zeros((size, count), np.int32)
  for index in range(size):
    centre = (index + 0.5) * scale
    low = max(int(centre - reach + 0.5), 0)
    high = min(int(centre + reach + 0.5), length)
    own = np.arange(low, high)
    triangle = np.maximum(1 - np.abs((own - centre + 0.5) * (1 / reach)), 0)
    rows[index, : len(own)] = own
    weights[index, : len(own)] = (triangle / triangle.sum() * 2**_BITS + 0.5).astype(np.int32)
  return rows, weights
