"""Max-pooling that records where each maximum stood, and un-pooling that puts values back there.

Places are window-local: `places[...] = (i * ph + j) * pw + k` for the maximum at offset (i, j, k) of its window, one
byte each. A flat index into the whole volume, as other libraries record it, takes four and needs a global scatter;
with local places both directions are a select inside the window: un-pooling spreads each value over its window and
keeps it at one place, its gradient gathers from that place. Pool and un-pool are each other's transpose.

Three implementations have the same three functions: `pooling_xla`, `pooling_pallas` on TPUs, `pooling_triton` on GPUs.
"""

import functools
import math

import jax

from a3dcae_jax.ops import pooling_pallas, pooling_triton, pooling_xla
from a3dcae_jax.ops.conv_algorithm import target_platform
from a3dcae_jax.ops.shapes import check_divisible, check_rank

IMPLEMENTATIONS = {'xla': pooling_xla, 'pallas': pooling_pallas, 'triton': pooling_triton}


def max_pool3d_argmax(x, window, implementation=None):
  """Maximum over disjoint windows, and where in its window each maximum stood.

      values[b, t, h, w, c] = max over (i, j, k) of x[b, t*pt + i, h*ph + j, w*pw + k, c]

  Args:
    x: [B, T, H, W, C] floating; T, H, W divisible by the window.
    window: static (pt, ph, pw), at most 256 places. implementation: of `IMPLEMENTATIONS`; None chooses by platform.

  Returns:
    (values [B, T/pt, H/ph, W/pw, C], dtype of `x`; places, same shape, uint8). Among equal maxima the first in
    row-major order of the window wins, as in PyTorch; a NaN wins over every number.

  Gradient: that of the values goes to the recorded places; `places` has none.
  Raises: ValueError naming the axis whose size does not divide.
  """
  check_window('max_pool3d_argmax', x, window)
  return _pool(x, tuple(window), implementation or implementation_for(x.shape))


def max_pool3d_moments(x, window, implementation=None):
  """`max_pool3d_argmax`, and the moments of `x` for the normalisation that follows, from one pass over `x`.

  Returns: (values, places, mean [C], mean square [C]), the moments float32 over all of B, T, H, W.
  """
  check_window('max_pool3d_moments', x, window)
  values, places, total, squares = _pool_sums(
    x, tuple(window), implementation or implementation_for(x.shape)
  )
  count = x.size // x.shape[-1]
  return values, places, total / count, squares / count


def max_unpool3d(values, places, window, implementation=None):
  """Puts each pooled value back at the recorded place of its window; zero elsewhere.

      y[b, t*pt + i, h*ph + j, w*pw + k, c] = values[b, t, h, w, c] if places[b, t, h, w, c] = (i*ph + j)*pw + k else 0

  Args:
    values: [B, T, H, W, C] floating.
    places: [B, T, H, W, C] uint8, from `max_pool3d_argmax`; all zeros puts the value at the upper left.
    window: static (pt, ph, pw).

  Returns:
    [B, T*pt, H*ph, W*pw, C], dtype of `values`.

  Gradient: the cotangent gathered at `places`.
  Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 2.1; Sun et al. 2021, sec. III-B.
  Raises: ValueError naming both shapes if they differ.
  """
  check_rank('max_unpool3d: values', values, 'BTHWC')
  if values.shape != places.shape:
    raise ValueError(
      f'max_unpool3d: values {values.shape} and places {places.shape} must have the same shape'
    )
  return _unpool(values, places, tuple(window), implementation or implementation_for(values.shape))


def gather_places(x, places, window, implementation=None):
  """Reads from each window of `x` the value at its recorded place: the transpose of `max_unpool3d`.

  Args:
    x: [B, T*pt, H*ph, W*pw, C]. places: [B, T, H, W, C] uint8. window: static (pt, ph, pw).

  Returns:
    [B, T, H, W, C], dtype of `x`.
  """
  return IMPLEMENTATIONS[implementation or implementation_for(places.shape)].gather(
    x, places, tuple(window)
  )


def check_window(name, x, window):
  """Raises ValueError unless `x` is a map that can be pooled by `window`."""
  check_rank(f'{name}: x', x, 'BTHWC')
  check_divisible(name, x, window)
  if math.prod(window) > 256:
    raise ValueError(
      f'{name}: window {tuple(window)} has {math.prod(window)} places, a byte holds 256'
    )


def implementation_for(shape):
  """Name of the implementation for a map of this shape, pooled or not, on `target_platform()`."""
  if target_platform() == 'gpu' and pooling_triton.fits(shape):
    return 'triton'
  return 'pallas' if target_platform() == 'tpu' else 'xla'


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _pool(x, window, implementation):
  return IMPLEMENTATIONS[implementation].pool(x, window, x.dtype)


def _pool_fwd(x, window, implementation):
  values, places = _pool(x, window, implementation)
  return (values, places), places


def _pool_bwd(window, implementation, places, cotangents):
  return (IMPLEMENTATIONS[implementation].spread(cotangents[0], places, window),)


_pool.defvjp(_pool_fwd, _pool_bwd)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _pool_sums(x, window, implementation):
  return IMPLEMENTATIONS[implementation].pool(x, window, x.dtype, sums=True)


def _pool_sums_fwd(x, window, implementation):
  results = _pool_sums(x, window, implementation)
  return results, (x, results[1])


def _pool_sums_bwd(window, implementation, residuals, cotangents):
  """d/dx of a sum is 1, of a sum of squares 2 x: added to the un-pooled cotangent in the same pass."""
  x, places = residuals
  values, _, total, squares = cotangents
  return (
    IMPLEMENTATIONS[implementation].spread(values, places, window, affine=(x, total, 2 * squares)),
  )


_pool_sums.defvjp(_pool_sums_fwd, _pool_sums_bwd)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _unpool(values, places, window, implementation):
  return IMPLEMENTATIONS[implementation].spread(values, places, window)


def _unpool_fwd(values, places, window, implementation):
  return _unpool(values, places, window, implementation), places


def _unpool_bwd(window, implementation, places, cotangent):
  return gather_places(cotangent, places, window, implementation), None


_unpool.defvjp(_unpool_fwd, _unpool_bwd)
