"""Deconvolution after un-pooling at the upper left, without the zeros.

Un-pooling by a window of w puts input i at position w i and zeros between. Along one axis, with
l = (size - 1) // 2, the deconvolution of the un-pooled map x' is

    y[w i + p] = sum over j of x'[w i + p + l - j] k[j]
               = sum over j with w | p + l - j of x[i + (p + l - j) / w] k[j]

for each phase p = 0 .. w - 1. So it is a deconvolution with strides w, whose phases are the
channels of one convolution of x (`ops.strided_conv`). That has fewer taps: 2 instead of 3 for
w = 2. With windows and kernels of 2x2x2 and 3x3x3 it takes 8/27 of the products.
"""

from collections.abc import Sequence

import jax

from a3dcae_jax.ops.conv3d import same_pads
from a3dcae_jax.ops.strided_conv import deconv_by_phases


def deconv_upsampled(
  x: jax.Array, kernel: jax.Array, window: Sequence[int], *, conv_algorithm: str = 'auto'
) -> jax.Array:
  """Compute un-pooling at the upper left and a deconvolution in one.

  It equals `deconv3d(max_unpool3d(x, zeros, window), kernel)` up to rounding.

  Args:
    x: [B, T, H, W, Cin], floating point.
    kernel: [kt, kh, kw, Cin, Cout], data type of `x`.
    window: static (pt, ph, pw).
    conv_algorithm: as in `conv3d`.

  Returns:
    [B, T*pt, H*ph, W*pw, Cout], data type of `x`.
  """
  lows = [before for before, _ in same_pads(kernel)]
  return deconv_by_phases(x, kernel, window, lows, conv_algorithm)
