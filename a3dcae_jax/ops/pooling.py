"""Max-pooling that records the position of each maximum, and un-pooling.

A pool index is the position of a maximum within its window, in row-major order:

    pool_indices[...] = (i * ph + j) * pw + k   for the maximum at offset (i, j, k)

It takes one byte. Other libraries record a flat index into the whole volume, which takes four bytes
and needs a global scatter. With indices within the window, both directions are a select: un-pooling
copies each value to all positions of its window and keeps it at one, and its gradient reads from
that one. Pooling and un-pooling are each other's transpose.

Three implementations have the same functions `pool`, `unpool` and `gather`: `pooling_xla` for every
platform, `pooling_pallas` for TPUs, `pooling_triton` for GPUs.
"""

import functools
import math
from collections.abc import Sequence

import jax

from a3dcae_jax.ops import pooling_pallas, pooling_triton, pooling_xla
from a3dcae_jax.ops.conv_algorithm import target_platform
from a3dcae_jax.ops.shapes import check_divisible, check_rank

IMPLEMENTATIONS = {'xla': pooling_xla, 'pallas': pooling_pallas, 'triton': pooling_triton}

Window = tuple[int, ...]


def max_pool3d_argmax(
  x: jax.Array, window: Sequence[int], implementation: str | None = None
) -> tuple[jax.Array, jax.Array]:
  """Compute the maximum over disjoint windows, and its position in the window.

      values[b, t, h, w, c] = max over (i, j, k) of x[b, t*pt + i, h*ph + j, w*pw + k, c]

  The gradient of the values is passed to the recorded positions. Pool indices have no gradient.

  Args:
    x: [B, T, H, W, C], floating point; the window divides T, H and W.
    window: static (pt, ph, pw), at most 256 positions.
    implementation: one of `IMPLEMENTATIONS`; None chooses by platform.

  Returns:
    Values [B, T/pt, H/ph, W/pw, C] in the data type of `x`, and pool indices of the same shape in
    uint8. Among equal maxima the first in row-major order wins, as in PyTorch; a NaN wins over
    every number.

  Raises:
    ValueError: naming the axis that the window does not divide.
  """
  check_window('max_pool3d_argmax', x, window)
  implementation = implementation or implementation_for(x.shape)
  return _pool(x, tuple(window), implementation)


def max_pool3d_moments(
  x: jax.Array, window: Sequence[int], implementation: str | None = None
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """Compute `max_pool3d_argmax` and the moments of `x` in one pass over `x`.

  The moments are those of the batch normalisation that follows.

  Args:
    x: as in `max_pool3d_argmax`.
    window: as in `max_pool3d_argmax`.
    implementation: as in `max_pool3d_argmax`.

  Returns:
    Values, pool indices, mean [C] and mean square [C]. Moments are float32, over B, T, H and W.
  """
  check_window('max_pool3d_moments', x, window)
  implementation = implementation or implementation_for(x.shape)
  values, pool_indices, total, squares = _pool_sums(x, tuple(window), implementation)
  count = x.size // x.shape[-1]
  return values, pool_indices, total / count, squares / count


def max_unpool3d(
  values: jax.Array,
  pool_indices: jax.Array,
  window: Sequence[int],
  implementation: str | None = None,
) -> jax.Array:
  """Put each value at its recorded position in its window, and zero elsewhere.

      y[b, t*pt + i, h*ph + j, w*pw + k, c] =
          values[b, t, h, w, c] if pool_indices[b, t, h, w, c] = (i*ph + j)*pw + k, else 0

  The gradient is the cotangent, gathered at `pool_indices`.

  Args:
    values: [B, T, H, W, C], floating point.
    pool_indices: uint8 [B, T, H, W, C], from `max_pool3d_argmax`; zeros put every value at the
      upper left of its window.
    window: static (pt, ph, pw).
    implementation: as in `max_pool3d_argmax`.

  Returns:
    [B, T*pt, H*ph, W*pw, C], data type of `values`.

  Raises:
    ValueError: naming both shapes if they differ.

  Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 2.1; Sun et al. 2021, sec. III-B.
  """
  check_rank('max_unpool3d: values', values, 'BTHWC')
  if values.shape != pool_indices.shape:
    raise ValueError(
      f'max_unpool3d: values {values.shape} and pool_indices {pool_indices.shape} '
      'must have the same shape'
    )
  implementation = implementation or implementation_for(values.shape)
  return _unpool(values, pool_indices, tuple(window), implementation)


def gather_pooled(
  x: jax.Array,
  pool_indices: jax.Array,
  window: Sequence[int],
  implementation: str | None = None,
) -> jax.Array:
  """Read one value per window at its recorded position: transpose of `max_unpool3d`.

  Args:
    x: [B, T*pt, H*ph, W*pw, C].
    pool_indices: uint8 [B, T, H, W, C].
    window: static (pt, ph, pw).
    implementation: as in `max_pool3d_argmax`.

  Returns:
    [B, T, H, W, C], data type of `x`.
  """
  implementation = implementation or implementation_for(pool_indices.shape)
  return IMPLEMENTATIONS[implementation].gather(x, pool_indices, tuple(window))


def check_window(name: str, x: jax.Array, window: Sequence[int]) -> None:
  """Check that `x` can be pooled by `window`.

  Args:
    name: name of the operation for the error message.
    x: the array to pool.
    window: (pt, ph, pw).

  Raises:
    ValueError: if it cannot.
  """
  check_rank(f'{name}: x', x, 'BTHWC')
  check_divisible(name, x, window)
  positions = math.prod(window)
  if positions > 256:
    raise ValueError(
      f'{name}: window {tuple(window)} has {positions} positions; a pool index holds at most 256'
    )


def implementation_for(shape: Sequence[int]) -> str:
  """Return the name of the implementation for a map on `target_platform()`.

  Args:
    shape: [B, T, H, W, C] of the map, pooled or not.
  """
  platform = target_platform()
  if platform == 'gpu' and pooling_triton.fits(shape):
    return 'triton'
  if platform == 'tpu':
    return 'pallas'
  return 'xla'


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _pool(x: jax.Array, window: Window, implementation: str) -> tuple[jax.Array, jax.Array]:
  return IMPLEMENTATIONS[implementation].pool(x, window, x.dtype)


def _pool_fwd(
  x: jax.Array, window: Window, implementation: str
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
  values, pool_indices = _pool(x, window, implementation)
  return (values, pool_indices), pool_indices


def _pool_bwd(
  window: Window,
  implementation: str,
  pool_indices: jax.Array,
  cotangents: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array]:
  values_grad, _ = cotangents
  unpool = IMPLEMENTATIONS[implementation].unpool
  x_grad = unpool(values_grad, pool_indices, window)
  return (x_grad,)


_pool.defvjp(_pool_fwd, _pool_bwd)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _pool_sums(x: jax.Array, window: Window, implementation: str) -> tuple[jax.Array, ...]:
  return IMPLEMENTATIONS[implementation].pool(x, window, x.dtype, sums=True)


def _pool_sums_fwd(
  x: jax.Array, window: Window, implementation: str
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, jax.Array]]:
  results = _pool_sums(x, window, implementation)
  _, pool_indices, _, _ = results
  return results, (x, pool_indices)


def _pool_sums_bwd(
  window: Window,
  implementation: str,
  residuals: tuple[jax.Array, jax.Array],
  cotangents: tuple[jax.Array, ...],
) -> tuple[jax.Array]:
  """Add the gradients of both sums to the un-pooled cotangent in the same pass.

  The derivative of a sum with respect to x is 1, that of a sum of squares is 2 x.
  """
  x, pool_indices = residuals
  values_grad, _, total_grad, squares_grad = cotangents
  affine = (x, total_grad, 2 * squares_grad)
  unpool = IMPLEMENTATIONS[implementation].unpool
  x_grad = unpool(values_grad, pool_indices, window, affine=affine)
  return (x_grad,)


_pool_sums.defvjp(_pool_sums_fwd, _pool_sums_bwd)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _unpool(
  values: jax.Array, pool_indices: jax.Array, window: Window, implementation: str
) -> jax.Array:
  return IMPLEMENTATIONS[implementation].unpool(values, pool_indices, window)


def _unpool_fwd(
  values: jax.Array, pool_indices: jax.Array, window: Window, implementation: str
) -> tuple[jax.Array, jax.Array]:
  return _unpool(values, pool_indices, window, implementation), pool_indices


def _unpool_bwd(
  window: Window, implementation: str, pool_indices: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array, None]:
  values_grad = gather_pooled(cotangent, pool_indices, window, implementation)
  return values_grad, None


_unpool.defvjp(_unpool_fwd, _unpool_bwd)
