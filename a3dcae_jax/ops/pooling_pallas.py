"""Pooling, un-pooling and their transposes as TPU kernels: each reads and writes every map once.

XLA writes the broadcasts of an un-pooling to memory, and reads a convolution's output once for the statistics of its normalisation and
once for its maxima. Here maps are laid out [T, H, W, B, C], as XLA lays them out for its convolutions: a (B, C) plane is what fits
the chip's registers, so the phases of a window are whole planes and nothing is shuffled inside one.

`ops.pooling` says what each computes. Off TPUs they run interpreted, for tests.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

from a3dcae_jax.ops import tpu_memory
from a3dcae_jax.ops.conv_algorithm import target_platform
from a3dcae_jax.ops.tpu_memory import LANES, SUBLANES, filled

_F32 = jnp.float32
_COMPUTED = 14  # float32 values a window beside its maps: what the compiler asked for where a row did not fit (16.01 MiB at 17 clips)


def pool(x, window, dtype, *, sums=False):
  """(values in `dtype`, places[, sum [C], sum of squares [C] of `x` in float32]) of x [B, T, H, W, C]."""
  batch, frames, height, width, channels = x.shape
  out = (frames // window[0], height // window[1], width // window[2], batch, channels)
  planes = ((batch, channels), _F32)
  results = _call(
    functools.partial(_pool_kernel, window=window),
    out,
    window,
    [(x, 'full')],
    [(dtype, 'pooled'), (jnp.uint8, 'pooled'), *([planes] * 2 if sums else [])],
  )
  values, places, *totals = results
  return (_batch_first(values), _batch_first(places), *(total.sum(0) for total in totals))


def spread(values, places, window, *, affine=None):
  """Un-pooled map [B, T*pt, H*ph, W*pw, C]. affine: (y, a, b) adds a + b y, for y of that shape and a, b [C]."""
  batch, frames, height, width, channels = values.shape
  arrays = [(values, 'pooled'), (places, 'pooled')]
  if affine:
    y, offset, slope = affine
    arrays += [(y, 'full'), (offset.reshape(1, -1), None), (slope.reshape(1, -1), None)]
  (result,) = _call(
    functools.partial(_spread_kernel, window=window),
    (frames, height, width, batch, channels),
    window,
    arrays,
    [(values.dtype, 'full')],
  )
  return _batch_first(result)


def gather(x, places, window):
  """Values [B, T, H, W, C] of x [B, T*pt, H*ph, W*pw, C] at their places."""
  batch, frames, height, width, channels = places.shape
  (result,) = _call(
    functools.partial(_gather_kernel, window=window),
    (frames, height, width, batch, channels),
    window,
    [(x, 'full'), (places, 'pooled')],
    [(x.dtype, 'pooled')],
  )
  return _batch_first(result)


def _pool_kernel(x_ref, values_ref, places_ref, *total_refs, window):
  best = places = total = squares = None
  for index, at in enumerate(np.ndindex(*window)):
    phase = _phase(x_ref, at).astype(_F32)
    if best is None:
      best, places = phase, jnp.zeros(phase.shape, jnp.int32)
    else:
      better = (phase > best) | ((phase != phase) & (best == best))  # a NaN wins over every number
      best, places = jnp.where(better, phase, best), jnp.where(better, index, places)
    if total_refs:
      total = phase.sum(0) + (0 if total is None else total)
      squares = (phase * phase).sum(0) + (0 if squares is None else squares)
  values_ref[0, 0] = best.astype(values_ref.dtype)
  places_ref[0, 0] = places.astype(jnp.uint8)
  for ref, value in zip(total_refs, (total, squares), strict=False):
    _accumulate(ref, value)


def _accumulate(ref, value):
  """Adds to a block that stays in place over the whole grid."""
  first = (pl.program_id(0) == 0) & (pl.program_id(1) == 0) & (pl.program_id(2) == 0)

  @pl.when(first)
  def _():
    ref[...] = value

  @pl.when(jnp.logical_not(first))
  def _():
    ref[...] += value


def _spread_kernel(values_ref, places_ref, *refs, window):
  *affine, out_ref = refs
  values, places = values_ref[0, 0].astype(_F32), places_ref[0, 0].astype(jnp.int32)
  for index, at in enumerate(np.ndindex(*window)):
    phase = jnp.where(places == index, values, 0.0)
    if affine:
      y_ref, offset_ref, slope_ref = affine
      phase += offset_ref[...] + slope_ref[...] * _phase(y_ref, at).astype(_F32)
    i, j, k = at
    out_ref[0, i, 0, j, :, k] = phase.astype(out_ref.dtype)


def _gather_kernel(x_ref, places_ref, out_ref, *, window):
  places, total = places_ref[0, 0].astype(jnp.int32), 0.0
  for index, at in enumerate(np.ndindex(*window)):
    total += jnp.where(places == index, _phase(x_ref, at).astype(_F32), 0.0)
  out_ref[0, 0] = total.astype(out_ref.dtype)


def _phase(ref, at):
  """[W, B, C]: one phase of a row of windows."""
  i, j, k = at
  return ref[0, i, 0, j, :, k]


def _call(kernel, pooled, window, arrays, outputs):
  """Runs `kernel` once for each row of windows, or part of one, (frame, row, part) of `pooled` = (T, H, W, B, C) of the smaller map.

  arrays: (array, kind) with kind 'full' or 'pooled' for maps [B, ..., C], None for what every row reads whole. outputs: (dtype, kind),
  or (shape, dtype) for what is summed over all rows.
  """
  (step_t, step_h, step_w), (frames, height, width, batch, channels) = window, pooled
  shapes = {
    'full': (frames, step_t, height, step_h, width, step_w, batch, channels),
    'pooled': pooled,
  }
  part = _part_of_row(
    width,
    [(array.dtype, kind) for array, kind in arrays] + outputs,
    math.prod(window),
    batch,
    channels,
  )
  specs = {
    'full': pl.BlockSpec(
      (1, step_t, 1, step_h, part, step_w, batch, channels),
      lambda t, h, w: (t, 0, h, 0, w, 0, 0, 0),
    ),
    'pooled': pl.BlockSpec((1, 1, part, batch, channels), lambda t, h, w: (t, h, w, 0, 0)),
  }

  def whole(shape):
    return pl.BlockSpec(shape, lambda t, h, w: (0,) * len(shape))

  inputs = [
    array if kind is None else _batch_last(array).reshape(shapes[kind]) for array, kind in arrays
  ]
  out_shape = [
    jax.ShapeDtypeStruct(shapes[b], a) if isinstance(b, str) else jax.ShapeDtypeStruct(a, b)
    for a, b in outputs
  ]
  moved = sum(
    x.size * x.dtype.itemsize for x in (*inputs, *out_shape)
  )  # XLA counts nothing for a kernel that does not say
  cost = pl.CostEstimate(
    flops=batch * frames * height * width * channels * step_t * step_h * step_w,
    bytes_accessed=moved,
    transcendentals=0,
  )
  results = pl.pallas_call(
    kernel,
    grid=(frames, height, width // part),
    out_shape=out_shape,
    interpret=target_platform() != 'tpu',
    cost_estimate=cost,
    in_specs=[whole(array.shape) if kind is None else specs[kind] for array, kind in arrays],
    out_specs=[specs[b] if isinstance(b, str) else whole(a) for a, b in outputs],
  )(*inputs)
  return [
    r.reshape(frames * step_t, height * step_h, width * step_w, batch, channels)
    if r.shape == shapes['full']
    else r
    for r in results
  ]


def _part_of_row(width, maps, windows, batch, channels):
  """Windows of a row that are read at once: the most that divide it and fit the chip with (dtype, kind) `maps`, each of which is there twice."""
  places = {'full': windows, 'pooled': 1}
  values = sum(
    jnp.dtype(dtype).itemsize * places[kind] for dtype, kind in maps if isinstance(kind, str)
  )
  window_bytes = (2 * values + 4 * _COMPUTED) * filled(batch, SUBLANES) * filled(channels, LANES)
  return next(
    part
    for part in range(width, 0, -1)
    if width % part == 0 and (part == 1 or part * window_bytes <= tpu_memory.ON_CHIP_BYTES)
  )


def _batch_last(x):
  return x.transpose(1, 2, 3, 0, 4)


def _batch_first(x):
  return x.transpose(3, 0, 1, 2, 4)
