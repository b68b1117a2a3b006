"""Un-pooling, and pooling with moments, as GPU kernels.

Each kernel reads and writes every map once, one row of windows per program. The un-pooling of XLA
reaches half of the memory bandwidth, since it reads each value for every position of its window,
and the moments of a normalisation make it read the output of a convolution a second time.

Gathering and pooling without moments are left to XLA, which fuses them well: gathering into the
gradient of the activation, pooling into the next operation.

`ops.pooling` explains the functions. On other platforms kernels are interpreted, for tests.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.typing import DTypeLike

from a3dcae_jax.ops import pooling_xla
from a3dcae_jax.ops.pooling_xla import Affine
from a3dcae_jax.ops.triton_backend import available, is_block_size, pallas_options
from a3dcae_jax.ops.window_phases import update_argmax

_F32 = jnp.float32

# Values per block: 8 for each of 128 threads, which are 16 bytes in bfloat16.
_BLOCK = 1024

gather = pooling_xla.gather


def fits(shape: Sequence[int]) -> bool:
  """Return whether these kernels can compute a map.

  The channels must be a block size of Triton, and its 32-bit offsets must reach the end.

  Args:
    shape: [B, T, H, W, C] of the map.
  """
  return available and is_block_size(shape[-1]) and math.prod(shape) < 2**31


def pool(
  x: jax.Array, window: Sequence[int], dtype: DTypeLike, *, sums: bool = False
) -> tuple[jax.Array, ...]:
  """Pool a map, see `pooling_xla.pool`."""
  if not sums:
    return pooling_xla.pool(x, window, dtype)
  batch, frames, height, width, channels = x.shape
  step_t, step_h, step_w = window
  pooled = (
    batch,
    frames // step_t,
    height // step_h,
    width // step_w,
    channels,
  )
  outputs = [
    (dtype, 'pooled'),
    (jnp.uint8, 'pooled'),
    (_F32, 'sums'),
    (_F32, 'sums'),
  ]
  kernel = functools.partial(_pool_kernel, window=window)
  results = _run(kernel, pooled, window, [(x, 'full')], outputs)
  values, pool_indices, row_totals, row_squares = results
  total = row_totals.sum((0, 1))
  squares = row_squares.sum((0, 1))
  return values, pool_indices, total, squares


def unpool(
  values: jax.Array,
  pool_indices: jax.Array,
  window: Sequence[int],
  *,
  affine: Affine | None = None,
) -> jax.Array:
  """Un-pool a map, see `pooling_xla.unpool`."""
  inputs = [(values, 'pooled'), (pool_indices, 'pooled')]
  if affine:
    y, offset, slope = affine
    inputs += [
      (y, 'full'),
      (offset.reshape(1, -1), 'channels'),
      (slope.reshape(1, -1), 'channels'),
    ]
  outputs = [(values.dtype, 'full')]
  kernel = functools.partial(_unpool_kernel, window=window)
  (result,) = _run(kernel, values.shape, window, inputs, outputs)
  return result


def _pool_kernel(x_ref, values_ref, indices_ref, total_ref, squares_ref, *, window) -> None:
  width, channels = values_ref.shape[2:]
  block = _windows_per_block(width, channels)

  def add_block(number, sums):
    windows = pl.ds(number * block, block)
    total, squares = sums
    best = None
    for index, position in enumerate(np.ndindex(*window)):
      where = _phase_slice(position, windows, channels)
      phase = x_ref[where].astype(_F32)
      total = total + phase
      squares = squares + phase * phase
      best = update_argmax(best, phase, index)
    maximum, indices = best
    values_ref[0, 0, windows, :] = maximum.astype(values_ref.dtype)
    indices_ref[0, 0, windows, :] = indices.astype(jnp.uint8)
    return total, squares

  zeros = jnp.zeros((block, channels), _F32)
  blocks = width // block
  total, squares = lax.fori_loop(0, blocks, add_block, (zeros, zeros))
  row_total = total.sum(0)
  row_squares = squares.sum(0)
  total_ref[0, 0, :] = row_total
  squares_ref[0, 0, :] = row_squares


def _unpool_kernel(values_ref, indices_ref, *refs, window) -> None:
  *affine_refs, out_ref = refs
  width, channels = values_ref.shape[2:]
  block = _windows_per_block(width, channels)

  def write_block(number, carry):
    windows = pl.ds(number * block, block)
    values = values_ref[0, 0, windows, :]
    indices = indices_ref[0, 0, windows, :].astype(jnp.int32)
    for index, position in enumerate(np.ndindex(*window)):
      recorded = indices == index
      zero = jnp.zeros((), values.dtype)
      phase = jnp.where(recorded, values, zero)
      where = _phase_slice(position, windows, channels)
      if affine_refs:
        y_ref, offset_ref, slope_ref = affine_refs
        phase = phase.astype(_F32) + offset_ref[...]
        slope = slope_ref[...]
        phase = phase + slope * y_ref[where].astype(_F32)
      out_ref[where] = phase.astype(out_ref.dtype)
    return carry

  lax.fori_loop(0, width // block, write_block, 0)


def _windows_per_block(width: int, channels: int) -> int:
  """Return the number of windows of a row that are computed at once.

  It is a power of two that divides the row, with about `_BLOCK` values.
  """
  wanted = max(1, _BLOCK // channels)
  return math.gcd(width, wanted)


def _phase_slice(position: tuple[int, int, int], windows, channels: int) -> tuple:
  """Return the slice of a full map's block that holds one position of `windows`."""
  i, j, k = position
  start = k * channels
  return 0, i, 0, j, windows, pl.ds(start, channels)


class _Layout(NamedTuple):
  """Layout of one kind of array.

  Attributes:
    shape: shape of the array that the kernel sees.
    spec: the block that one program reads or writes.
  """

  shape: tuple[int, ...]
  spec: pl.BlockSpec


def _run(
  kernel: Callable[..., None],
  pooled: tuple[int, ...],
  window: Sequence[int],
  inputs: Sequence[tuple[jax.Array, str]],
  outputs: Sequence[tuple[DTypeLike, str]],
) -> list[jax.Array]:
  """Run `kernel` once per row of windows.

  Args:
    kernel: takes references to the inputs and outputs.
    pooled: [B, T, H, W, C] of the pooled maps.
    window: (pt, ph, pw).
    inputs: (array, kind) pairs, see `_layouts`. Maps are [B, T, H, W, C].
    outputs: (data type, kind) pairs.

  Returns:
    The outputs. Maps are [B, T, H, W, C], sums are [B * T, H, C].
  """
  batch, frames, height, width, channels = pooled
  step_t, step_h, step_w = window
  layouts = _layouts(pooled, window)
  out_shape = []
  for dtype, kind in outputs:
    out_shape.append(jax.ShapeDtypeStruct(layouts[kind].shape, dtype))
  arrays = [array.reshape(layouts[kind].shape) for array, kind in inputs]

  results = pl.pallas_call(
    kernel,
    grid=(batch * frames, height),
    out_shape=out_shape,
    in_specs=[layouts[kind].spec for _, kind in inputs],
    out_specs=[layouts[kind].spec for _, kind in outputs],
    **pallas_options(),
  )(*arrays)

  full = (batch, frames * step_t, height * step_h, width * step_w, channels)
  final_shapes = {'full': full, 'pooled': pooled}
  finished = []
  for result, (_, kind) in zip(results, outputs, strict=True):
    shape = final_shapes.get(kind, result.shape)
    finished.append(result.reshape(shape))
  return finished


def _layouts(pooled: tuple[int, ...], window: Sequence[int]) -> dict[str, _Layout]:
  """Return the layout of each kind of array.

  - 'full': a map. One position of all windows of a row is a block of its last two axes.
  - 'pooled': a map.
  - 'channels': [1, C], which every program reads whole.
  - 'sums': one sum per row.

  Args:
    pooled: [B, T, H, W, C] of the pooled maps.
    window: (pt, ph, pw).
  """
  batch, frames, height, width, channels = pooled
  step_t, step_h, step_w = window
  images = batch * frames
  full_shape = (images, step_t, height, step_h, width, step_w * channels)
  full_block = (1, step_t, 1, step_h, width, step_w * channels)
  pooled_shape = (images, height, width, channels)
  pooled_block = (1, 1, width, channels)
  channels_shape = (1, channels)
  sums_shape = (images, height, channels)
  sums_block = (1, 1, channels)
  full_spec = pl.BlockSpec(full_block, lambda n, h: (n, 0, h, 0, 0, 0))
  pooled_spec = pl.BlockSpec(pooled_block, lambda n, h: (n, h, 0, 0))
  channels_spec = pl.BlockSpec(channels_shape, lambda n, h: (0, 0))
  sums_spec = pl.BlockSpec(sums_block, lambda n, h: (n, h, 0))
  return {
    'full': _Layout(full_shape, full_spec),
    'pooled': _Layout(pooled_shape, pooled_spec),
    'channels': _Layout(channels_shape, channels_spec),
    'sums': _Layout(sums_shape, sums_spec),
  }
