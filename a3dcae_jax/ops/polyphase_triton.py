"""The products of the phase-split outer layers as GPU kernels: four phases a value live in registers, never in memory.

XLA writes the four phases of the first layer before it takes their maximum (4 x F numbers a window) and those of the last before it multiplies
them: at `paper` half of all bytes that inference moves. Here a block of windows is multiplied and reduced, or masked and multiplied, where it is.

Maps are rows of windows, [B * T * H * W, F], which is how they lie in memory on GPUs (channels last). Patches have their numbers before their windows,
[K, B * T * H * W]: each is then a strided copy of the image, where 16 numbers side by side are gathered pixel by pixel, at a twentieth of the
memory's rate.
`ops.outer` says what each computes; `weights` are [K, 4, F]. Off GPUs they run interpreted, for tests.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from a3dcae_jax.ops.triton_backend import available, power_of_two, quick, settings

_F32 = jnp.float32
_ROWS = 64  # windows a block: its accumulators stay in registers; 32 and 128 are as fast
_PROGRAMS = 1024  # of `weight_gradient` at most, each with a sum of its own: several for each of a card's multiprocessors


def fits(windows, taps, features):
  """Whether Triton's matrix products take blocks of these sizes, powers of two from 16 on, and its 32-bit offsets reach the end of the map."""
  return (
    available
    and windows % _ROWS == 0
    and windows * features < 2**31
    and power_of_two(taps)
    and power_of_two(features)
  )


def pool(patches, weights, shift, activation):
  """(values, places): activation(max over phases of patches @ weights + shift) and the phase that had it."""
  shape = (*patches.shape[:-1], weights.shape[2])
  kernel = functools.partial(_pool_kernel, activation=quick(activation, patches.dtype))
  values, places = _by_blocks(
    kernel,
    [(_taps(patches), 'taps')],
    [_by_phase(weights), shift.reshape(1, -1).astype(_F32)],
    [(weights.shape[2], patches.dtype, 'rows'), (weights.shape[2], jnp.uint8, 'rows')],
  )
  return values.reshape(shape), places.reshape(shape)


def select(patches, weights, places):
  """patches @ weights, of each four phases the one at `places`: [B, T, H, W, F]."""
  (result,) = _by_blocks(
    _select_kernel,
    [(_taps(patches), 'taps'), (_rows(places), 'rows')],
    [_by_phase(weights)],
    [(weights.shape[2], patches.dtype, 'rows')],
  )
  return result.reshape(places.shape)


def spread(values, places, weights):
  """Patches [B, T, H, W, K]: every value times the weights of its place."""
  (result,) = _by_blocks(
    _spread_kernel,
    [(_rows(values), 'rows'), (_rows(places), 'rows')],
    [weights.transpose(1, 2, 0)],
    [(weights.shape[0], values.dtype, 'taps')],
  )
  return result.T.reshape(*values.shape[:-1], weights.shape[0])


def weight_gradient(patches, values, places):
  """[K, 4, F] float32: the sum over windows of patches times values, each value at its place."""
  rows, taps, features = _rows(values).shape[0], patches.shape[-1], values.shape[-1]
  block = math.gcd(rows, _ROWS)
  blocks = rows // block
  programs = next(count for count in range(min(blocks, _PROGRAMS), 0, -1) if blocks % count == 0)
  kernel = functools.partial(_weight_kernel, block=block, blocks=blocks // programs)
  whole = [pl.BlockSpec(memory_space=pl.ANY)] * 3
  sums = pl.pallas_call(
    kernel,
    grid=(programs,),
    in_specs=whole,
    out_specs=pl.BlockSpec((1, 4, taps, features), lambda i: (i, 0, 0, 0)),
    out_shape=jax.ShapeDtypeStruct((programs, 4, taps, features), _F32),
    **settings(),
  )(_taps(patches), _rows(values), _rows(places))
  return sums.sum(0).transpose(1, 0, 2)


def _pool_kernel(patches_ref, weights_ref, shift_ref, values_ref, places_ref, *, activation):
  patches = patches_ref[...].T
  best = places = None
  for place in range(4):
    phase = _dot(patches, weights_ref[place])
    if best is None:
      best, places = phase, jnp.zeros(phase.shape, jnp.int32)
    else:
      better = (phase > best) | ((phase != phase) & (best == best))  # a NaN wins over every number
      best, places = jnp.where(better, phase, best), jnp.where(better, place, places)
  values_ref[...] = activation(best + shift_ref[...]).astype(values_ref.dtype)
  places_ref[...] = places.astype(jnp.uint8)


def _select_kernel(patches_ref, places_ref, weights_ref, out_ref):
  patches, places, total = patches_ref[...].T, places_ref[...].astype(jnp.int32), 0.0
  for place in range(4):
    total += jnp.where(places == place, _dot(patches, weights_ref[place]), 0.0)
  out_ref[...] = total.astype(out_ref.dtype)


def _spread_kernel(values_ref, places_ref, weights_ref, out_ref):
  total = 0.0
  for place, phase in enumerate(_phases(values_ref[...], places_ref[...])):
    total += _dot(phase, weights_ref[place])
  out_ref[...] = total.astype(out_ref.dtype).T


def _weight_kernel(patches_ref, values_ref, places_ref, out_ref, *, block, blocks):
  first = pl.program_id(0) * blocks

  def add(index, totals):
    rows = pl.ds((first + index) * block, block)
    patches = patches_ref[:, rows]
    return tuple(
      total + _dot(patches, phase)
      for total, phase in zip(
        totals, _phases(values_ref[rows, :], places_ref[rows, :]), strict=True
      )
    )

  zeros = (jnp.zeros(out_ref.shape[2:], _F32),) * 4
  for place, total in enumerate(lax.fori_loop(0, blocks, add, zeros)):
    out_ref[0, place] = total


def _phases(values, places):
  places = places.astype(jnp.int32)
  return [jnp.where(places == place, values, jnp.zeros((), values.dtype)) for place in range(4)]


def _dot(a, b):
  precision = lax.Precision.HIGHEST if a.dtype == _F32 else None
  return jnp.dot(a, b, precision=precision, preferred_element_type=_F32)


def _by_blocks(kernel, arrays, whole, outputs):
  """Runs `kernel` over blocks of windows. arrays: (array, kind); whole: read by every block; outputs: (size, dtype, kind).

  Kind 'rows' is [windows, size], 'taps' is [size, windows].
  """
  windows = arrays[0][0].size // arrays[0][0].shape[0 if arrays[0][1] == 'taps' else 1]
  height = math.gcd(windows, _ROWS)
  shape = lambda count, size, kind: (count, size) if kind == 'rows' else (size, count)  # noqa: E731

  def spec(size, kind):
    return pl.BlockSpec(
      shape(height, size, kind), (lambda i: (i, 0)) if kind == 'rows' else (lambda i: (0, i))
    )

  return pl.pallas_call(
    kernel,
    grid=(windows // height,),
    out_shape=[
      jax.ShapeDtypeStruct(shape(windows, size, kind), dtype) for size, dtype, kind in outputs
    ],
    in_specs=[
      *(spec(x.size // windows, kind) for x, kind in arrays),
      *(pl.BlockSpec(x.shape, lambda i, rank=x.ndim: (0,) * rank) for x in whole),
    ],
    out_specs=[spec(size, kind) for size, _, kind in outputs],
    **settings(),
  )(*(x for x, _ in arrays), *whole)


def _rows(x):
  """[B, T, H, W, F] -> [windows, F]."""
  return x.reshape(-1, x.shape[-1])


def _taps(patches):
  """[B, T, H, W, K] -> [K, windows]."""
  return jnp.moveaxis(patches, -1, 0).reshape(patches.shape[-1], -1)


def _by_phase(weights):
  return weights.transpose(1, 0, 2)
