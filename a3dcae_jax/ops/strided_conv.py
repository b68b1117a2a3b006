"""3D convolution with strides, and its adjoint.

With strides s, both are one convolution without strides between maps whose pixels are sorted by
phase, their position within a window of s (space to depth):

    y = conv(x)    x is sorted, its phases are input channels
    y = deconv(x)  the phases are output channels, y is put together from them

The kernel is padded with zeros to a multiple of s. So all algorithms of `ops.conv3d` can be used,
and no zeros between pixels are multiplied. CPUs take this way. GPUs and TPUs have strides of their
own, which the algorithm `direct` uses.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from a3dcae_jax.ops.conv3d import correlate, reversed_pads
from a3dcae_jax.ops.conv_algorithm import target_platform
from a3dcae_jax.ops.shapes import check_divisible, check_rank

_DIMENSIONS = ('NDHWC', 'DHWIO', 'NDHWC')


def strided_conv3d(
  x: jax.Array, kernel: jax.Array, strides: Sequence[int], *, conv_algorithm: str = 'auto'
) -> jax.Array:
  """Compute a 3D convolution (cross-correlation) with strides and zero padding.

      y[b, t, h, w, f] = sum over i, j, k, c of
          x[b, t st + i - lt, h sh + j - lh, w sw + k - lw, c] kernel[i, j, k, c, f]

  where l = ceil((size - stride) / 2) along each axis. It equals PyTorch's `Conv3d` with padding l,
  if the strides divide the size of the input.

  Args:
    x: [B, T, H, W, Cin], floating point.
    kernel: [kt, kh, kw, Cin, Cout], data type of `x`.
    strides: static (st, sh, sw), at most the size of the kernel; they divide T, H and W.
    conv_algorithm: as in `ops.conv3d.conv3d`.

  Returns:
    [B, T/st, H/sh, W/sw, Cout], data type of `x`.

  Raises:
    ValueError: naming the axis that a stride does not divide, or a kernel below its stride.
  """
  _check('strided_conv3d', x, kernel, strides)
  check_divisible('strided_conv3d', x, strides)
  if _has_strides(conv_algorithm):
    pads = _pads(kernel, strides)
    return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=_DIMENSIONS)
  weights, pads = _phase_kernel(kernel, strides, _lows(kernel, strides))
  taps, features = weights.shape[:3], weights.shape[-1]
  weights = weights.reshape(*taps, -1, features)
  return correlate(_split_phases(x, strides), weights, pads, conv_algorithm)


def strided_deconv3d(
  x: jax.Array, kernel: jax.Array, strides: Sequence[int], *, conv_algorithm: str = 'auto'
) -> jax.Array:
  """Compute a 3D deconvolution with strides: the adjoint of `strided_conv3d`.

      y[b, t, h, w, f] = sum over all (t', i), (h', j), (w', k), c with t = t' st + i - lt, ... of
          x[b, t', h', w', c] kernel[i, j, k, c, f]

  <strided_conv3d(x, K), y> = <x, strided_deconv3d(y, K')>, where K' is K with its two channel axes
  swapped. It equals PyTorch's `ConvTranspose3d` with padding l and the output padding that
  multiplies the size by the stride.

  Args:
    x: [B, T, H, W, Cin], floating point.
    kernel: [kt, kh, kw, Cin, Cout], data type of `x`.
    strides: static (st, sh, sw), at most the size of the kernel.
    conv_algorithm: as in `ops.conv3d.conv3d`.

  Returns:
    [B, T*st, H*sh, W*sw, Cout], data type of `x`.

  Raises:
    ValueError: for a kernel below its stride.
  """
  _check('strided_deconv3d', x, kernel, strides)
  if _has_strides(conv_algorithm):
    pads = []
    for size, (low, high) in zip(kernel.shape[:3], _pads(kernel, strides), strict=True):
      pads.append((size - 1 - low, size - 1 - high))
    return lax.conv_general_dilated(
      x,
      kernel[::-1, ::-1, ::-1],
      (1, 1, 1),
      pads,
      lhs_dilation=strides,
      dimension_numbers=_DIMENSIONS,
    )
  return deconv_by_phases(x, kernel, strides, _lows(kernel, strides), conv_algorithm)


def deconv_by_phases(
  x: jax.Array,
  kernel: jax.Array,
  strides: Sequence[int],
  lows: Sequence[int],
  conv_algorithm: str,
) -> jax.Array:
  """Compute a deconvolution with strides as one convolution without strides.

  Args:
    x: [B, T, H, W, Cin], floating point.
    kernel: [kt, kh, kw, Cin, Cout], data type of `x`.
    strides: static (st, sh, sw).
    lows: static (lt, lh, lw), the l of `strided_deconv3d`.
    conv_algorithm: as in `ops.conv3d.conv3d`.

  Returns:
    [B, T*st, H*sh, W*sw, Cout], data type of `x`.
  """
  weights, pads = _phase_kernel(kernel, strides, lows)
  *taps, phases, features_in, features_out = weights.shape
  weights = weights[::-1, ::-1, ::-1].swapaxes(3, 4)
  weights = weights.reshape(*taps, features_in, phases * features_out)
  return _join_phases(correlate(x, weights, reversed_pads(pads), conv_algorithm), strides)


def _check(name: str, x: jax.Array, kernel: jax.Array, strides: Sequence[int]) -> None:
  check_rank(f'{name}: x', x, 'BTHWC')
  check_rank(f'{name}: kernel', kernel, ('kt', 'kh', 'kw', 'Cin', 'Cout'))
  sizes = kernel.shape[:3]
  for size, stride in zip(sizes, strides, strict=True):
    if size < stride:
      raise ValueError(f'{name}: the kernel {sizes} must be at least the strides {tuple(strides)}')


def _has_strides(conv_algorithm: str) -> bool:
  """Return whether the library's own strides are used."""
  if conv_algorithm == 'auto':
    return target_platform() != 'cpu'
  return conv_algorithm in ('direct', 'adjoint')


def _lows(kernel: jax.Array, strides: Sequence[int]) -> list[int]:
  """Return the zeros before each axis, about half of size - stride."""
  return [
    math.ceil((size - stride) / 2) for size, stride in zip(kernel.shape[:3], strides, strict=True)
  ]


def _pads(kernel: jax.Array, strides: Sequence[int]) -> list[tuple[int, int]]:
  """Return the zeros (before, after) along each axis, in all size - stride."""
  pads = []
  for size, stride, low in zip(kernel.shape[:3], strides, _lows(kernel, strides), strict=True):
    pads.append((low, size - stride - low))
  return pads


def _phase_kernel(
  kernel: jax.Array, strides: Sequence[int], lows: Sequence[int]
) -> tuple[jax.Array, list[tuple[int, int]]]:
  """Sort the taps of a kernel by phase.

  Tap i reads position i - l. With i - l = q s + r, it is tap q of phase r.

  Returns:
    [mt, mh, mw, st*sh*sw, Cin, Cout], and the padding (before, after) along each axis.
  """
  fills, pads, split = [], [], []
  for size, stride, low in zip(kernel.shape[:3], strides, lows, strict=True):
    before = math.ceil(low / stride)
    front = before * stride - low
    taps = math.ceil((front + size) / stride)
    fills.append((front, taps * stride - front - size))
    pads.append((before, taps - 1 - before))
    split += [taps, stride]
  padded = jnp.pad(kernel, (*fills, (0, 0), (0, 0)))
  weights = padded.reshape(*split, *kernel.shape[3:])
  weights = weights.transpose(0, 2, 4, 1, 3, 5, 6, 7)
  return weights.reshape(*split[::2], math.prod(strides), *kernel.shape[3:]), pads


def _split_phases(x: jax.Array, strides: Sequence[int]) -> jax.Array:
  """Move the phases of a map to its channels: [B, T/st, H/sh, W/sw, st*sh*sw*C]."""
  batch, *sizes, features = x.shape
  split = []
  for size, stride in zip(sizes, strides, strict=True):
    split += [size // stride, stride]
  phases = x.reshape(batch, *split, features).transpose(0, 1, 3, 5, 2, 4, 6, 7)
  return phases.reshape(batch, *split[::2], math.prod(strides) * features)


def _join_phases(x: jax.Array, strides: Sequence[int]) -> jax.Array:
  """Put a map together from its phases: the inverse of `_split_phases`."""
  batch, *sizes, channels = x.shape
  features = channels // math.prod(strides)
  phases = x.reshape(batch, *sizes, *strides, features).transpose(0, 1, 4, 2, 5, 3, 6, 7)
  joined = [size * stride for size, stride in zip(sizes, strides, strict=True)]
  return phases.reshape(batch, *joined, features)
