"""Pooling, un-pooling and their transposes as XLA computes them: selects over strided views, no scatter.

`ops.pooling` says what each computes. `ops.pooling_pallas` has the same three for TPUs.
"""

import math

import jax.numpy as jnp

from a3dcae_jax.ops.conv_algorithm import laid_out
from a3dcae_jax.ops.shapes import sliced

_F32 = jnp.float32


def pool(x, window, dtype, *, sums=False):
  """(values in `dtype`, places[, sum [C], sum of squares [C] of `x` in float32]) of x [B, T, H, W, C]."""
  values, places = running_argmax(window_phases(x, window))
  values, places = laid_out((values.astype(dtype), places))
  if not sums:
    return values, places
  axes = (0, 1, 2, 3)
  return values, places, x.sum(axes, dtype=_F32), jnp.square(x.astype(_F32)).sum(axes)


def spread(values, places, window, *, affine=None):
  """Un-pooled map [B, T*pt, H*ph, W*pw, C]. affine: (y, a, b) adds a + b y, for y of that shape and a, b [C].

  One fused select: every value is broadcast over its window and kept where the window's index equals its place.
  """
  batch, frames, height, width, channels = values.shape
  step_t, step_h, step_w = window
  index = jnp.arange(math.prod(window), dtype=jnp.uint8).reshape(
    1, 1, step_t, 1, step_h, 1, step_w, 1
  )
  axes = (2, 4, 6)
  spread_out = jnp.where(
    jnp.expand_dims(places, axes) == index,
    jnp.expand_dims(values, axes),
    jnp.zeros((), values.dtype),
  )
  result = spread_out.reshape(batch, frames * step_t, height * step_h, width * step_w, channels)
  if affine:
    y, offset, slope = affine
    result = (result.astype(_F32) + offset + slope * y.astype(_F32)).astype(values.dtype)
  return result


def gather(x, places, window):
  """Values [B, T, H, W, C] of x [B, T*pt, H*ph, W*pw, C] at their places."""
  zero = jnp.zeros((), x.dtype)
  return sum(
    jnp.where(places == place, phase, zero) for place, phase in enumerate(window_phases(x, window))
  )


def window_phases(x, window):
  """The prod(window) strided views of `x [B, T, H, W, C]`, in row-major order of the window, each [B, T/pt, H/ph, W/pw, C]."""
  step_t, step_h, step_w = window
  starts = [(i, j, k) for i in range(step_t) for j in range(step_h) for k in range(step_w)]
  return [
    sliced(x, slice(i, None, step_t), slice(j, None, step_h), slice(k, None, step_w))
    for i, j, k in starts
  ]


def running_argmax(phases):
  """(maximum, uint8 index of the first phase that has it) over a list of equal-shaped arrays; a NaN wins over every number."""
  best, places = phases[0], jnp.zeros(phases[0].shape, jnp.uint8)
  for index, phase in enumerate(phases[1:], start=1):
    better = (phase > best) | (jnp.isnan(phase) & ~jnp.isnan(best))
    best = jnp.where(better, phase, best)
    places = jnp.where(better, jnp.uint8(index), places)
  return best, places
