"""Pooling, un-pooling and their transposes as TPU kernels.

Each kernel reads and writes every map once. XLA instead writes the broadcasts of an un-pooling to
memory, and reads the output of a convolution twice: for the statistics of its normalisation and for
its maxima.

Maps are [T, H, W, B, C], the layout that XLA gives the maps of its convolutions. A (B, C) plane
fits the registers of the chip, so the phases of a window are whole planes and no values are moved
within a plane.

`ops.pooling` explains the functions. On other platforms kernels are interpreted, for tests.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.typing import DTypeLike

from a3dcae_jax.ops import tpu_memory
from a3dcae_jax.ops.conv_algorithm import target_platform
from a3dcae_jax.ops.pooling_xla import Affine
from a3dcae_jax.ops.tpu_memory import LANES, SUBLANES, round_up
from a3dcae_jax.ops.window_phases import update_argmax

_F32 = jnp.float32

# Further float32 values per window that the compiler keeps on chip. The number is derived from its
# message for a row that did not fit: 16.01 MiB for 17 clips.
_EXTRA_VALUES = 14

_MAPS = ('full', 'pooled')


def pool(
  x: jax.Array, window: Sequence[int], dtype: DTypeLike, *, sums: bool = False
) -> tuple[jax.Array, ...]:
  """Pool a map, see `pooling_xla.pool`."""
  batch, frames, height, width, channels = x.shape
  step_t, step_h, step_w = window
  pooled = (
    frames // step_t,
    height // step_h,
    width // step_w,
    batch,
    channels,
  )
  outputs = [(dtype, 'pooled'), (jnp.uint8, 'pooled')]
  if sums:
    outputs += [(_F32, 'sums'), (_F32, 'sums')]
  kernel = functools.partial(_pool_kernel, window=window)
  results = _run(kernel, pooled, window, [(x, 'full')], outputs)

  values, pool_indices, *totals = results
  values = _batch_first(values)
  pool_indices = _batch_first(pool_indices)
  # The kernel adds up over positions, but not over the batch.
  totals = [total.sum(0) for total in totals]
  return values, pool_indices, *totals


def unpool(
  values: jax.Array,
  pool_indices: jax.Array,
  window: Sequence[int],
  *,
  affine: Affine | None = None,
) -> jax.Array:
  """Un-pool a map, see `pooling_xla.unpool`."""
  batch, frames, height, width, channels = values.shape
  pooled = (frames, height, width, batch, channels)
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
  (result,) = _run(kernel, pooled, window, inputs, outputs)
  return _batch_first(result)


def gather(x: jax.Array, pool_indices: jax.Array, window: Sequence[int]) -> jax.Array:
  """Read one value per window at its recorded position, see `pooling_xla.gather`."""
  batch, frames, height, width, channels = pool_indices.shape
  pooled = (frames, height, width, batch, channels)
  inputs = [(x, 'full'), (pool_indices, 'pooled')]
  outputs = [(x.dtype, 'pooled')]
  kernel = functools.partial(_gather_kernel, window=window)
  (result,) = _run(kernel, pooled, window, inputs, outputs)
  return _batch_first(result)


def _pool_kernel(x_ref, values_ref, indices_ref, *sum_refs, window) -> None:
  best = None
  total = 0
  squares = 0
  for index, position in enumerate(np.ndindex(*window)):
    phase = _read_phase(x_ref, position).astype(_F32)
    best = update_argmax(best, phase, index)
    if sum_refs:
      total = phase.sum(0) + total
      squares = (phase * phase).sum(0) + squares
  maximum, indices = best
  values_ref[0, 0] = maximum.astype(values_ref.dtype)
  indices_ref[0, 0] = indices.astype(jnp.uint8)
  if sum_refs:
    total_ref, squares_ref = sum_refs
    _accumulate(total_ref, total)
    _accumulate(squares_ref, squares)


def _accumulate(ref, value) -> None:
  """Add `value` to a block that stays on chip over the whole grid."""
  first_row = (pl.program_id(0) == 0) & (pl.program_id(1) == 0)
  first = first_row & (pl.program_id(2) == 0)

  @pl.when(first)
  def _():
    ref[...] = value

  @pl.when(jnp.logical_not(first))
  def _():
    ref[...] += value


def _unpool_kernel(values_ref, indices_ref, *refs, window) -> None:
  *affine_refs, out_ref = refs
  values = values_ref[0, 0].astype(_F32)
  indices = indices_ref[0, 0].astype(jnp.int32)
  for index, position in enumerate(np.ndindex(*window)):
    i, j, k = position
    phase = jnp.where(indices == index, values, 0.0)
    if affine_refs:
      y_ref, offset_ref, slope_ref = affine_refs
      offset = offset_ref[...]
      slope = slope_ref[...]
      y = _read_phase(y_ref, position).astype(_F32)
      phase += offset + slope * y
    out_ref[0, i, 0, j, :, k] = phase.astype(out_ref.dtype)


def _gather_kernel(x_ref, indices_ref, out_ref, *, window) -> None:
  indices = indices_ref[0, 0].astype(jnp.int32)
  total = 0.0
  for index, position in enumerate(np.ndindex(*window)):
    recorded = indices == index
    phase = _read_phase(x_ref, position)
    phase = phase.astype(_F32)
    total += jnp.where(recorded, phase, 0.0)
  out_ref[0, 0] = total.astype(out_ref.dtype)


def _read_phase(ref, position: tuple[int, int, int]) -> jax.Array:
  """Read one position of every window of a row: [W, B, C]."""
  i, j, k = position
  return ref[0, i, 0, j, :, k]


class _Layout(NamedTuple):
  """Layout of one kind of array.

  Attributes:
    shape: shape of the array that the kernel sees.
    spec: the block that one call reads or writes.
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
  """Run `kernel` once per row of windows, or per part of a row if it does not fit.

  Args:
    kernel: takes references to the inputs and outputs.
    pooled: (T, H, W, B, C) of the pooled maps.
    window: (pt, ph, pw).
    inputs: (array, kind) pairs, see `_layouts`. Maps are [B, T, H, W, C].
    outputs: (data type, kind) pairs.

  Returns:
    The outputs. Maps are [T, H, W, B, C].
  """
  frames, height, width, batch, channels = pooled
  step_t, step_h, step_w = window
  maps = [(array.dtype, kind) for array, kind in inputs if kind in _MAPS]
  maps += [(dtype, kind) for dtype, kind in outputs if kind in _MAPS]
  part = _windows_per_block(pooled, window, maps)
  layouts = _layouts(pooled, window, part)

  arrays = []
  for array, kind in inputs:
    if kind in _MAPS:
      array = _batch_last(array)
    arrays.append(array.reshape(layouts[kind].shape))
  out_shape = []
  for dtype, kind in outputs:
    out_shape.append(jax.ShapeDtypeStruct(layouts[kind].shape, dtype))

  results = pl.pallas_call(
    kernel,
    grid=(frames, height, width // part),
    out_shape=out_shape,
    interpret=target_platform() != 'tpu',
    cost_estimate=_cost(
      flops=math.prod(pooled) * math.prod(window),
      arrays=(*arrays, *out_shape),
    ),
    in_specs=[layouts[kind].spec for _, kind in inputs],
    out_specs=[layouts[kind].spec for _, kind in outputs],
  )(*arrays)

  full = (frames * step_t, height * step_h, width * step_w, batch, channels)
  finished = []
  for result, (_, kind) in zip(results, outputs, strict=True):
    if kind == 'full':
      result = result.reshape(full)
    finished.append(result)
  return finished


def _layouts(pooled: tuple[int, ...], window: Sequence[int], part: int) -> dict[str, _Layout]:
  """Return the layout of each kind of array.

  - 'full', 'pooled': maps. Each window of a full map has axes of its own.
  - 'channels': [1, C], which every call reads whole.
  - 'sums': [B, C], to which every call adds.

  Args:
    pooled: (T, H, W, B, C) of the pooled maps.
    window: (pt, ph, pw).
    part: windows per block.
  """
  frames, height, width, batch, channels = pooled
  step_t, step_h, step_w = window
  full_shape = (frames, step_t, height, step_h, width, step_w, batch, channels)
  full_block = (1, step_t, 1, step_h, part, step_w, batch, channels)
  pooled_block = (1, 1, part, batch, channels)
  channels_shape = (1, channels)
  sums_shape = (batch, channels)
  full_spec = pl.BlockSpec(full_block, lambda t, h, w: (t, 0, h, 0, w, 0, 0, 0))
  pooled_spec = pl.BlockSpec(pooled_block, lambda t, h, w: (t, h, w, 0, 0))
  channels_spec = pl.BlockSpec(channels_shape, lambda t, h, w: (0, 0))
  sums_spec = pl.BlockSpec(sums_shape, lambda t, h, w: (0, 0))
  return {
    'full': _Layout(full_shape, full_spec),
    'pooled': _Layout(pooled, pooled_spec),
    'channels': _Layout(channels_shape, channels_spec),
    'sums': _Layout(sums_shape, sums_spec),
  }


def _cost(flops: int, arrays: Sequence[jax.Array | jax.ShapeDtypeStruct]) -> pl.CostEstimate:
  """Return the cost of a kernel; XLA assumes no cost for a kernel without it."""
  moved = 0
  for array in arrays:
    moved += array.size * array.dtype.itemsize
  return pl.CostEstimate(
    flops=flops,
    bytes_accessed=moved,
    transcendentals=0,
  )


def _windows_per_block(
  pooled: tuple[int, ...], window: Sequence[int], maps: Sequence[tuple[DTypeLike, str]]
) -> int:
  """Return the number of windows of a row that are read at once.

  It is the largest number that divides the row and fits the chip, or 1.

  Args:
    pooled: (T, H, W, B, C) of the pooled maps.
    window: (pt, ph, pw).
    maps: (data type, kind) of each map. Each takes its space twice.
  """
  _, _, width, batch, channels = pooled
  values_per_window = {'full': math.prod(window), 'pooled': 1}
  map_bytes = 0
  for dtype, kind in maps:
    value_bytes = jnp.dtype(dtype).itemsize
    map_bytes += value_bytes * values_per_window[kind]
  extra_bytes = 4 * _EXTRA_VALUES
  plane = round_up(batch, SUBLANES) * round_up(channels, LANES)
  window_bytes = (2 * map_bytes + extra_bytes) * plane
  for part in range(width, 1, -1):
    fits = part * window_bytes <= tpu_memory.ON_CHIP_BYTES
    if width % part == 0 and fits:
      return part
  return 1


def _batch_last(x: jax.Array) -> jax.Array:
  return x.transpose(1, 2, 3, 0, 4)


def _batch_first(x: jax.Array) -> jax.Array:
  return x.transpose(3, 0, 1, 2, 4)
