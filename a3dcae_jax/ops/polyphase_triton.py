"""Products of the polyphase layers as GPU kernels, with phases in registers.

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

# Largest number of programs of `weight_gradient`, each with a sum of its own. Each multiprocessor
# of a GPU then has several programs.
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

  @classmethod
  def of(cls, map_shape: tuple[int, ...], taps: int) -> '_Sizes':
    """Return the sizes for a map [B, T, H, W, F] and patches of K = `taps` numbers."""
    *image, features = map_shape
    return cls(math.prod(image), taps, features)


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
  taps, _, features = weights.shape
  shape = (*patches.shape[:-1], features)
  inputs = [
    (_patch_rows(patches), 'patches'),
    (_phases_first(weights), 'shared'),
    (shift.reshape(1, -1).astype(_F32), 'shared'),
  ]
  outputs = [(patches.dtype, 'map'), (jnp.uint8, 'map')]
  activation = fast_tanh(activation, patches.dtype)
  kernel = functools.partial(_pool_kernel, activation=activation)
  results = _run(kernel, _Sizes.of(shape, taps), inputs, outputs)
  values, pool_indices = results
  return values.reshape(shape), pool_indices.reshape(shape)


def gather(patches: jax.Array, weights: jax.Array, pool_indices: jax.Array) -> jax.Array:
  """Compute the recorded phase of a product, see `polyphase_xla.gather`."""
  shape = pool_indices.shape
  inputs = [
    (_patch_rows(patches), 'patches'),
    (_window_rows(pool_indices), 'map'),
    (_phases_first(weights), 'shared'),
  ]
  outputs = [(patches.dtype, 'map')]
  sizes = _Sizes.of(shape, weights.shape[0])
  (result,) = _run(_gather_kernel, sizes, inputs, outputs)
  return result.reshape(shape)


def unpool(values: jax.Array, pool_indices: jax.Array, weights: jax.Array) -> jax.Array:
  """Compute the patches of un-pooled values, see `polyphase_xla.unpool`."""
  taps = weights.shape[0]
  inputs = [
    (_window_rows(values), 'map'),
    (_window_rows(pool_indices), 'map'),
    (weights.transpose(1, 2, 0), 'shared'),
  ]
  outputs = [(values.dtype, 'patches')]
  sizes = _Sizes.of(values.shape, taps)
  (result,) = _run(_unpool_kernel, sizes, inputs, outputs)
  return result.T.reshape(*values.shape[:-1], taps)


def weight_gradient(patches: jax.Array, values: jax.Array, pool_indices: jax.Array) -> jax.Array:
  """Compute the gradient of the weights, see `polyphase_xla.weight_gradient`.

  Each program adds up its own blocks; the sums of all programs are added at the end.
  """
  windows, taps, features = _Sizes.of(values.shape, patches.shape[-1])
  block = math.gcd(windows, _BLOCK_WINDOWS)
  blocks = windows // block
  programs = _largest_divisor(blocks, _MAX_PROGRAMS)
  kernel = functools.partial(
    _weight_kernel,
    block=block,
    blocks=blocks // programs,
  )
  sums_block = (1, 4, taps, features)
  sums_shape = (programs, 4, taps, features)
  sums = pl.pallas_call(
    kernel,
    grid=(programs,),
    in_specs=[pl.BlockSpec(memory_space=pl.ANY)] * 3,
    out_specs=pl.BlockSpec(sums_block, lambda i: (i, 0, 0, 0)),
    out_shape=jax.ShapeDtypeStruct(sums_shape, _F32),
    **pallas_options(),
  )(
    _patch_rows(patches),
    _window_rows(values),
    _window_rows(pool_indices),
  )
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
    phase = _dot(patches, weights_ref[index])
    best = update_argmax(best, phase, index)
  maximum, indices = best
  values = activation(maximum + shift_ref[...])
  values_ref[...] = values.astype(values_ref.dtype)
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
  phases = masked_phases(values_ref[...], indices_ref[...])
  total = 0.0
  for index, phase in enumerate(phases):
    total += _dot(phase, weights_ref[index])
  out_ref[...] = total.astype(out_ref.dtype).T


def _weight_kernel(
  patches_ref, values_ref, indices_ref, out_ref, *, block: int, blocks: int
) -> None:
  first = pl.program_id(0) * blocks

  def add_block(number, totals):
    windows = pl.ds((first + number) * block, block)
    patches = patches_ref[:, windows]
    values = values_ref[windows, :]
    indices = indices_ref[windows, :]
    phases = masked_phases(values, indices)
    added = []
    for total, phase in zip(totals, phases, strict=True):
      added.append(total + _dot(patches, phase))
    return tuple(added)

  zeros = jnp.zeros(out_ref.shape[2:], _F32)
  totals = lax.fori_loop(0, blocks, add_block, (zeros,) * 4)
  for index, total in enumerate(totals):
    out_ref[0, index] = total


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
  return jnp.dot(
    a,
    b,
    precision=lax.Precision.HIGHEST if a.dtype == _F32 else None,
    preferred_element_type=_F32,
  )


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
    sizes: sizes of the arrays.
    inputs: (array, kind) pairs.
    outputs: (data type, kind) pairs.
  """
  windows, taps, features = sizes
  block = math.gcd(windows, _BLOCK_WINDOWS)
  shapes = {'map': (windows, features), 'patches': (taps, windows)}
  specs = {
    'map': pl.BlockSpec((block, features), lambda i: (i, 0)),
    'patches': pl.BlockSpec((taps, block), lambda i: (0, i)),
  }
  in_specs = []
  for array, kind in inputs:
    spec = _whole(array) if kind == 'shared' else specs[kind]
    in_specs.append(spec)
  out_shape = []
  for dtype, kind in outputs:
    out_shape.append(jax.ShapeDtypeStruct(shapes[kind], dtype))
  arrays = [array for array, _ in inputs]

  return pl.pallas_call(
    kernel,
    grid=(windows // block,),
    out_shape=out_shape,
    in_specs=in_specs,
    out_specs=[specs[kind] for _, kind in outputs],
    **pallas_options(),
  )(*arrays)


def _whole(array: jax.Array) -> pl.BlockSpec:
  """Return the block of an array that every program reads whole."""
  origin = (0,) * array.ndim
  return pl.BlockSpec(array.shape, lambda i: origin)


def _window_rows(x: jax.Array) -> jax.Array:
  """Reshape [B, T, H, W, F] to [windows, F]."""
  return x.reshape(-1, x.shape[-1])


def _patch_rows(patches: jax.Array) -> jax.Array:
  """Transpose [B, T, H, W, K] to [K, windows]."""
  taps = patches.shape[-1]
  planes = jnp.moveaxis(patches, -1, 0)
  return planes.reshape(taps, -1)


def _phases_first(weights: jax.Array) -> jax.Array:
  """Transpose [K, 4, F] to [4, K, F]."""
  return weights.transpose(1, 0, 2)
