"""3D convolution and stride-1 deconvolution, each the other's adjoint."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from a3dcae_jax.ops.conv_algorithm import CONV_ALGORITHMS, choose_lowering, laid_out
from a3dcae_jax.ops.shapes import check_rank
from a3dcae_jax.ops.winograd import convolve_time, tile_frames


def conv3d(x, kernel, *, conv_algorithm='auto'):
  """Stride-1 3D convolution (cross-correlation) that keeps the size of its input; zeros beyond the border.

      y[b, t, h, w, f] = sum over i, j, k, c of x[b, t + i - lt, h + j - lh, w + k - lw, c] kernel[i, j, k, c, f]

  with l = (size - 1) // 2 along each axis.

  Args:
    x: [B, T, H, W, Cin] floating.
    kernel: [kt, kh, kw, Cin, Cout], dtype of `x`.
    conv_algorithm: 'auto' (see `choose_lowering`) or one of `CONV_ALGORITHMS`, which `ops.conv_algorithm` explains.

  Returns:
    [B, T, H, W, Cout], dtype of `x`.

  Raises: ValueError naming the shape at fault.
  """
  return correlate(x, kernel, same_pads(kernel), conv_algorithm)


def deconv3d(x, kernel, *, conv_algorithm='auto'):
  """Stride-1 3D deconvolution: the full convolution of `x` with `kernel`, cropped to the size of `x`.

      y[b, t, h, w, f] = sum over i, j, k, c of x[b, t - i + lt, h - j + lh, w - k + lw, c] kernel[i, j, k, c, f]

  It is the adjoint of `conv3d`: <conv3d(x, K), y> = <x, deconv3d(y, K with its two channel axes swapped)>.

  Args:
    x: [B, T, H, W, Cin] floating.
    kernel: [kt, kh, kw, Cin, Cout], dtype of `x`.
    conv_algorithm: as in `conv3d`.

  Returns:
    [B, T, H, W, Cout], dtype of `x`.

  Source: Zeiler et al., Deconvolutional networks, CVPR 2010; the decoder of Fig. 2 in Sun et al. 2021.
  """
  return correlate(
    x, kernel[::-1, ::-1, ::-1], [pad[::-1] for pad in same_pads(kernel)], conv_algorithm
  )


def same_pads(kernel):
  """Zeros (before, after) along time, height and width with which `conv3d` keeps the size of its input."""
  return [((size - 1) // 2, size // 2) for size in kernel.shape[:3]]


def correlate(x, kernel, pads, conv_algorithm='auto', out_dtype=None):
  """What `conv3d` computes, with other pads; `out_dtype`, without a gradient if it is another than that of `x`, is what sums are given in."""
  check_rank('x', x, 'BTHWC')
  check_rank('kernel', kernel, ('kt', 'kh', 'kw', 'Cin', 'Cout'))
  if x.shape[-1] != kernel.shape[3]:
    raise ValueError(
      f'x has {x.shape[-1]} channels (shape {x.shape}), the kernel takes {kernel.shape[3]} (shape {kernel.shape})'
    )
  if conv_algorithm == 'auto':
    conv_algorithm = choose_lowering(kernel.shape, x.shape[1], x.dtype)
  if conv_algorithm not in CONV_ALGORITHMS:
    raise ValueError(
      f'conv_algorithm must be auto, {", ".join(CONV_ALGORITHMS)}; got {conv_algorithm!r}'
    )
  convolve = {
    'direct': _direct,
    'adjoint': _adjoint,
    'folded': _folded,
    'summed': _summed,
    'winograd': _winograd,
  }[conv_algorithm]
  return laid_out(convolve(x, kernel, pads, None if out_dtype == x.dtype else out_dtype))


def _direct(x, kernel, pads, out_dtype=None):
  return lax.conv_general_dilated(
    x,
    kernel,
    (1, 1, 1),
    pads,
    dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'),
    preferred_element_type=out_dtype,
  )


def _adjoint(x, kernel, pads, out_dtype):
  return (
    _direct(x, kernel, pads, out_dtype)
    if out_dtype
    else _with_adjoint_gradient(x, kernel, tuple(pads))
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _with_adjoint_gradient(x, kernel, pads):
  """`_direct` with the kernel's gradient taken from the adjoint.

  The form <convolve(x, K), y> is <x, adjoint(y, K)>, so either gives the gradient of K. Through the adjoint y is what is convolved and x the
  cotangent: of a convolution to fewer channels it is the gradient of one to more.
  """
  return _direct(x, kernel, pads)


def _adjoint_bwd(pads, residuals, cotangent):
  x, kernel = residuals
  towards_x = jax.vjp(lambda x: _direct(x, kernel, pads), x)[1](cotangent)
  adjoint = lambda k: _direct(
    cotangent, k[::-1, ::-1, ::-1].swapaxes(3, 4), [pad[::-1] for pad in pads]
  )  # noqa: E731
  return *towards_x, *jax.vjp(adjoint, kernel)[1](x)


_with_adjoint_gradient.defvjp(
  lambda x, kernel, pads: (_with_adjoint_gradient(x, kernel, pads), (x, kernel)), _adjoint_bwd
)


def _conv2d(x, kernel, pads, out_dtype):
  return lax.conv_general_dilated(
    x,
    kernel,
    (1, 1),
    pads,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    preferred_element_type=out_dtype,
  )


def _time_taps(x, taps, pad):
  frames = x.shape[1]
  padded = jnp.pad(x, ((0, 0), pad, (0, 0), (0, 0), (0, 0)))
  return [lax.slice_in_dim(padded, i, i + frames, axis=1) for i in range(taps)]


def _folded(x, kernel, pads, out_dtype):
  batch, frames, height, width, features = x.shape
  taps, kernel_h, kernel_w, _, out = kernel.shape
  folded = jnp.concatenate(_time_taps(x, taps, pads[0]), axis=-1) if taps > 1 else x
  flat_kernel = kernel.transpose(1, 2, 0, 3, 4).reshape(kernel_h, kernel_w, taps * features, out)
  y = _conv2d(
    folded.reshape(batch * frames, height, width, taps * features), flat_kernel, pads[1:], out_dtype
  )
  return y.reshape(batch, frames, height, width, out)


def _summed(x, kernel, pads, out_dtype):
  batch, frames, height, width, features = x.shape
  taps = _time_taps(x, kernel.shape[0], pads[0])
  flat = (batch * frames, height, width, features)
  y = sum(_conv2d(tap.reshape(flat), kernel[i], pads[1:], out_dtype) for i, tap in enumerate(taps))
  return y.reshape(batch, frames, height, width, kernel.shape[-1])


def _winograd(x, kernel, pads, out_dtype):
  tile = tile_frames(kernel.shape[0], x.shape[1])
  if not tile:
    return _folded(x, kernel, pads, out_dtype)
  return convolve_time(
    x, kernel, pads[0], lambda frames, taps: _conv2d(frames, taps, pads[1:], out_dtype), tile
  )
