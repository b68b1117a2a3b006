"""Pooling, un-pooling and their transposes for XLA: selects over strided views.

There is no scatter. `ops.pooling` explains the functions.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from a3dcae_jax.ops.conv_algorithm import materialise
from a3dcae_jax.ops.shapes import sliced

_F32 = jnp.float32

# (y, offset [C], slope [C]): `unpool` adds offset + slope * y.
Affine = tuple[jax.Array, jax.Array, jax.Array]


def pool(
  x: jax.Array, window: Sequence[int], dtype: DTypeLike, *, sums: bool = False
) -> tuple[jax.Array, ...]:
  """Pool a map, and with `sums` add it up.

  Args:
    x: [B, T, H, W, C].
    window: (pt, ph, pw).
    dtype: data type of the values.
    sums: also return the float32 sum [C] and sum of squares [C] of `x`.

  Returns:
    Values and pool indices [B, T/pt, H/ph, W/pw, C], and with `sums` both sums.
  """
  values, pool_indices = running_argmax(window_phases(x, window))
  values, pool_indices = materialise((values.astype(dtype), pool_indices))
  if not sums:
    return values, pool_indices
  axes = (0, 1, 2, 3)
  total = x.sum(axes, dtype=_F32)
  squares = jnp.square(x.astype(_F32)).sum(axes)
  return values, pool_indices, total, squares


def unpool(
  values: jax.Array,
  pool_indices: jax.Array,
  window: Sequence[int],
  *,
  affine: Affine | None = None,
) -> jax.Array:
  """Un-pool a map: one fused select.

  Every value is copied to all positions of its window and kept at its recorded one.

  Args:
    values: [B, T, H, W, C].
    pool_indices: [B, T, H, W, C].
    window: (pt, ph, pw).
    affine: (y, offset, slope) adds offset + slope * y, with y of the shape of the result.

  Returns:
    [B, T*pt, H*ph, W*pw, C], data type of `values`.
  """
  batch, frames, height, width, channels = values.shape
  step_t, step_h, step_w = window

  # Each window gets axes of its own, after T, H and W.
  axes = (2, 4, 6)
  positions = jnp.arange(math.prod(window), dtype=jnp.uint8)
  positions = positions.reshape(1, 1, step_t, 1, step_h, 1, step_w, 1)
  selected = jnp.where(
    jnp.expand_dims(pool_indices, axes) == positions,
    jnp.expand_dims(values, axes),
    jnp.zeros((), values.dtype),
  )
  result = selected.reshape(
    batch,
    frames * step_t,
    height * step_h,
    width * step_w,
    channels,
  )
  if not affine:
    return result
  y, offset, slope = affine
  result = result.astype(_F32) + offset + slope * y.astype(_F32)
  return result.astype(values.dtype)


def gather(x: jax.Array, pool_indices: jax.Array, window: Sequence[int]) -> jax.Array:
  """Read one value per window at its recorded position.

  Args:
    x: [B, T*pt, H*ph, W*pw, C].
    pool_indices: [B, T, H, W, C].
    window: (pt, ph, pw).

  Returns:
    [B, T, H, W, C], data type of `x`.
  """
  zero = jnp.zeros((), x.dtype)
  total = 0
  for index, phase in enumerate(window_phases(x, window)):
    recorded = pool_indices == index
    total = total + jnp.where(recorded, phase, zero)
  return total


def window_phases(x: jax.Array, window: Sequence[int]) -> list[jax.Array]:
  """Return one strided view of `x` per position in the window, in row-major order.

  Args:
    x: [B, T, H, W, C].
    window: (pt, ph, pw).

  Returns:
    prod(window) arrays [B, T/pt, H/ph, W/pw, C].
  """
  step_t, step_h, step_w = window
  phases = []
  for i, j, k in np.ndindex(*window):
    phase = sliced(
      x,
      slice(i, None, step_t),
      slice(j, None, step_h),
      slice(k, None, step_w),
    )
    phases.append(phase)
  return phases


def running_argmax(phases: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
  """Return the maximum over arrays of one shape, and the uint8 index of its array.

  The first of equal maxima wins, and a NaN wins over every number.
  """
  best = phases[0]
  best_index = jnp.zeros(best.shape, jnp.uint8)
  for index, phase in enumerate(phases[1:], start=1):
    larger = phase > best
    first_nan = jnp.isnan(phase) & ~jnp.isnan(best)
    better = larger | first_nan
    best = jnp.where(better, phase, best)
    best_index = jnp.where(better, jnp.uint8(index), best_index)
  return best, best_index
