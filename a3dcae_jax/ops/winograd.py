"""Winograd's minimal filtering along time: a 3-tap convolution over frames with half to two thirds of the multiplications.

    F(m, 3):  y = A^T [(G k) * (B^T x)]

Tiles of m output frames read m + 2 input frames x. Their m + 2 combinations B^T x meet the combinations G k of the kernel's
three taps in as many 2D convolutions, and A^T adds the products up: m + 2 instead of 3 m convolutions of a frame, 1/2 of
the work for m = 4 and 2/3 for m = 2. Space is left alone: there the transforms would cost more than they save.

Source: Lavin and Gray, Fast algorithms for convolutional neural networks, CVPR 2016, arXiv:1509.09308, sec. 4.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from a3dcae_jax.ops.conv_algorithm import batch_parts, laid_out, side_by_side

TAPS = 3


class Transforms(NamedTuple):
  """Matrices of F(m, 3): `data` B^T [m+2, m+2], `kernel` G [m+2, 3], `output` A^T [m, m+2]."""

  data: np.ndarray
  kernel: np.ndarray
  output: np.ndarray


F2 = Transforms(
  np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
  np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
  np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
)
F4 = Transforms(
  np.array(
    [
      [4, 0, -5, 0, 1, 0],
      [0, -4, -4, 1, 1, 0],
      [0, 4, -4, -1, 1, 0],
      [0, -2, -1, 2, 1, 0],
      [0, 2, -1, -2, 1, 0],
      [0, 4, 0, -5, 0, 1],
    ]
  ),
  np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24,
  np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]),
)


def tile_frames(kernel_t, frames):
  """Frames a tile for a kernel of `kernel_t` taps over `frames` frames: 4, 2, or 0 where the method does not apply."""
  if kernel_t != TAPS:
    return 0
  return next((tile for tile in (4, 2) if frames % tile == 0), 0)


def convolve_time(x, kernel, pad, convolve, tile):
  """Stride-1 convolution over frames by F(tile, 3); `convolve(frames [N, H, W, Cin], kernel [kh, kw, Cin, Cout])` does the space.

  Args:
    x: [B, T, H, W, Cin], T divisible by `tile`. kernel: [3, kh, kw, Cin, Cout]. pad: zero frames (before, after), 2 together.

  Returns:
    [B, T, H', W', Cout]; equal to the sum over taps of the shifted 2D convolutions up to rounding (about 1e-5 relative for
    tile 4 in float32).
  """
  transforms = {2: F2, 4: F4}[tile]
  kernels = laid_out(_combine(transforms.kernel, list(kernel)))
  outputs = [_convolve_tiles(part, kernels, pad, convolve, transforms) for part in batch_parts(x)]
  return outputs[0] if len(outputs) == 1 else jnp.concatenate(outputs)


def _convolve_tiles(x, kernels, pad, convolve, transforms):
  tile = len(transforms.output)
  batch, frames = x.shape[:2]
  padded = jnp.pad(x, ((0, 0), pad, (0, 0), (0, 0), (0, 0)))
  columns = [
    lax.slice_in_dim(padded, i, i + frames - tile + 1, tile, axis=1) for i in range(tile + 2)
  ]
  combined = [
    column.reshape(-1, *x.shape[2:]) for column in laid_out(_combine(transforms.data, columns))
  ]
  outputs = jnp.stack(
    _combine(transforms.output, _products(combined, kernels, convolve)), axis=1
  )  # [B * T / tile, tile, H', W', Cout]
  return outputs.reshape(batch, frames, *outputs.shape[2:])


def _each(frames, kernels, convolve):
  return [convolve(f, k) for f, k in zip(frames, kernels, strict=True)]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _products(frames, kernels, convolve):
  """`convolve` of each pair, and on the way back the gradients of each, such that none waits for another (`conv_algorithm.side_by_side`)."""
  return side_by_side(_each(frames, kernels, convolve), frames)


def _products_bwd(convolve, residuals, cotangents):
  gradients = jax.vjp(lambda frames, kernels: _each(frames, kernels, convolve), *residuals)[1](
    cotangents
  )
  return side_by_side(gradients, (cotangents, residuals[0]))


_products.defvjp(
  lambda frames, kernels, convolve: (_products(frames, kernels, convolve), (frames, kernels)),
  _products_bwd,
)


def _combine(matrix, arrays):
  """The rows of `matrix` as linear combinations of `arrays`, without the products by 0 and 1."""
  rows = []
  for row in matrix:
    total = None
    for weight, array in zip(row, arrays, strict=True):
      if weight:
        term = array if weight == 1 else float(weight) * array
        total = term if total is None else total + term
    rows.append(total)
  return rows
