"""Choice of the algorithm that computes a 3D convolution on each platform.

All algorithms give the same numbers up to rounding:

- `direct`: one 3D convolution. Best on GPUs and TPUs, whose libraries tile it well.
- `adjoint`: the same, but the gradient of the kernel is computed from the adjoint convolution.
  cuDNN computes the gradient of a convolution to fewer channels 2.5 times as fast that way
  (128 -> 64 channels at 16x112x112, batch 32, bfloat16, H200: 4.3 ms instead of 11.2 ms).
- `folded`: the time taps of the kernel are concatenated in the channels, then one 2D convolution
  does the rest.
- `summed`: one 2D convolution per time tap, then a sum. It makes no folded copy, so it is better
  for few output channels.
- `winograd`: minimal filtering along time (`ops.winograd`) with 2D convolutions. It needs a half to
  two thirds of the products.

The CPU back end of XLA runs 3D convolutions at a quarter to a half of the rate of 2D ones, which
have a tuned kernel. Measured on 2 cores, float32, batch 4, in GFLOP/s (FLOPs of the direct method):

| channels   | map      | direct | folded | summed | winograd |
| ---------- | -------- | ------ | ------ | ------ | -------- |
| 16 -> 32   | 16x56x56 | 56     | 195    | 111    | 362      |
| 32 -> 64   | 8x28x28  | 102    | 211    | 276    | 403      |
| 64 -> 128  | 4x14x14  | 173    | 417    | 286    | 426      |
| 64 -> 32   | 8x28x28  | 56     | 179    | 195    | 348      |
| 32 -> 16   | 16x56x56 | 29     | 60     | 93     | 277      |
"""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

CONV_ALGORITHMS = ('direct', 'adjoint', 'folded', 'summed', 'winograd')

Tree = TypeVar('Tree')

_PLATFORM = contextvars.ContextVar('platform', default=None)


@contextlib.contextmanager
def tracing_for(platform: str | None) -> Iterator[None]:
  """Trace programs for `platform`, although JAX runs on another one.

  Programs that are compiled ahead of time or moved to another machine are traced inside this
  context.

  Args:
    platform: 'tpu', 'gpu' or 'cpu'; 'accelerator' for a program that runs on GPUs and TPUs:
      bfloat16 and direct convolutions, but the special kernels of neither; None for the platform
      that JAX runs on.
  """
  token = _PLATFORM.set(platform)
  try:
    yield
  finally:
    _PLATFORM.reset(token)


def target_platform() -> str:
  """Return the platform that programs are traced for.

  It is the platform of the enclosing `tracing_for`, otherwise the one that JAX runs on.
  """
  return _PLATFORM.get() or jax.default_backend()


def choose_conv_algorithm(
  kernel_shape: Sequence[int],
  frames: int,
  dtype: DTypeLike,
  platform: str | None = None,
) -> str:
  """Return the fastest algorithm for a convolution.

  Args:
    kernel_shape: (kt, kh, kw, Cin, Cout).
    frames: T of the input.
    dtype: data type of the input.
    platform: None for `target_platform()`.
  """
  platform = platform or target_platform()
  taps, _, _, features_in, features_out = kernel_shape
  narrowing = features_out < features_in
  if platform == 'gpu' and narrowing:
    return 'adjoint'
  if platform != 'cpu':
    return 'direct'
  if taps == 1:
    # With a single tap nothing is folded: this is a plain 2D convolution.
    return 'folded'
  if dtype == jnp.float32 and taps == 3 and frames % 2 == 0:
    # The transforms lose two bits, which bfloat16 cannot spare.
    return 'winograd'
  if narrowing and features_out <= 32:
    return 'summed'
  return 'folded'


def materialise(x: Tree) -> Tree:
  """Make CPUs write `x`, and the gradient that comes back to it, to memory once.

  Otherwise the CPU back end of XLA fuses whole chains (normalisation, tanh, pooling) into each of
  their readers, computes them again for every output element, and reads them in the strides of a
  matrix product. The barrier is kept only if the XLA pass `cse_barrier_expander` is off, see
  `common.tuning`; otherwise numbers are the same and programs are slower.

  Args:
    x: any tree of arrays.

  Returns:
    `x`, unchanged on other platforms.
  """
  if target_platform() != 'cpu':
    return x
  return _barrier(x)


def split_batch(x: jax.Array) -> list[jax.Array]:
  """Split an even batch into two halves on CPUs.

  The CPU back end of XLA runs operations in parallel only while more than 8 are ready, and in
  jax 0.10 each of its convolutions runs on one core. Minimal filtering has 6 products, which is
  too few; two halves have enough. In jax 0.12, where a convolution uses all cores, splitting
  changes nothing.

  Returns:
    Both halves. A list of `x` alone on other platforms, or if the batch size is odd or symbolic.
  """
  batch = x.shape[0]
  if target_platform() != 'cpu' or not isinstance(batch, int) or batch % 2:
    return [x]
  return jax.lax.split(x, [batch // 2] * 2)


def keep_operands(results: Tree, operands: Any) -> Tree:
  """Keep `operands` in memory until all of `results` are computed, on CPUs.

  Otherwise the CPU back end of XLA writes the second result over the operand of the first. The
  second then has to wait for the first, the third for the second, and one core works although
  the results do not depend on each other.

  Args:
    results: tree of arrays that do not depend on each other.
    operands: tree of the arrays they are computed from.

  Returns:
    `results`.
  """
  if target_platform() != 'cpu':
    return results
  results, _ = jax.lax.optimization_barrier((results, operands))
  return results


@jax.custom_vjp
def _barrier(x: Tree) -> Tree:
  return jax.lax.optimization_barrier(x)


def _barrier_fwd(x: Tree) -> tuple[Tree, None]:
  return _barrier(x), None


def _barrier_bwd(_: None, cotangent: Tree) -> tuple[Tree]:
  leaves, structure = jax.tree.flatten(cotangent)
  # The cotangents of integers have the data type float0, which no operation takes.
  indices = []
  floats = []
  for index, leaf in enumerate(leaves):
    if leaf.dtype != jax.dtypes.float0:
      indices.append(index)
      floats.append(leaf)
  held = jax.lax.optimization_barrier(floats)
  for index, leaf in zip(indices, held, strict=True):
    leaves[index] = leaf
  return (jax.tree.unflatten(structure, leaves),)


_barrier.defvjp(_barrier_fwd, _barrier_bwd)
