"""The products of the phase-split outer layers as TPU kernels: four phases a value live in registers, never in memory.

XLA writes the four phases of the first layer before it takes their maximum (4 x F numbers a window) and those of the last before it
multiplies them. Here a row of windows is multiplied and reduced, or masked and multiplied, where it is.

Rows are laid out [W * B]: windows of a row of the image, all clips, as XLA lays its convolutions' maps out [T, H, W, B, F]. Patches
have their numbers before their rows, [T * H, K, W * B], so that 16 numbers do not take the 128 lanes of a register.

`ops.outer` says what each computes; `weights` are [K, 4, F]. Off TPUs they run interpreted, for tests.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from a3dcae_jax.ops import tpu_memory
from a3dcae_jax.ops.conv_algorithm import target_platform
from a3dcae_jax.ops.tpu_memory import LANES, filled

_F32 = jnp.float32


def pool(patches, weights, shift, activation):
  """(values, places): activation(max over phases of patches @ weights + shift) and the phase that had it."""
  batch, frames, height, width, _ = patches.shape
  kernel = functools.partial(_pool_kernel, activation=activation)
  values, places = _call(
    kernel,
    (batch, width),
    [_taps(patches)],
    [_by_phase(weights), shift.reshape(1, -1).astype(_F32)],
    [(weights.shape[2], patches.dtype, 'rows'), (weights.shape[2], jnp.uint8, 'rows')],
  )
  return tuple(_from_rows(x, batch, frames, height, width) for x in (values, places))


def select(patches, weights, places):
  """patches @ weights, of each four phases the one at `places`: [B, T, H, W, F]."""
  batch, frames, height, width, _ = patches.shape
  (result,) = _call(
    _select_kernel,
    (batch, width),
    [_taps(patches), _rows(places)],
    [_by_phase(weights)],
    [(weights.shape[2], patches.dtype, 'rows')],
  )
  return _from_rows(result, batch, frames, height, width)


def spread(values, places, weights):
  """Patches [B, T, H, W, K]: every value times the weights of its place."""
  batch, frames, height, width, _ = values.shape
  (result,) = _call(
    _spread_kernel,
    (batch, width),
    [_rows(values), _rows(places)],
    [_by_phase(weights)],
    [(weights.shape[0], values.dtype, 'taps')],
  )
  return result.reshape(frames, height, weights.shape[0], width, batch).transpose(4, 0, 1, 3, 2)


def weight_gradient(patches, values, places):
  """[K, 4, F] float32: the sum over windows of patches times values, each value at its place."""
  (result,) = _call(
    _weight_kernel,
    (values.shape[0], values.shape[3]),
    [_taps(patches), _rows(values), _rows(places)],
    [],
    [((4, patches.shape[-1], values.shape[-1]), _F32, 'whole')],
  )
  return result.transpose(1, 0, 2)


def _pool_kernel(patches_ref, weights_ref, shift_ref, values_ref, places_ref, *, activation):
  for row in range(patches_ref.shape[0]):
    best = places = None
    for place in range(4):
      phase = _dot(patches_ref[row], weights_ref[place], 0, 0)
      if best is None:
        best, places = phase, jnp.zeros(phase.shape, jnp.int32)
      else:
        better = (phase > best) | (
          (phase != phase) & (best == best)
        )  # a NaN wins over every number
        best, places = jnp.where(better, phase, best), jnp.where(better, place, places)
    values_ref[row] = activation(best + shift_ref[...]).astype(values_ref.dtype)
    places_ref[row] = places.astype(jnp.uint8)


def _select_kernel(patches_ref, places_ref, weights_ref, out_ref):
  for row in range(patches_ref.shape[0]):
    places, total = places_ref[row].astype(jnp.int32), 0.0
    for place in range(4):
      total += jnp.where(places == place, _dot(patches_ref[row], weights_ref[place], 0, 0), 0.0)
    out_ref[row] = total.astype(out_ref.dtype)


def _spread_kernel(values_ref, places_ref, weights_ref, out_ref):
  for row in range(values_ref.shape[0]):
    total = 0.0
    for place, phase in enumerate(_phases(values_ref, places_ref, row)):
      total += _dot(weights_ref[place], phase, 1, 1)
    out_ref[row] = total.astype(out_ref.dtype)


def _weight_kernel(patches_ref, values_ref, places_ref, out_ref):
  @pl.when((pl.program_id(0) == 0) & (pl.program_id(1) == 0))
  def _():
    out_ref[...] = jnp.zeros(out_ref.shape, _F32)

  for row in range(values_ref.shape[0]):
    for place, phase in enumerate(_phases(values_ref, places_ref, row)):
      out_ref[place] += _dot(patches_ref[row], phase, 1, 0)


def _phases(values_ref, places_ref, row):
  values, places = values_ref[row], places_ref[row].astype(jnp.int32)
  return [jnp.where(places == place, values, jnp.zeros((), values.dtype)) for place in range(4)]


def _dot(a, b, axis_a, axis_b):
  precision = lax.Precision.HIGHEST if a.dtype == _F32 else None
  return lax.dot_general(
    a, b, (((axis_a,), (axis_b,)), ((), ())), precision=precision, preferred_element_type=_F32
  )


def _call(kernel, plane, arrays, whole, outputs):
  """Runs `kernel` over blocks of image rows, or parts of one. arrays: [rows, ., .]; whole: read by every block; outputs: (size or shape, dtype, kind)."""
  count, per_row = arrays[0].shape[0], plane[0] * plane[1]
  shapes = {
    'rows': lambda size: (count, per_row, size),
    'taps': lambda size: (count, size, per_row),
    'whole': lambda shape: shape,
  }

  out = [
    (jax.ShapeDtypeStruct(shapes[kind](size), dtype), kind == 'whole')
    for size, dtype, kind in outputs
  ]
  maps = [*arrays, *(shape for shape, everywhere in out if not everywhere)]
  block, part = _block_of(count, per_row, [(x.shape[1:], x.dtype) for x in maps])

  def spec(shape, everywhere):
    if everywhere:
      return pl.BlockSpec(shape, lambda i, j: (0,) * len(shape))
    if shape[1] == per_row:
      return pl.BlockSpec((block, part, shape[2]), lambda i, j: (i, j, 0))
    return pl.BlockSpec((block, shape[1], part), lambda i, j: (i, 0, j))

  flops = 2 * 4 * count * per_row * _product_sizes(arrays, whole, out)
  moved = sum(x.size * x.dtype.itemsize for x in (*arrays, *whole, *(shape for shape, _ in out)))
  return pl.pallas_call(
    kernel,
    grid=(count // block, per_row // part),
    out_shape=[shape for shape, _ in out],
    interpret=target_platform() != 'tpu',
    in_specs=[*(spec(x.shape, False) for x in arrays), *(spec(x.shape, True) for x in whole)],
    out_specs=[spec(shape.shape, everywhere) for shape, everywhere in out],
    cost_estimate=pl.CostEstimate(flops=flops, bytes_accessed=moved, transcendentals=0),
  )(*arrays, *whole)


def _block_of(count, per_row, maps):
  """(image rows, windows of a row) of a block: the most rows, then the largest part of one, that fit the chip. maps: (a row's shape, dtype)."""
  parts = [
    per_row // pieces
    for pieces in range(2, per_row + 1)
    if per_row % pieces == 0 and per_row // pieces % LANES == 0
  ]
  sizes = [(rows, per_row) for rows in (4, 2, 1) if count % rows == 0] + [
    (1, part) for part in parts
  ]
  return next(
    (
      size
      for size in sizes
      if 2 * sum(_bytes_of(*size, per_row, *one) for one in maps) <= tpu_memory.ON_CHIP_BYTES
    ),
    sizes[-1],
  )


def _bytes_of(rows, part, per_row, shape, dtype):
  down, across = (part if size == per_row else size for size in shape)
  return rows * down * filled(across, LANES) * dtype.itemsize


def _product_sizes(arrays, whole, out):
  """K * F of a kernel, from its weights [4, K, F]: an input or, in `weight_gradient`, the output."""
  shape = next(
    x.shape for x in (*whole, *(shape for shape, _ in out)) if x.shape[0] == 4 and len(x.shape) == 3
  )
  return shape[1] * shape[2]


def _taps(patches):
  """[B, T, H, W, K] -> [T * H, K, W * B]."""
  batch, frames, height, width, taps = patches.shape
  return patches.transpose(1, 2, 4, 3, 0).reshape(frames * height, taps, width * batch)


def _rows(x):
  """[B, T, H, W, F] -> [T * H, W * B, F]."""
  batch, frames, height, width, features = x.shape
  return x.transpose(1, 2, 3, 0, 4).reshape(frames * height, width * batch, features)


def _from_rows(x, batch, frames, height, width):
  return x.reshape(frames, height, width, batch, x.shape[-1]).transpose(3, 0, 1, 2, 4)


def _by_phase(weights):
  return weights.transpose(1, 0, 2)
