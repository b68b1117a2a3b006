"""3D convolution and stride-1 deconvolution, which are adjoint to each other."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from a3dcae_jax.ops.conv_algorithm import CONV_ALGORITHMS, choose_conv_algorithm, materialise
from a3dcae_jax.ops.shapes import check_rank
from a3dcae_jax.ops.winograd import convolve_time, tile_frames

Pads = Sequence[tuple[int, int]]


def conv3d(x: jax.Array, kernel: jax.Array, *, conv_algorithm: str = 'auto') -> jax.Array:
  """Compute a stride-1 3D convolution (cross-correlation) with zero padding.

      y[b, t, h, w, f] = sum over i, j, k, c of
          x[b, t + i - lt, h + j - lh, w + k - lw, c] kernel[i, j, k, c, f]

  where l = (size - 1) // 2 along each axis, so the output has the size of the input.

  Args:
    x: [B, T, H, W, Cin], floating point.
    kernel: [kt, kh, kw, Cin, Cout], data type of `x`.
    conv_algorithm: one of `CONV_ALGORITHMS`, which `ops.conv_algorithm` explains; 'auto' takes
      the one of `choose_conv_algorithm`.

  Returns:
    [B, T, H, W, Cout], data type of `x`.

  Raises:
    ValueError: if the shapes do not fit together or the algorithm is unknown.
  """
  return correlate(x, kernel, same_pads(kernel), conv_algorithm)


def deconv3d(x: jax.Array, kernel: jax.Array, *, conv_algorithm: str = 'auto') -> jax.Array:
  """Compute a stride-1 3D deconvolution.

  It is the full convolution of `x` with `kernel`, cropped to the size of `x`:

      y[b, t, h, w, f] = sum over i, j, k, c of
          x[b, t - i + lt, h - j + lh, w - k + lw, c] kernel[i, j, k, c, f]

  It is the adjoint of `conv3d`: <conv3d(x, K), y> = <x, deconv3d(y, K')>, where K' is K with its
  two channel axes swapped.

  Args:
    x: [B, T, H, W, Cin], floating point.
    kernel: [kt, kh, kw, Cin, Cout], data type of `x`.
    conv_algorithm: as in `conv3d`.

  Returns:
    [B, T, H, W, Cout], data type of `x`.

  Raises:
    ValueError: as in `conv3d`.

  Source: Zeiler et al., Deconvolutional networks, CVPR 2010; decoder of Fig. 2, Sun et al. 2021.
  """
  pads = reversed_pads(same_pads(kernel))
  return correlate(x, kernel[::-1, ::-1, ::-1], pads, conv_algorithm)


def same_pads(kernel: jax.Array) -> list[tuple[int, int]]:
  """Return the padding with which a convolution keeps the size of its input.

  Returns:
    Number of zeros (before, after) along time, height and width.
  """
  return [((size - 1) // 2, size // 2) for size in kernel.shape[:3]]


def correlate(
  x: jax.Array,
  kernel: jax.Array,
  pads: Pads,
  conv_algorithm: str = 'auto',
  out_dtype: DTypeLike | None = None,
) -> jax.Array:
  """Compute `conv3d` with the given padding and output data type.

  Args:
    x: [B, T, H, W, Cin], floating point.
    kernel: [kt, kh, kw, Cin, Cout], data type of `x`.
    pads: zeros (before, after) along time, height and width.
    conv_algorithm: as in `conv3d`.
    out_dtype: data type of the sums; None for the data type of `x`. Any other has no gradient.

  Returns:
    [B, T', H', W', Cout].

  Raises:
    ValueError: as in `conv3d`.
  """
  check_rank('x', x, 'BTHWC')
  check_rank('kernel', kernel, ('kt', 'kh', 'kw', 'Cin', 'Cout'))
  if x.shape[-1] != kernel.shape[3]:
    raise ValueError(
      f'x has {x.shape[-1]} channels (shape {x.shape}), '
      f'the kernel takes {kernel.shape[3]} (shape {kernel.shape})'
    )
  if conv_algorithm == 'auto':
    conv_algorithm = choose_conv_algorithm(kernel.shape, x.shape[1], x.dtype)
  if conv_algorithm not in CONV_ALGORITHMS:
    known = ', '.join(CONV_ALGORITHMS)
    raise ValueError(f'conv_algorithm must be auto, {known}; got {conv_algorithm!r}')
  if out_dtype == x.dtype:
    out_dtype = None
  convolve = _CONVOLVE[conv_algorithm]
  return materialise(convolve(x, kernel, pads, out_dtype))


def reversed_pads(pads: Pads) -> list[tuple[int, int]]:
  """Return the padding of the convolution with the reversed kernel."""
  return [(after, before) for before, after in pads]


def _direct(
  x: jax.Array, kernel: jax.Array, pads: Pads, out_dtype: DTypeLike | None = None
) -> jax.Array:
  return lax.conv_general_dilated(
    x,
    kernel,
    (1, 1, 1),
    pads,
    dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'),
    preferred_element_type=out_dtype,
  )


def _adjoint(x: jax.Array, kernel: jax.Array, pads: Pads, out_dtype: DTypeLike | None) -> jax.Array:
  if out_dtype:
    # There is no gradient then, so the way of computing it does not matter.
    return _direct(x, kernel, pads, out_dtype)
  return _with_adjoint_gradient(x, kernel, tuple(pads))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _with_adjoint_gradient(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
  """Compute `_direct`, with the gradient of the kernel taken from the adjoint.

  <convolve(x, K), y> equals <x, adjoint(y, K)>, so both give the same gradient of K. In the
  adjoint, y is the input and x is the cotangent: the gradient of a convolution to fewer channels
  becomes that of a convolution to more channels.
  """
  return _direct(x, kernel, pads)


def _with_adjoint_gradient_fwd(
  x: jax.Array, kernel: jax.Array, pads: Pads
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  return _with_adjoint_gradient(x, kernel, pads), (x, kernel)


def _with_adjoint_gradient_bwd(
  pads: Pads, residuals: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
  x, kernel = residuals

  def convolve(x):
    return _direct(x, kernel, pads)

  def adjoint(kernel):
    flipped = kernel[::-1, ::-1, ::-1]
    transposed = flipped.swapaxes(3, 4)
    return _direct(cotangent, transposed, reversed_pads(pads))

  _, pull_x = jax.vjp(convolve, x)
  (x_grad,) = pull_x(cotangent)
  _, pull_kernel = jax.vjp(adjoint, kernel)
  (kernel_grad,) = pull_kernel(x)
  return x_grad, kernel_grad


_with_adjoint_gradient.defvjp(_with_adjoint_gradient_fwd, _with_adjoint_gradient_bwd)


def _conv2d(x: jax.Array, kernel: jax.Array, pads: Pads, out_dtype: DTypeLike | None) -> jax.Array:
  return lax.conv_general_dilated(
    x,
    kernel,
    (1, 1),
    pads,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    preferred_element_type=out_dtype,
  )


def _shifted_frames(x: jax.Array, taps: int, pad: tuple[int, int]) -> list[jax.Array]:
  """Return the frames that each time tap reads, [B, T, H, W, C] per tap."""
  frames = x.shape[1]
  no_pad = (0, 0)
  padded = jnp.pad(x, (no_pad, pad, no_pad, no_pad, no_pad))
  shifted = []
  for i in range(taps):
    shifted.append(lax.slice_in_dim(padded, i, i + frames, axis=1))
  return shifted


def _folded(x: jax.Array, kernel: jax.Array, pads: Pads, out_dtype: DTypeLike | None) -> jax.Array:
  batch, frames, height, width, features = x.shape
  taps, kernel_h, kernel_w, _, features_out = kernel.shape
  if taps > 1:
    x = jnp.concatenate(_shifted_frames(x, taps, pads[0]), axis=-1)
  # The time taps are now part of the input channels.
  folded_features = taps * features
  kernel = kernel.transpose(1, 2, 0, 3, 4)
  kernel = kernel.reshape(kernel_h, kernel_w, folded_features, features_out)
  images = x.reshape(batch * frames, height, width, folded_features)
  y = _conv2d(images, kernel, pads[1:], out_dtype)
  return y.reshape(batch, frames, height, width, features_out)


def _summed(x: jax.Array, kernel: jax.Array, pads: Pads, out_dtype: DTypeLike | None) -> jax.Array:
  batch, frames, height, width, features = x.shape
  taps = kernel.shape[0]
  total = 0
  for i, tap in enumerate(_shifted_frames(x, taps, pads[0])):
    images = tap.reshape(batch * frames, height, width, features)
    y = _conv2d(images, kernel[i], pads[1:], out_dtype)
    total = total + y
  features_out = kernel.shape[-1]
  return total.reshape(batch, frames, height, width, features_out)


def _winograd(
  x: jax.Array, kernel: jax.Array, pads: Pads, out_dtype: DTypeLike | None
) -> jax.Array:
  tile = tile_frames(kernel.shape[0], x.shape[1])
  if not tile:
    return _folded(x, kernel, pads, out_dtype)

  def convolve(images, taps):
    return _conv2d(images, taps, pads[1:], out_dtype)

  return convolve_time(x, kernel, pads[0], convolve, tile)


_CONVOLVE = {
  'direct': _direct,
  'adjoint': _adjoint,
  'folded': _folded,
  'summed': _summed,
  'winograd': _winograd,
}
