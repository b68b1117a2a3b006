"""Products of the polyphase layers as TPU kernels, with the four phases in registers.

XLA writes the four phases of the first layer, 4 x F numbers per window, before it takes their
maximum, and those of the last layer before it multiplies them. These kernels multiply and reduce,
or mask and multiply, a row of windows in registers.

Maps are [T * H, W * B, F]: one matrix per row of windows, in the order [T, H, W, B, F] that XLA
gives the maps of its convolutions. Patches are [T * H, K, W * B], so that their K = 16 numbers do
not take the 128 lanes of a register.

`ops.polyphase` explains the layers. On other platforms kernels are interpreted, for tests.
"""

import functools
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
  inputs = [
    (_taps_before_windows(patches), 'patches'),
    (_phases_first(weights), 'weights'),
    (shift.reshape(1, -1).astype(_F32), 'shift'),
  ]
  kernel = functools.partial(_pool_kernel, activation=activation)
  sizes = _sizes(patches.shape, weights.shape[2])
  outputs = [(patches.dtype, 'map'), (jnp.uint8, 'map')]
  values, pool_indices = _run(kernel, sizes, inputs, outputs)
  image = patches.shape[:4]
  return _batch_first(values, image), _batch_first(pool_indices, image)


def gather(patches: jax.Array, weights: jax.Array, pool_indices: jax.Array) -> jax.Array:
  """Compute the recorded phase of a product, see `polyphase_xla.gather`."""
  inputs = [
    (_taps_before_windows(patches), 'patches'),
    (_batch_last(pool_indices), 'map'),
    (_phases_first(weights), 'weights'),
  ]
  sizes = _sizes(patches.shape, weights.shape[2])
  (result,) = _run(_gather_kernel, sizes, inputs, [(patches.dtype, 'map')])
  return _batch_first(result, patches.shape[:4])


def unpool(values: jax.Array, pool_indices: jax.Array, weights: jax.Array) -> jax.Array:
  """Compute the patches of un-pooled values, see `polyphase_xla.unpool`."""
  inputs = [
    (_batch_last(values), 'map'),
    (_batch_last(pool_indices), 'map'),
    (_phases_first(weights), 'weights'),
  ]
  batch, frames, height, width, features = values.shape
  taps = weights.shape[0]
  sizes = _sizes((batch, frames, height, width, taps), features)
  (result,) = _run(_unpool_kernel, sizes, inputs, [(values.dtype, 'patches')])
  return result.reshape(frames, height, taps, width, batch).transpose(4, 0, 1, 3, 2)


def weight_gradient(patches: jax.Array, values: jax.Array, pool_indices: jax.Array) -> jax.Array:
  """Compute the gradient of the weights, see `polyphase_xla.weight_gradient`."""
  inputs = [
    (_taps_before_windows(patches), 'patches'),
    (_batch_last(values), 'map'),
    (_batch_last(pool_indices), 'map'),
  ]
  sizes = _sizes(patches.shape, values.shape[-1])
  (result,) = _run(_weight_kernel, sizes, inputs, [(_F32, 'weights')])
  return result.transpose(1, 0, 2)


def _pool_kernel(
  patches_ref, weights_ref, shift_ref, values_ref, indices_ref, *, activation
) -> None:
  for row in range(patches_ref.shape[0]):
    best = None
    for index in range(4):
      phase = _dot(patches_ref[row], weights_ref[index], 0, 0)
      best = update_argmax(best, phase, index)
    maximum, indices = best
    values_ref[row] = activation(maximum + shift_ref[...]).astype(values_ref.dtype)
    indices_ref[row] = indices.astype(jnp.uint8)


def _gather_kernel(patches_ref, indices_ref, weights_ref, out_ref) -> None:
  for row in range(patches_ref.shape[0]):
    indices = indices_ref[row].astype(jnp.int32)
    total = 0.0
    for index in range(4):
      recorded = indices == index
      phase = _dot(patches_ref[row], weights_ref[index], 0, 0)
      total += jnp.where(recorded, phase, 0.0)
    out_ref[row] = total.astype(out_ref.dtype)


def _unpool_kernel(values_ref, indices_ref, weights_ref, out_ref) -> None:
  for row in range(values_ref.shape[0]):
    total = 0.0
    for index, phase in enumerate(masked_phases(values_ref[row], indices_ref[row])):
      total += _dot(weights_ref[index], phase, 1, 1)
    out_ref[row] = total.astype(out_ref.dtype)


def _weight_kernel(patches_ref, values_ref, indices_ref, out_ref) -> None:
  # The output stays on chip over the whole grid.
  @pl.when((pl.program_id(0) == 0) & (pl.program_id(1) == 0))
  def _():
    out_ref[...] = jnp.zeros(out_ref.shape, _F32)

  for row in range(values_ref.shape[0]):
    for index, phase in enumerate(masked_phases(values_ref[row], indices_ref[row])):
      out_ref[index] += _dot(patches_ref[row], phase, 1, 0)


def _dot(a: jax.Array, b: jax.Array, axis_a: int, axis_b: int) -> jax.Array:
  """Multiply two matrices, summing over the given axis of each."""
  precision = lax.Precision.HIGHEST if a.dtype == _F32 else None
  dimensions = (((axis_a,), (axis_b,)), ((), ()))
  return lax.dot_general(a, b, dimensions, precision=precision, preferred_element_type=_F32)


def _run(
  kernel: Callable[..., None],
  sizes: _Sizes,
  inputs: Sequence[tuple[jax.Array, str]],
  outputs: Sequence[tuple[DTypeLike, str]],
) -> list[jax.Array]:
  """Run `kernel` over blocks of a few rows of windows, or of a part of one row.

  Kinds of arrays:

  - 'map' [rows, windows, F] and 'patches' [rows, K, windows], divided into blocks;
  - 'weights' [4, K, F] and 'shift' [1, F], which every block reads whole. As an output, every block
    adds to it.

  Args:
    kernel: takes references to the inputs and outputs.
    sizes: of the arrays.
    inputs: (array, kind) pairs.
    outputs: (data type, kind) pairs.
  """
  rows, windows, taps, features = sizes
  shapes = {
    'map': (rows, windows, features),
    'patches': (rows, taps, windows),
    'weights': (4, taps, features),
    'shift': (1, features),
  }
  blocked = [(array.dtype, kind) for array, kind in inputs]
  blocked += [(dtype, kind) for dtype, kind in outputs]
  block_rows, block_windows = _block_size(sizes, blocked)
  specs = {
    'map': pl.BlockSpec((block_rows, block_windows, features), lambda i, j: (i, j, 0)),
    'patches': pl.BlockSpec((block_rows, taps, block_windows), lambda i, j: (i, 0, j)),
    'weights': pl.BlockSpec(shapes['weights'], lambda i, j: (0, 0, 0)),
    'shift': pl.BlockSpec(shapes['shift'], lambda i, j: (0, 0)),
  }
  arrays = [array for array, _ in inputs]
  out_shape = [jax.ShapeDtypeStruct(shapes[kind], dtype) for dtype, kind in outputs]
  moved = sum(array.size * array.dtype.itemsize for array in (*arrays, *out_shape))
  flops = 2 * 4 * rows * windows * taps * features
  return pl.pallas_call(
    kernel,
    grid=(rows // block_rows, windows // block_windows),
    out_shape=out_shape,
    interpret=target_platform() != 'tpu',
    in_specs=[specs[kind] for _, kind in inputs],
    out_specs=[specs[kind] for _, kind in outputs],
    cost_estimate=pl.CostEstimate(flops=flops, bytes_accessed=moved, transcendentals=0),
  )(*arrays)


def _block_size(sizes: _Sizes, arrays: Sequence[tuple[DTypeLike, str]]) -> tuple[int, int]:
  """Return how many rows and how many windows of each a block has.

  It is the largest number of rows, or else the largest part of one row, that fits the chip.

  Args:
    sizes: of the arrays.
    arrays: (data type, kind) of each array. Maps and patches take their space twice.
  """
  candidates = [(rows, sizes.windows) for rows in (4, 2, 1) if sizes.rows % rows == 0]
  for parts in range(2, sizes.windows + 1):
    windows = sizes.windows // parts
    if sizes.windows % parts == 0 and windows % LANES == 0:
      candidates.append((1, windows))
  for rows, windows in candidates:
    padded_sizes = {
      'map': windows * round_up(sizes.features, LANES),
      'patches': sizes.taps * round_up(windows, LANES),
    }
    row_bytes = 0
    for dtype, kind in arrays:
      row_bytes += jnp.dtype(dtype).itemsize * padded_sizes.get(kind, 0)
    if 2 * rows * row_bytes <= tpu_memory.ON_CHIP_BYTES:
      return rows, windows
  return candidates[-1]


def _sizes(patches_shape: tuple[int, ...], features: int) -> _Sizes:
  batch, frames, height, width, taps = patches_shape
  return _Sizes(frames * height, width * batch, taps, features)


def _taps_before_windows(patches: jax.Array) -> jax.Array:
  """Transpose [B, T, H, W, K] to [T * H, K, W * B]."""
  batch, frames, height, width, taps = patches.shape
  return patches.transpose(1, 2, 4, 3, 0).reshape(frames * height, taps, width * batch)


def _batch_last(x: jax.Array) -> jax.Array:
  """Transpose [B, T, H, W, F] to [T * H, W * B, F]."""
  batch, frames, height, width, features = x.shape
  return x.transpose(1, 2, 3, 0, 4).reshape(frames * height, width * batch, features)


def _batch_first(x: jax.Array, image: tuple[int, ...]) -> jax.Array:
  """Transpose [T * H, W * B, F] to [B, T, H, W, F], where `image` is (B, T, H, W)."""
  batch, frames, height, width = image
  return x.reshape(frames, height, width, batch, x.shape[-1]).transpose(3, 0, 1, 2, 4)


def _phases_first(weights: jax.Array) -> jax.Array:
  """Transpose [K, 4, F] to [4, K, F]."""
  return weights.transpose(1, 0, 2)
