"""Convolution and the pool that follows it, for operands of 16 bits: maxima are looked for before anything is rounded to these.

Where a map is flat, bfloat16's 8 bits make neighbours equal, the first of them wins, and the decoder un-pools there: that is what moves ranks of
frames, not what rounding does to values. So a pool sees the sums as they are added up, in float32. On GPUs XLA convolves operands of 16 bits to results
of 16 bits only (asked for float32 it converts the operands first, at half the rate of the tensor cores). There they are float16, of 11 bits, and
of what is left when from every channel its value at rest has been taken:

    conv(x) = conv(x - r) + c,   c = sum over taps and input channels of kernel r

with -r beyond the border, so that c is the same everywhere. What hardly differs from rest is then small, and hardly rounded.
"""

import functools

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


def conv_pool3d(
  x, kernel, window, *, moments=False, at_rest=None, conv_algorithm='auto', implementation=None
):
  """`max_pool3d_argmax(conv3d(x, kernel), window)`, with places as of float32.

  Args:
    x: [B, T, H, W, Cin], float32 or bfloat16. kernel: [kt, kh, kw, Cin, Cout] float32, computed with in the dtype of `x`. window: static (pt, ph, pw).
    moments: whether to give the moments of the convolution's output, as `max_pool3d_moments`.
    at_rest: float32 [Cin], any value that most of `x` is near to, or None for zero: changes what is rounded away on GPUs, and nothing else.
    conv_algorithm: as in `conv3d`. implementation: of pooling, as in `max_pool3d_argmax`.

  Returns: (values, dtype of `x`; places, uint8; (mean [Cout], mean square [Cout]) float32, or None).
  Gradient: computed in the dtype of `x`.
  """
  if (
    x.dtype == _F32
  ):  # nothing is rounded: the two one after the other, whose gradients keep what they need of either
    y = conv3d(x, kernel, conv_algorithm=conv_algorithm)
    values, places, *found = (max_pool3d_moments if moments else max_pool3d_argmax)(
      y, window, implementation
    )
    return values, places, tuple(found) or None
  check_window('conv_pool3d', x, window)
  implementation = implementation or implementation_for((*x.shape[:-1], kernel.shape[-1]))
  return _conv_pool(x, kernel, at_rest, tuple(window), moments, conv_algorithm, implementation)


def fine_sums(x, kernel, at_rest, conv_algorithm):
  """(y, c): conv3d(x, kernel) = y + c with y as fine as the platform gives it; c is None for zero."""
  if target_platform() != 'gpu' or conv_algorithm not in ('auto', 'direct', 'adjoint'):
    return correlate(x, kernel.astype(x.dtype), same_pads(kernel), conv_algorithm, _F32), None
  kernel = kernel.astype(jnp.float16)
  if at_rest is None:
    return correlate(x.astype(jnp.float16), kernel, same_pads(kernel), conv_algorithm), None
  at_rest = at_rest.astype(jnp.float16).astype(_F32)  # the same number is taken off and added again
  padded = jnp.pad(x, ((0, 0), *same_pads(kernel), (0, 0))).astype(_F32) - at_rest
  y = correlate(padded.astype(jnp.float16), kernel, [(0, 0)] * 3, 'direct')
  return y, jnp.einsum('ijkcf,c->f', kernel.astype(_F32), at_rest, precision='highest')


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5, 6))
def _conv_pool(x, kernel, at_rest, window, moments, conv_algorithm, implementation):
  return _conv_pool_fwd(x, kernel, at_rest, window, moments, conv_algorithm, implementation)[0]


def _conv_pool_fwd(x, kernel, at_rest, window, moments, conv_algorithm, implementation):
  y, constant = fine_sums(x, kernel, at_rest, conv_algorithm)
  values, places, *sums = IMPLEMENTATIONS[implementation].pool(
    y, window, x.dtype if constant is None else y.dtype, sums=moments
  )
  found = tuple(total / (y.size // y.shape[-1]) for total in sums)  # none without `moments`
  if constant is not None:
    values, places = jax.lax.optimization_barrier(
      (values, places)
    )  # else XLA reads all of y twice: for places, and for what the next layer pads
    values = (values.astype(_F32) + constant).astype(x.dtype)
    found = found and _moved(*found, constant)
  return (values, places, found or None), (x, kernel, y, constant, places)


def _moved(mean, square, constant):
  """(mean, mean square) of y + constant from those of y."""
  return mean + constant, square + constant * (2 * mean + constant)


def _conv_pool_bwd(window, moments, conv_algorithm, implementation, residuals, cotangents):
  """As of a convolution and a pool one after the other, whose map y + c has d/dy = 1: c stands for no more than the digits that y has no room for."""
  x, kernel, y, constant, places = residuals
  values, _, of_moments = cotangents
  affine = None
  if moments:
    mean, square = (cotangent / (y.size // y.shape[-1]) for cotangent in of_moments)
    affine = (y, mean + (0 if constant is None else 2 * constant * square), 2 * square)
  towards_y = IMPLEMENTATIONS[implementation].spread(values, places, window, affine=affine)
  convolve = lambda x, kernel: conv3d(x, kernel.astype(x.dtype), conv_algorithm=conv_algorithm)  # noqa: E731
  return *jax.vjp(convolve, x, kernel)[1](towards_y), None


_conv_pool.defvjp(_conv_pool_fwd, _conv_pool_bwd)
