"""Checks of static shapes, and slices that keep a symbolic batch symbolic."""

from collections.abc import Sequence

import jax
from jax import lax


def check_rank(name: str, array: jax.Array, axes: Sequence[str]) -> None:
  """Check that `array` has the expected number of axes.

  Args:
    name: name of the array for the error message.
    array: the array to check.
    axes: one name per axis, such as 'BTHWC'.

  Raises:
    ValueError: if it has another number of axes.
  """
  if array.ndim != len(axes):
    raise ValueError(f'{name} must be [{", ".join(axes)}], got shape {tuple(array.shape)}')


def check_divisible(name: str, array: jax.Array, window: Sequence[int]) -> None:
  """Check that a pool window divides the size of an array.

  Args:
    name: name of the operation for the error message.
    array: [B, T, H, W, C].
    window: (pt, ph, pw).

  Raises:
    ValueError: naming the axis that the window does not divide.
  """
  sizes = array.shape[1:4]
  for axis, size, step in zip('THW', sizes, window, strict=True):
    if size % step:
      raise ValueError(f'{name}: {axis} (={size}) must be divisible by the pool window (={step})')


def sliced(x: jax.Array, *slices: slice) -> jax.Array:
  """Return `x[:, *slices]`, always as one `lax.slice`.

  With a symbolic first axis, indexing makes a gather instead, which is slow on all platforms.
  """
  starts = [0] * x.ndim
  limits = list(x.shape)
  strides = [1] * x.ndim
  for axis, part in enumerate(slices, start=1):
    start, limit, stride = part.indices(x.shape[axis])
    starts[axis] = start
    limits[axis] = limit
    strides[axis] = stride
  return lax.slice(x, starts, limits, strides)
