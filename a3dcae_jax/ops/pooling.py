"""Max-pooling that records where each maximum stood, and un-pooling that puts values back there.

Places are window-local: `places[...] = (i * ph + j) * pw + k` for the maximum at offset (i, j, k) of its window, one
byte each. A flat index into the whole volume, as other libraries record it, takes four and needs a global scatter;
with local places both directions are a select inside the window: un-pooling spreads each value over its window and
keeps it at one place, its gradient gathers from that place. Pool and un-pool are each other's transpose.
"""

import functools
import math

import jax
import jax.numpy as jnp

from a3dcae_jax.ops.lowering import laid_out
from a3dcae_jax.ops.shapes import check_divisible, check_rank


def max_pool3d_argmax(x, window):
  """Maximum over disjoint windows, and where in its window each maximum stood.

      values[b, t, h, w, c] = max over (i, j, k) of x[b, t*pt + i, h*ph + j, w*pw + k, c]

  Args:
    x: [B, T, H, W, C] floating; T, H, W divisible by the window.
    window: static (pt, ph, pw), at most 256 places.

  Returns:
    (values [B, T/pt, H/ph, W/pw, C], dtype of `x`; places, same shape, uint8). Among equal maxima the first in
    row-major order of the window wins, as in PyTorch; a NaN wins over every number.

  Gradient: that of the values goes to the recorded places; `places` has none.
  Raises: ValueError naming the axis whose size does not divide.
  """
  check_rank('max_pool3d_argmax: x', x, 'BTHWC')
  check_divisible('max_pool3d_argmax', x, window)
  if math.prod(window) > 256:
    raise ValueError(f'max_pool3d_argmax: window {tuple(window)} has {math.prod(window)} places, a byte holds 256')
  return _pool(x, tuple(window))


def max_unpool3d(values, places, window):
  """Puts each pooled value back at the recorded place of its window; zero elsewhere.

      y[b, t*pt + i, h*ph + j, w*pw + k, c] = values[b, t, h, w, c] if places[b, t, h, w, c] = (i*ph + j)*pw + k else 0

  Args:
    values: [B, T, H, W, C] floating.
    places: [B, T, H, W, C] uint8, from `max_pool3d_argmax`; all zeros puts the value at the upper left.
    window: static (pt, ph, pw).

  Returns:
    [B, T*pt, H*ph, W*pw, C], dtype of `values`.

  Gradient: the cotangent gathered at `places`.
  Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 2.1; Sun et al. 2021, sec. III-B.
  Raises: ValueError naming both shapes if they differ.
  """
  check_rank('max_unpool3d: values', values, 'BTHWC')
  if values.shape != places.shape:
    raise ValueError(f'max_unpool3d: values {values.shape} and places {places.shape} must have the same shape')
  return _unpool(values, places, tuple(window))


def gather_places(x, places, window):
  """Reads from each window of `x` the value at its recorded place: the transpose of `max_unpool3d`.

  Args:
    x: [B, T*pt, H*ph, W*pw, C]. places: [B, T, H, W, C] uint8. window: static (pt, ph, pw).

  Returns:
    [B, T, H, W, C], dtype of `x`.
  """
  zero = jnp.zeros((), x.dtype)
  return sum(jnp.where(places == place, phase, zero) for place, phase in enumerate(window_phases(x, window)))


def window_phases(x, window):
  """The prod(window) strided views of `x [B, T, H, W, C]`, in row-major order of the window, each [B, T/pt, H/ph, W/pw, C]."""
  step_t, step_h, step_w = window
  return [x[:, i::step_t, j::step_h, k::step_w] for i in range(step_t) for j in range(step_h) for k in range(step_w)]


def running_argmax(phases):
  """(maximum, uint8 index of the first phase that has it) over a list of equal-shaped arrays."""
  best, places = phases[0], jnp.zeros(phases[0].shape, jnp.uint8)
  for index, phase in enumerate(phases[1:], start=1):
    better = (phase > best) | (jnp.isnan(phase) & ~jnp.isnan(best))
    best = jnp.where(better, phase, best)
    places = jnp.where(better, jnp.uint8(index), places)
  return best, places


def _spread(values, places, window):
  """One fused select: every value is broadcast over its window and kept where the window's index equals its place."""
  batch, frames, height, width, channels = values.shape
  step_t, step_h, step_w = window
  index = jnp.arange(math.prod(window), dtype=jnp.uint8).reshape(1, 1, step_t, 1, step_h, 1, step_w, 1)
  axes = (2, 4, 6)
  spread = jnp.where(jnp.expand_dims(places, axes) == index, jnp.expand_dims(values, axes), jnp.zeros((), values.dtype))
  return spread.reshape(batch, frames * step_t, height * step_h, width * step_w, channels)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _pool(x, window):
  return laid_out(running_argmax(window_phases(x, window)))


def _pool_fwd(x, window):
  values, places = _pool(x, window)
  return (values, places), places


def _pool_bwd(window, places, cotangents):
  return (_spread(cotangents[0], places, window),)


_pool.defvjp(_pool_fwd, _pool_bwd)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _unpool(values, places, window):
  return _spread(values, places, window)


def _unpool_fwd(values, places, window):
  return _spread(values, places, window), places


def _unpool_bwd(window, places, cotangent):
  return gather_places(cotangent, places, window), None


_unpool.defvjp(_unpool_fwd, _unpool_bwd)
