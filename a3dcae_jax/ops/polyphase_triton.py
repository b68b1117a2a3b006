"""Products of the polyphase layers as GPU kernels, with the four phases in registers.

XLA writes the four phases of the first layer, 4 x F numbers per window, before it takes their
maximum, and those of the last layer before it multiplies them. In the network `paper` this is half
of all bytes that inference moves. These kernels multiply and reduce, or mask and multiply, a block
of windows in registers.

Maps are [B * T * H * W, F], the layout of maps on GPUs (channels last). Patches are
[K, B * T * H * W]: each of their K rows is a strided copy of the image. With the K = 16 numbers of
a patch side by side, XLA gathers single pixels, at a twentieth of the memory bandwidth.

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

from a3dcae_jax.ops.triton_backend import available, fast_tanh, is_block_size, pallas_options
from a3dcae_jax.ops.window_phases import masked_phases, update_argmax

_F32 = jnp.float32

# Windows per block, so that its accumulators stay in registers; 32 and 128 are as fast.
_BLOCK_WINDOWS = 64

# Largest number of programs of `weight_gradient`, each with a sum of its own. It gives each
# multiprocessor of a card several programs.
_MAX_PROGRAMS = 1024


class _Sizes(NamedTuple):
  """Sizes of the arrays of one kernel.

  Attributes:
    windows: B * T * H * W.
    taps: numbers per patch, K.
    features: F.
  """

  windows: int
  taps: int
  features: int


def fits(windows: int, taps: int, features: int) -> bool:
  """Return whether these kernels can compute a layer.

  `taps` and `features` must be block sizes of Triton's matrix products, and its 32-bit offsets
  must reach the end of the map.

  Args:
    windows: number of windows of the map.
    taps: numbers per patch, K.
    features: F.
  """
  if windows % _BLOCK_WINDOWS or windows * features >= 2**31:
    return False
  return available and is_block_size(taps) and is_block_size(features)


def pool(
  patches: jax.Array,
  weights: jax.Array,
  shift: jax.Array,
  activation: Callable[[jax.Array], jax.Array],
) -> tuple[jax.Array, jax.Array]:
  """Compute a pooled convolution, see `polyphase_xla.pool`."""
  shape = (*patches.shape[:-1], weights.shape[2])
  inputs = [
    (_patch_rows(patches), 'patches'),
    (_phases_first(weights), 'shared'),
    (shift.reshape(1, -1).astype(_F32), 'shared'),
  ]
  kernel = functools.partial(_pool_kernel, activation=fast_tanh(activation, patches.dtype))
  outputs = [(patches.dtype, 'map'), (jnp.uint8, 'map')]
  values, pool_indices = _run(kernel, _sizes(shape, weights), inputs, outputs)
  return values.reshape(shape), pool_indices.reshape(shape)


def gather(patches: jax.Array, weights: jax.Array, pool_indices: jax.Array) -> jax.Array:
  """Compute the recorded phase of a product, see `polyphase_xla.gather`."""
  inputs = [
    (_patch_rows(patches), 'patches'),
    (_window_rows(pool_indices), 'map'),
    (_phases_first(weights), 'shared'),
  ]
  sizes = _sizes(pool_indices.shape, weights)
  (result,) = _run(_gather_kernel, sizes, inputs, [(patches.dtype, 'map')])
  return result.reshape(pool_indices.shape)


def unpool(values: jax.Array, pool_indices: jax.Array, weights: jax.Array) -> jax.Array:
  """Compute the patches of un-pooled values, see `polyphase_xla.unpool`."""
  inputs = [
    (_window_rows(values), 'map'),
    (_window_rows(pool_indices), 'map'),
    (weights.transpose(1, 2, 0), 'shared'),
  ]
  sizes = _sizes(values.shape, weights)
  (result,) = _run(_unpool_kernel, sizes, inputs, [(values.dtype, 'patches')])
  return result.T.reshape(*values.shape[:-1], weights.shape[0])


def weight_gradient(patches: jax.Array, values: jax.Array, pool_indices: jax.Array) -> jax.Array:
  """Compute the gradient of the weights, see `polyphase_xla.weight_gradient`.

  Each program adds up its own blocks; the sums of all programs are added at the end.
  """
  taps = patches.shape[-1]
  features = values.shape[-1]
  windows = values.size // features
  block = math.gcd(windows, _BLOCK_WINDOWS)
  blocks = windows // block
  programs = _largest_divisor(blocks, _MAX_PROGRAMS)
  kernel = functools.partial(_weight_kernel, block=block, blocks=blocks // programs)
  sums = pl.pallas_call(
    kernel,
    grid=(programs,),
    in_specs=[pl.BlockSpec(memory_space=pl.ANY)] * 3,
    out_specs=pl.BlockSpec((1, 4, taps, features), lambda i: (i, 0, 0, 0)),
    out_shape=jax.ShapeDtypeStruct((programs, 4, taps, features), _F32),
    **pallas_options(),
  )(_patch_rows(patches), _window_rows(values), _window_rows(pool_indices))
  return sums.sum(0).transpose(1, 0, 2)


def _largest_divisor(number: int, limit: int) -> int:
  for divisor in range(min(number, limit), 1, -1):
    if number % divisor == 0:
      return divisor
  return 1


def _pool_kernel(
  patches_ref, weights_ref, shift_ref, values_ref, indices_ref, *, activation
) -> None:
  patches = patches_ref[...].T
  best = None
  for index in range(4):
    best = update_argmax(best, _dot(patches, weights_ref[index]), index)
  maximum, indices = best
  values_ref[...] = activation(maximum + shift_ref[...]).astype(values_ref.dtype)
  indices_ref[...] = indices.astype(jnp.uint8)


def _gather_kernel(patches_ref, indices_ref, weights_ref, out_ref) -> None:
  patches = patches_ref[...].T
  indices = indices_ref[...].astype(jnp.int32)
  total = 0.0
  for index in range(4):
    recorded = indices == index
    phase = _dot(patches, weights_ref[index])
    total += jnp.where(recorded, phase, 0.0)
  out_ref[...] = total.astype(out_ref.dtype)


def _unpool_kernel(values_ref, indices_ref, weights_ref, out_ref) -> None:
  total = 0.0
  for index, phase in enumerate(masked_phases(values_ref[...], indices_ref[...])):
    total += _dot(phase, weights_ref[index])
  out_ref[...] = total.astype(out_ref.dtype).T


def _weight_kernel(
  patches_ref, values_ref, indices_ref, out_ref, *, block: int, blocks: int
) -> None:
  first = pl.program_id(0) * blocks

  def add_block(number, totals):
    windows = pl.ds((first + number) * block, block)
    patches = patches_ref[:, windows]
    phases = masked_phases(values_ref[windows, :], indices_ref[windows, :])
    return tuple(total + _dot(patches, phase) for total, phase in zip(totals, phases, strict=True))

  zeros = (jnp.zeros(out_ref.shape[2:], _F32),) * 4
  totals = lax.fori_loop(0, blocks, add_block, zeros)
  for index, total in enumerate(totals):
    out_ref[0, index] = total


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
  precision = lax.Precision.HIGHEST if a.dtype == _F32 else None
  return jnp.dot(a, b, precision=precision, preferred_element_type=_F32)


def _run(
  kernel: Callable[..., None],
  sizes: _Sizes,
  inputs: Sequence[tuple[jax.Array, str]],
  outputs: Sequence[tuple[DTypeLike, str]],
) -> list[jax.Array]:
  """Run `kernel` over blocks of windows.

  Kinds of arrays:

  - 'map' [windows, F] and 'patches' [K, windows], divided into blocks;
  - 'shared', which every block reads whole.

  Args:
    kernel: takes references to the inputs and outputs.
    sizes: of the arrays.
    inputs: (array, kind) pairs.
    outputs: (data type, kind) pairs.
  """
  windows, taps, features = sizes
  shapes = {'map': (windows, features), 'patches': (taps, windows)}
  block = math.gcd(windows, _BLOCK_WINDOWS)
  specs = {
    'map': pl.BlockSpec((block, features), lambda i: (i, 0)),
    'patches': pl.BlockSpec((taps, block), lambda i: (0, i)),
  }
  in_specs = []
  for array, kind in inputs:
    if kind == 'shared':
      in_specs.append(_whole(array))
    else:
      in_specs.append(specs[kind])
  return pl.pallas_call(
    kernel,
    grid=(windows // block,),
    out_shape=[jax.ShapeDtypeStruct(shapes[kind], dtype) for dtype, kind in outputs],
    in_specs=in_specs,
    out_specs=[specs[kind] for _, kind in outputs],
    **pallas_options(),
  )(*(array for array, _ in inputs))


def _whole(array: jax.Array) -> pl.BlockSpec:
  """Return the block of an array that every program reads whole."""
  return pl.BlockSpec(array.shape, lambda i: (0,) * array.ndim)


def _sizes(map_shape: tuple[int, ...], weights: jax.Array) -> _Sizes:
  taps, _, features = weights.shape
  return _Sizes(math.prod(map_shape[:-1]), taps, features)


def _window_rows(x: jax.Array) -> jax.Array:
  """Reshape [B, T, H, W, F] to [windows, F]."""
  return x.reshape(-1, x.shape[-1])


def _patch_rows(patches: jax.Array) -> jax.Array:
  """Transpose [B, T, H, W, K] to [K, windows]."""
  return jnp.moveaxis(patches, -1, 0).reshape(patches.shape[-1], -1)


def _phases_first(weights: jax.Array) -> jax.Array:
  """Transpose [K, 4, F] to [4, K, F]."""
  return weights.transpose(1, 0, 2)
