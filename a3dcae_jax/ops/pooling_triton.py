"""Un-pooling, and pooling with moments, as GPU kernels: each reads and writes every map once, a row of windows a program.

XLA's un-pooling reaches half of the memory's rate (each value is read for every place of its window), and the moments of a normalisation read a
convolution's output a second time. What XLA fuses well stays with it: gathering, which goes into the activation's gradient, and pooling
without moments, which goes into what follows it.

`ops.pooling` says what each computes. Off GPUs they run interpreted, for tests.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl

from a3dcae_jax.ops import pooling_xla
from a3dcae_jax.ops.triton_backend import available, power_of_two, settings

_F32 = jnp.float32
_BLOCK = 1024  # values a block: eight for each of 128 threads, 16 bytes of bfloat16

gather = pooling_xla.gather


def fits(pooled_shape):
  """Whether Triton takes blocks of a pooled map [B, T, H, W, C]: C a power of two, from 16 on; and whether its 32-bit offsets reach the end."""
  return available and power_of_two(pooled_shape[-1]) and math.prod(pooled_shape) < 2**31


def pool(x, window, dtype, *, sums=False):
  """(values in `dtype`, places[, sum [C], sum of squares [C] of `x` in float32]) of x [B, T, H, W, C]."""
  if not sums:
    return pooling_xla.pool(x, window, dtype)
  batch, frames, height, width, channels = x.shape
  pooled = (batch, frames // window[0], height // window[1], width // window[2], channels)
  values, places, total, squares = _by_rows(
    functools.partial(_pool_kernel, window=window),
    pooled,
    window,
    [(x, 'full')],
    [(dtype, 'pooled'), (jnp.uint8, 'pooled'), (_F32, 'sums'), (_F32, 'sums')],
  )
  return values, places, total.sum((0, 1)), squares.sum((0, 1))


def spread(values, places, window, *, affine=None):
  """Un-pooled map [B, T*pt, H*ph, W*pw, C]. affine: (y, a, b) adds a + b y, for y of that shape and a, b [C]."""
  arrays = [(values, 'pooled'), (places, 'pooled')]
  if affine:
    y, offset, slope = affine
    arrays += [(y, 'full'), (offset.reshape(1, -1), 'channels'), (slope.reshape(1, -1), 'channels')]
  (result,) = _by_rows(
    functools.partial(_spread_kernel, window=window),
    values.shape,
    window,
    arrays,
    [(values.dtype, 'full')],
  )
  return result


def _pool_kernel(x_ref, values_ref, places_ref, total_ref, squares_ref, *, window):
  block, channels = _block_of(values_ref)

  def add(index, totals):
    at, best, places = pl.ds(index * block, block), None, None
    total, squares = totals
    for place, phase_at in enumerate(np.ndindex(*window)):
      phase = x_ref[_phase(phase_at, at, channels)].astype(_F32)
      total, squares = total + phase, squares + phase * phase
      if best is None:
        best, places = phase, jnp.zeros(phase.shape, jnp.int32)
      else:
        better = (phase > best) | (
          (phase != phase) & (best == best)
        )  # a NaN wins over every number
        best, places = jnp.where(better, phase, best), jnp.where(better, place, places)
    values_ref[0, 0, at, :] = best.astype(values_ref.dtype)
    places_ref[0, 0, at, :] = places.astype(jnp.uint8)
    return total, squares

  zeros = (jnp.zeros((block, channels), _F32),) * 2
  total, squares = lax.fori_loop(0, values_ref.shape[2] // block, add, zeros)
  total_ref[0, 0, :], squares_ref[0, 0, :] = total.sum(0), squares.sum(0)


def _spread_kernel(values_ref, places_ref, *rest, window):
  *affine, out_ref = rest
  block, channels = _block_of(values_ref)

  def write(index, carry):
    at = pl.ds(index * block, block)
    values, places = values_ref[0, 0, at, :], places_ref[0, 0, at, :].astype(jnp.int32)
    for place, phase_at in enumerate(np.ndindex(*window)):
      phase, where = (
        jnp.where(places == place, values, jnp.zeros((), values.dtype)),
        _phase(phase_at, at, channels),
      )
      if affine:
        y_ref, offset_ref, slope_ref = affine
        phase = phase.astype(_F32) + offset_ref[...] + slope_ref[...] * y_ref[where].astype(_F32)
      out_ref[where] = phase.astype(out_ref.dtype)
    return carry

  lax.fori_loop(0, values_ref.shape[2] // block, write, 0)


def _block_of(values_ref):
  """(windows, channels) of a block: as many windows as divide the row and make it `_BLOCK` values, a power of two."""
  width, channels = values_ref.shape[2:]
  return math.gcd(width, max(1, _BLOCK // channels)), channels


def _phase(phase_at, at, channels):
  """Index of one place of the windows `at` in a block [1, pt, 1, ph, W, pw * C]."""
  i, j, k = phase_at
  return 0, i, 0, j, at, pl.ds(k * channels, channels)


def _by_rows(kernel, pooled, window, arrays, outputs):
  """Runs `kernel` for every row of windows. pooled: [B, T, H, W, C]. arrays: (array, kind); outputs: (dtype, kind).

  Kind 'full' is seen as [B * T, pt, H, ph, W, pw * C], where a place of all windows of a row is a block; 'pooled' as [B * T, H, W, C];
  'channels' is [1, C], 'sums' [B * T, H, C], a row's own.
  """
  batch, frames, height, width, channels = pooled
  images = batch * frames
  full = (images, window[0], height, window[1], width, window[2] * channels)
  shapes = {
    'full': full,
    'pooled': (images, height, width, channels),
    'channels': (1, channels),
    'sums': (images, height, channels),
  }
  specs = {
    'full': pl.BlockSpec((1, window[0], 1, window[1], *full[4:]), lambda n, h: (n, 0, h, 0, 0, 0)),
    'pooled': pl.BlockSpec((1, 1, width, channels), lambda n, h: (n, h, 0, 0)),
    'channels': pl.BlockSpec((1, channels), lambda n, h: (0, 0)),
    'sums': pl.BlockSpec((1, 1, channels), lambda n, h: (n, h, 0)),
  }
  results = pl.pallas_call(
    kernel,
    grid=(images, height),
    out_shape=[jax.ShapeDtypeStruct(shapes[kind], dtype) for dtype, kind in outputs],
    in_specs=[specs[kind] for _, kind in arrays],
    out_specs=[specs[kind] for _, kind in outputs],
    **settings(),
  )(*(x.reshape(shapes[kind]) for x, kind in arrays))
  whole = {
    'full': (batch, frames * window[0], height * window[1], width * window[2], channels),
    'pooled': pooled,
  }
  return [
    result.reshape(whole.get(kind, result.shape))
    for result, (_, kind) in zip(results, outputs, strict=True)
  ]
