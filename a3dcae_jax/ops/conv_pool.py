"""Convolution and pool of 16-bit operands, without rounding before the pool.

Rounding to bfloat16, which has 8 bits, makes neighbours in a flat map equal. The first of them then
wins the pool, and the decoder un-pools at its position. Wrong pool indices change the ranking of
frames; the rounding of the values themselves does not. So the pool reads the sums of the
convolution in float32, before they are rounded.

On GPUs, XLA computes only 16-bit results from 16-bit operands. For float32 results it converts the
operands first and runs at half the rate of the tensor cores. So on GPUs the sums are float16, which
has 11 bits, and each input channel has a constant r, its centre, subtracted first:

    conv(x) = conv(x - r) + c,   c = sum over taps and input channels of kernel r

The padding is -r, so that c is the same at every position. Values near the centre become small, and
small values are hardly rounded.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from a3dcae_jax.ops.conv3d import conv3d, correlate, same_pads
from a3dcae_jax.ops.conv_algorithm import target_platform
from a3dcae_jax.ops.pooling import (
  IMPLEMENTATIONS,
  check_window,
  implementation_for,
  max_pool3d_argmax,
  max_pool3d_moments,
)

_F32 = jnp.float32

Moments = tuple[jax.Array, jax.Array]


class _Options(NamedTuple):
  """The static arguments of `conv_pool3d`."""

  window: tuple[int, ...]
  moments: bool
  conv_algorithm: str
  implementation: str


def conv_pool3d(
  x: jax.Array,
  kernel: jax.Array,
  window: Sequence[int],
  *,
  moments: bool = False,
  centre: jax.Array | None = None,
  conv_algorithm: str = 'auto',
  implementation: str | None = None,
) -> tuple[jax.Array, jax.Array, Moments | None]:
  """Compute `max_pool3d_argmax(conv3d(x, kernel), window)`, pooled before rounding.

  The gradient is computed in the data type of `x`.

  Args:
    x: [B, T, H, W, Cin], float32 or bfloat16.
    kernel: float32 [kt, kh, kw, Cin, Cout], rounded to the data type of `x`.
    window: static (pt, ph, pw).
    moments: also return the moments of the convolution's output, as in `max_pool3d_moments`.
    centre: float32 [Cin], a value close to most of `x`; None for zero. It changes only the rounding
      on GPUs.
    conv_algorithm: as in `conv3d`.
    implementation: implementation of the pool, as in `max_pool3d_argmax`.

  Returns:
    Values in the data type of `x`, pool indices in uint8, and with `moments` (mean [Cout], mean
    square [Cout]) in float32, otherwise None.

  Raises:
    ValueError: as in `conv3d` and `max_pool3d_argmax`.
  """
  if x.dtype == _F32:
    # Nothing is rounded, so the plain operators suffice. They also keep fewer arrays for their
    # gradients.
    y = conv3d(x, kernel, conv_algorithm=conv_algorithm)
    if not moments:
      values, pool_indices = max_pool3d_argmax(y, window, implementation)
      return values, pool_indices, None
    results = max_pool3d_moments(y, window, implementation)
    values, pool_indices, mean, mean_square = results
    return values, pool_indices, (mean, mean_square)

  check_window('conv_pool3d', x, window)
  if not implementation:
    shape = (*x.shape[:-1], kernel.shape[-1])
    implementation = implementation_for(shape)
  options = _Options(
    window=tuple(window),
    moments=moments,
    conv_algorithm=conv_algorithm,
    implementation=implementation,
  )
  return _conv_pool(x, kernel, centre, options)


def precise_sums(
  x: jax.Array, kernel: jax.Array, centre: jax.Array | None, conv_algorithm: str
) -> tuple[jax.Array, jax.Array | None]:
  """Compute a convolution as precisely as the platform can without losing speed.

  Args:
    x: [B, T, H, W, Cin], 16-bit.
    kernel: float32 [kt, kh, kw, Cin, Cout].
    centre: as in `conv_pool3d`.
    conv_algorithm: as in `conv3d`.

  Returns:
    (y, c) such that conv3d(x, kernel) = y + c. y is [B, T, H, W, Cout]: float16 where a GPU runs
    a 3D convolution, otherwise float32. c is float32 [Cout], or None for zero.
  """
  pads = same_pads(kernel)
  is_3d = conv_algorithm in ('auto', 'direct', 'adjoint')
  if target_platform() != 'gpu' or not is_3d:
    kernel = kernel.astype(x.dtype)
    return correlate(x, kernel, pads, conv_algorithm, _F32), None

  kernel = kernel.astype(jnp.float16)
  if centre is None:
    x = x.astype(jnp.float16)
    return correlate(x, kernel, pads, conv_algorithm), None

  # Rounded first, so that c is computed from exactly what is subtracted from x.
  centre = centre.astype(jnp.float16).astype(_F32)
  padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
  shifted = padded.astype(_F32) - centre
  no_pads = [(0, 0)] * 3
  y = correlate(shifted.astype(jnp.float16), kernel, no_pads, 'direct')
  constant = jnp.einsum(
    'ijkcf,c->f',
    kernel.astype(_F32),
    centre,
    precision='highest',
  )
  return y, constant


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _conv_pool(
  x: jax.Array, kernel: jax.Array, centre: jax.Array | None, options: _Options
) -> tuple[jax.Array, jax.Array, Moments | None]:
  results, _ = _conv_pool_fwd(x, kernel, centre, options)
  return results


def _conv_pool_fwd(
  x: jax.Array, kernel: jax.Array, centre: jax.Array | None, options: _Options
) -> tuple[Any, Any]:
  y, constant = precise_sums(x, kernel, centre, options.conv_algorithm)
  implementation = IMPLEMENTATIONS[options.implementation]
  values, pool_indices, *sums = implementation.pool(
    y,
    options.window,
    x.dtype if constant is None else y.dtype,
    sums=options.moments,
  )
  count = y.size // y.shape[-1]
  moments = tuple(total / count for total in sums)

  if constant is not None:
    # Without the barrier XLA reads all of y twice: once for the pool indices, and once for the
    # values, which it fuses into the padding of the next layer.
    values, pool_indices = jax.lax.optimization_barrier((values, pool_indices))
    values = values.astype(_F32) + constant
    values = values.astype(x.dtype)
    if moments:
      moments = _shifted_moments(*moments, constant)

  residuals = (x, kernel, y, constant, pool_indices)
  return (values, pool_indices, moments or None), residuals


def _shifted_moments(mean: jax.Array, mean_square: jax.Array, constant: jax.Array) -> Moments:
  """Return the moments of y + constant from those of y."""
  return mean + constant, mean_square + constant * (2 * mean + constant)


def _conv_pool_bwd(
  options: _Options, residuals: tuple[Any, ...], cotangents: tuple[Any, ...]
) -> tuple[jax.Array, jax.Array, None]:
  """Compute the gradients of a pool and of a convolution, one after the other.

  The map is y + c, and its derivative with respect to y is 1. c needs no gradient: it only
  compensates for the value that was subtracted from x.
  """
  x, kernel, y, constant, pool_indices = residuals
  values_grad, _, moments_grad = cotangents
  affine = None
  if options.moments:
    count = y.size // y.shape[-1]
    mean_grad, square_grad = (grad / count for grad in moments_grad)
    # The mean square of y + c has the derivative 2 y + 2 c.
    from_constant = 0
    if constant is not None:
      from_constant = 2 * constant * square_grad
    affine = (y, mean_grad + from_constant, 2 * square_grad)

  implementation = IMPLEMENTATIONS[options.implementation]
  y_grad = implementation.unpool(
    values_grad,
    pool_indices,
    options.window,
    affine=affine,
  )

  def convolve(x, kernel):
    kernel = kernel.astype(x.dtype)
    return conv3d(x, kernel, conv_algorithm=options.conv_algorithm)

  _, pull = jax.vjp(convolve, x, kernel)
  x_grad, kernel_grad = pull(y_grad)
  return x_grad, kernel_grad, None


_conv_pool.defvjp(_conv_pool_fwd, _conv_pool_bwd)
