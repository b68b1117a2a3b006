"""Deconvolution after un-pooling at the upper left, without the zeros.

Un-pooling by a window of w puts input i at position w i and zeros between. Along one axis, with
l = (size - 1) // 2, the deconvolution of the un-pooled map x' is

    y[w i + p] = sum over j of x'[w i + p + l - j] k[j]
               = sum over j with w | p + l - j of x[i + (p + l - j) / w] k[j]

for each phase p = 0 .. w - 1. So all phases are the channels of one convolution of x, which has
fewer taps: 2 instead of 3 for w = 2. With windows and kernels of 2x2x2 and 3x3x3 it takes 8/27 of
the products.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from a3dcae_jax.ops.conv3d import correlate


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
  pads = []
  for axis, step in enumerate(window):
    taps, pad = _taps(kernel.shape[2 * axis], step)
    kernel = _split_axis(kernel, 2 * axis, taps)
    pads.append(pad)
  # [dt, pt, dh, ph, dw, pw, Cin, Cout], with d the offsets and p the phases of each axis.
  kernel = kernel.transpose(0, 2, 4, 6, 1, 3, 5, 7)
  features = kernel.shape[-1]
  phases = correlate(x, kernel.reshape(*kernel.shape[:4], -1), pads, conv_algorithm)
  batch, *sizes, _ = x.shape
  grid = phases.reshape(batch, *sizes, *window, features)
  grid = grid.transpose(0, 1, 4, 2, 5, 3, 6, 7)
  upsampled = [size * step for size, step in zip(sizes, window, strict=True)]
  return grid.reshape(batch, *upsampled, features)


def _taps(size: int, step: int) -> tuple[np.ndarray, tuple[int, int]]:
  """Return which tap each phase reads at each offset, along one axis.

  Args:
    size: taps of the kernel.
    step: size of the window.

  Returns:
    Indices of taps, int [offsets, phases], `size` for none; and the padding (before, after) of a
    convolution over the offsets.
  """
  low = (size - 1) // 2
  offsets = [(p + low - j) // step for p, j in np.ndindex(step, size) if (p + low - j) % step == 0]
  first, last = min(offsets), max(offsets)
  taps = np.full((last - first + 1, step), size)
  for p, j in np.ndindex(step, size):
    if (p + low - j) % step == 0:
      taps[(p + low - j) // step - first, p] = j
  return taps, (-first, last)


def _split_axis(kernel: jax.Array, axis: int, taps: np.ndarray) -> jax.Array:
  """Replace an axis of taps by two, offsets and phases; zero where there is no tap."""
  slices = [lax.index_in_dim(kernel, j, axis, keepdims=False) for j in range(kernel.shape[axis])]
  slices.append(jnp.zeros_like(slices[0]))
  offsets = []
  for row in taps:
    offsets.append(jnp.stack([slices[j] for j in row], axis))
  return jnp.stack(offsets, axis)
