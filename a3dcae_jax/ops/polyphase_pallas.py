"""Products of the polyphase layers as TPU kernels, with phases in registers.

XLA writes the four phases of the first layer, 4 x F numbers per window, before it takes their
maximum, and those of the last layer before it multiplies them. These kernels multiply and reduce,
or mask and multiply, a row of windows in registers.

Maps are [T * H, W * B, F]: one matrix per row of windows, in the order [T, H, W, B, F] that XLA
gives the maps of its convolutions. Patches are [T * H, K, W * B], so that their K = 16 numbers do
not take the 128 lanes of a register.

`ops.polyphase` explains the layers. On other platforms kernels are interpreted, for tests.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.typing import DTypeLike

from a3dcae_jax.ops import tpu_memory
from a3dcae_jax.ops.conv_algorithm import target_platform
from a3dcae_jax.ops.tpu_memory import LANES, round_up
from a3dcae_jax.ops.window_phases import masked_phases, update_argmax

_F32 = jnp.float32


class _Sizes(NamedTuple):
  """Sizes of the arrays of one kernel.

  Attributes:
    rows: rows of windows, T * H.
    windows: windows per row, of all clips, W * B.
    taps: numbers per patch, K.
    features: F.
  """

  rows: int
  windows: int
  taps: int
  features: int


def pool(
  patches: jax.Array,
  weights: jax.Array,
  shift: jax.Array,
  activation: Callable[[jax.Array], jax.Array],
) -> tuple[jax.Array, jax.Array]:
  """Compute a pooled convolution, see `polyphase_xla.pool`."""
  _, _, features = weights.shape
  sizes = _sizes(patches.shape, features)
  inputs = [
    (_taps_before_windows(patches), 'patches'),
    (_phases_first(weights), 'weights'),
    (shift.reshape(1, -1).astype(_F32), 'shift'),
  ]
  outputs = [(patches.dtype, 'map'), (jnp.uint8, 'map')]
  kernel = functools.partial(_pool_kernel, activation=activation)
  values, pool_indices = _run(kernel, sizes, inputs, outputs)
  image = patches.shape[:4]
  return _batch_first(values, image), _batch_first(pool_indices, image)


def gather(patches: jax.Array, weights: jax.Array, pool_indices: jax.Array) -> jax.Array:
  """Compute the recorded phase of a product, see `polyphase_xla.gather`."""
  _, _, features = weights.shape
  sizes = _sizes(patches.shape, features)
  inputs = [
    (_taps_before_windows(patches), 'patches'),
    (_batch_last(pool_indices), 'map'),
    (_phases_first(weights), 'weights'),
  ]
  outputs = [(patches.dtype, 'map')]
  (result,) = _run(_gather_kernel, sizes, inputs, outputs)
  return _batch_first(result, patches.shape[:4])


def unpool(values: jax.Array, pool_indices: jax.Array, weights: jax.Array) -> jax.Array:
  """Compute the patches of un-pooled values, see `polyphase_xla.unpool`."""
  batch, frames, height, width, features = values.shape
  taps = weights.shape[0]
  sizes = _sizes((batch, frames, height, width, taps), features)
  inputs = [
    (_batch_last(values), 'map'),
    (_batch_last(pool_indices), 'map'),
    (_phases_first(weights), 'weights'),
  ]
  outputs = [(values.dtype, 'patches')]
  (result,) = _run(_unpool_kernel, sizes, inputs, outputs)
  result = result.reshape(frames, height, taps, width, batch)
  return result.transpose(4, 0, 1, 3, 2)


def weight_gradient(patches: jax.Array, values: jax.Array, pool_indices: jax.Array) -> jax.Array:
  """Compute the gradient of the weights, see `polyphase_xla.weight_gradient`."""
  features = values.shape[-1]
  sizes = _sizes(patches.shape, features)
  inputs = [
    (_taps_before_windows(patches), 'patches'),
    (_batch_last(values), 'map'),
    (_batch_last(pool_indices), 'map'),
  ]
  outputs = [(_F32, 'weights')]
  (result,) = _run(_weight_kernel, sizes, inputs, outputs)
  return result.transpose(1, 0, 2)


def _pool_kernel(
  patches_ref, weights_ref, shift_ref, values_ref, indices_ref, *, activation
) -> None:
  rows = patches_ref.shape[0]
  for row in range(rows):
    best = None
    for index in range(4):
      phase = _dot(patches_ref[row], weights_ref[index], 0, 0)
      best = update_argmax(best, phase, index)
    maximum, indices = best
    values = activation(maximum + shift_ref[...])
    values_ref[row] = values.astype(values_ref.dtype)
    indices_ref[row] = indices.astype(jnp.uint8)


def _gather_kernel(patches_ref, indices_ref, weights_ref, out_ref) -> None:
  rows = patches_ref.shape[0]
  for row in range(rows):
    indices = indices_ref[row].astype(jnp.int32)
    total = 0.0
    for index in range(4):
      recorded = indices == index
      phase = _dot(patches_ref[row], weights_ref[index], 0, 0)
      total += jnp.where(recorded, phase, 0.0)
    out_ref[row] = total.astype(out_ref.dtype)


def _unpool_kernel(values_ref, indices_ref, weights_ref, out_ref) -> None:
  rows = values_ref.shape[0]
  for row in range(rows):
    phases = masked_phases(values_ref[row], indices_ref[row])
    total = 0.0
    for index, phase in enumerate(phases):
      total += _dot(weights_ref[index], phase, 1, 1)
    out_ref[row] = total.astype(out_ref.dtype)


def _weight_kernel(patches_ref, values_ref, indices_ref, out_ref) -> None:
  first = (pl.program_id(0) == 0) & (pl.program_id(1) == 0)

  # The output stays on chip over the whole grid.
  @pl.when(first)
  def _():
    out_ref[...] = jnp.zeros(out_ref.shape, _F32)

  rows = values_ref.shape[0]
  for row in range(rows):
    phases = masked_phases(values_ref[row], indices_ref[row])
    for index, phase in enumerate(phases):
      out_ref[index] += _dot(patches_ref[row], phase, 1, 0)


def _dot(a: jax.Array, b: jax.Array, axis_a: int, axis_b: int) -> jax.Array:
  """Multiply two matrices, summing over the given axis of each."""
  contracted = ((axis_a,), (axis_b,))
  batched = ((), ())
  return lax.dot_general(
    a,
    b,
    (contracted, batched),
    precision=lax.Precision.HIGHEST if a.dtype == _F32 else None,
    preferred_element_type=_F32,
  )


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
  sizes: _Sizes,
  inputs: Sequence[tuple[jax.Array, str]],
  outputs: Sequence[tuple[DTypeLike, str]],
) -> list[jax.Array]:
  """Run `kernel` over blocks of a few rows of windows, or of a part of one row.

  Args:
    kernel: takes references to the inputs and outputs.
    sizes: sizes of the arrays.
    inputs: (array, kind) pairs, see `_layouts`.
    outputs: (data type, kind) pairs.
  """
  kinds = [(array.dtype, kind) for array, kind in inputs]
  block_rows, block_windows = _block_size(sizes, [*kinds, *outputs])
  layouts = _layouts(sizes, block_rows, block_windows)
  arrays = [array for array, _ in inputs]
  out_shape = []
  for dtype, kind in outputs:
    out_shape.append(jax.ShapeDtypeStruct(layouts[kind].shape, dtype))

  moved = 0
  for array in (*arrays, *out_shape):
    moved += array.size * array.dtype.itemsize
  cost = pl.CostEstimate(
    flops=2 * 4 * math.prod(sizes),
    bytes_accessed=moved,
    transcendentals=0,
  )
  return pl.pallas_call(
    kernel,
    grid=(sizes.rows // block_rows, sizes.windows // block_windows),
    out_shape=out_shape,
    interpret=target_platform() != 'tpu',
    in_specs=[layouts[kind].spec for _, kind in inputs],
    out_specs=[layouts[kind].spec for _, kind in outputs],
    cost_estimate=cost,
  )(*arrays)


def _layouts(sizes: _Sizes, block_rows: int, block_windows: int) -> dict[str, _Layout]:
  """Return the layout of each kind of array.

  - 'map', 'patches': divided into blocks.
  - 'weights', 'shift': every block reads them whole. As an output, every block adds to them.

  Args:
    sizes: sizes of the arrays.
    block_rows: rows per block.
    block_windows: windows of each row per block.
  """
  rows, windows, taps, features = sizes
  map_block = (block_rows, block_windows, features)
  patches_block = (block_rows, taps, block_windows)
  weights_shape = (4, taps, features)
  shift_shape = (1, features)
  map_spec = pl.BlockSpec(map_block, lambda i, j: (i, j, 0))
  patches_spec = pl.BlockSpec(patches_block, lambda i, j: (i, 0, j))
  weights_spec = pl.BlockSpec(weights_shape, lambda i, j: (0, 0, 0))
  shift_spec = pl.BlockSpec(shift_shape, lambda i, j: (0, 0))
  return {
    'map': _Layout((rows, windows, features), map_spec),
    'patches': _Layout((rows, taps, windows), patches_spec),
    'weights': _Layout(weights_shape, weights_spec),
    'shift': _Layout(shift_shape, shift_spec),
  }


def _block_size(sizes: _Sizes, arrays: Sequence[tuple[DTypeLike, str]]) -> tuple[int, int]:
  """Return how many rows and how many windows of each a block has.

  It is the largest number of rows, or else the largest part of one row, that fits the chip.

  Args:
    sizes: sizes of the arrays.
    arrays: (data type, kind) of each array.
  """
  candidates = []
  for rows in (4, 2, 1):
    if sizes.rows % rows == 0:
      candidates.append((rows, sizes.windows))
  for parts in range(2, sizes.windows + 1):
    windows = sizes.windows // parts
    if sizes.windows % parts == 0 and windows % LANES == 0:
      candidates.append((1, windows))

  for rows, windows in candidates:
    # Each array takes its space twice, since the next block is fetched during this one.
    used = 2 * rows * _row_bytes(sizes, windows, arrays)
    if used <= tpu_memory.ON_CHIP_BYTES:
      return rows, windows
  return candidates[-1]


def _row_bytes(sizes: _Sizes, windows: int, arrays: Sequence[tuple[DTypeLike, str]]) -> int:
  """Return the bytes that `windows` windows of one row take in all maps and patches."""
  padded_sizes = {
    'map': windows * round_up(sizes.features, LANES),
    'patches': sizes.taps * round_up(windows, LANES),
  }
  total = 0
  for dtype, kind in arrays:
    if kind in padded_sizes:
      total += jnp.dtype(dtype).itemsize * padded_sizes[kind]
  return total


def _sizes(patches_shape: tuple[int, ...], features: int) -> _Sizes:
  batch, frames, height, width, taps = patches_shape
  return _Sizes(frames * height, width * batch, taps, features)


def _taps_before_windows(patches: jax.Array) -> jax.Array:
  """Transpose [B, T, H, W, K] to [T * H, K, W * B]."""
  batch, frames, height, width, taps = patches.shape
  patches = patches.transpose(1, 2, 4, 3, 0)
  return patches.reshape(frames * height, taps, width * batch)


def _batch_last(x: jax.Array) -> jax.Array:
  """Transpose [B, T, H, W, F] to [T * H, W * B, F]."""
  batch, frames, height, width, features = x.shape
  x = x.transpose(1, 2, 3, 0, 4)
  return x.reshape(frames * height, width * batch, features)


def _batch_first(x: jax.Array, image: tuple[int, ...]) -> jax.Array:
  """Transpose [T * H, W * B, F] to [B, T, H, W, F], where `image` is (B, T, H, W)."""
  batch, frames, height, width = image
  features = x.shape[-1]
  x = x.reshape(frames, height, width, batch, features)
  return x.transpose(3, 0, 1, 2, 4)


def _phases_first(weights: jax.Array) -> jax.Array:
  """Transpose [K, 4, F] to [4, K, F]."""
  return weights.transpose(1, 0, 2)
