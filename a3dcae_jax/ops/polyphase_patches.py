"""Patches that the phase-split outer layers read, and their transpose: `ops.outer` says what they are for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.ops.conv_algorithm import laid_out, target_platform
from a3dcae_jax.ops.shapes import sliced

PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))


def _patch(kernel_size):
  """((rows, columns) of a patch, (rows, columns) of it before its window)."""
  return tuple(k + 1 for k in kernel_size), tuple((k - 1) // 2 for k in kernel_size)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def extract(x, kernel_size):
  """[B, T, H, W] -> [B, T, H/2, W/2, K]: see `ops.outer.extract_patches`."""
  height, width = x.shape[2:]
  size, low = _patch(kernel_size)
  high = [s - 2 - l for s, l in zip(size, low, strict=True)]
  padded = jnp.pad(x, ((0, 0), (0, 0), (low[0], high[0]), (low[1], high[1])))
  if target_platform() == 'cpu':
    return _by_pairs(padded, size, height, width)
  taps = [
    sliced(padded, slice(None), slice(i, i + height - 1, 2), slice(j, j + width - 1, 2))
    for i, j in np.ndindex(*size)
  ]
  if (
    target_platform() == 'gpu'
  ):  # as `outer_triton` reads them: XLA then copies planes, and transposes nothing
    return jnp.moveaxis(jnp.stack(taps, axis=0), 0, -1)
  return jnp.stack(taps, axis=-1)


def _by_pairs(padded, size, height, width):
  """Patches of `size` from rows of `padded [B, T, H', W']`: two neighbouring pixels are copied at a time, first along a row, then row by row.

  The same as the stack of strided taps, which XLA's CPU back end gathers pixel by pixel: a sixth of its time.
  """
  batch, frames, rows, columns = padded.shape
  pairs = (size[1] + 1) // 2
  padded = jnp.pad(padded, ((0, 0), (0, 0), (0, 0), (0, width + 2 * pairs - 2 - columns)))
  grid = laid_out(padded).reshape(batch, frames, rows, -1, 2)
  along = laid_out(
    jnp.concatenate(
      [sliced(grid, slice(None), slice(None), slice(j, j + width // 2)) for j in range(pairs)],
      axis=-1,
    )[..., : size[1]]
  )
  return jnp.concatenate(
    [sliced(along, slice(None), slice(i, i + height - 1, 2)) for i in range(size[0])], axis=-1
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def overlap_add(patches, kernel_size):
  """[B, T, H/2, W/2, K] -> [B, T, H, W], the transpose of `extract`.

  Output row 2h + a collects patch row i of window h + (a + low - i) / 2, for every i of the parity of a + low.
  """
  batch, frames, height, width, _ = patches.shape
  size, low = _patch(kernel_size)
  grid = patches.reshape(batch, frames, height, width, *size)
  margin = max(size)
  padded = jnp.pad(grid, ((0, 0), (0, 0), (margin, margin), (margin, margin), (0, 0), (0, 0)))
  rows = []
  for a, b in PHASES:
    total = 0
    for i in range((a + low[0]) % 2, size[0], 2):
      for j in range((b + low[1]) % 2, size[1], 2):
        top, left = margin + (a + low[0] - i) // 2, margin + (b + low[1] - j) // 2
        window = (
          slice(None),
          slice(top, top + height),
          slice(left, left + width),
          slice(i, i + 1),
          slice(j, j + 1),
        )
        total = total + sliced(padded, *window).squeeze((4, 5))
    rows.append(total)
  stacked = jnp.stack(rows, axis=-1).reshape(batch, frames, height, width, 2, 2)
  return stacked.transpose(0, 1, 2, 4, 3, 5).reshape(batch, frames, 2 * height, 2 * width)


# Each is linear and the other's transpose.
extract.defvjp(
  lambda x, kernel_size: (extract(x, kernel_size), None),
  lambda kernel_size, _, cotangent: (overlap_add(cotangent, kernel_size),),
)
overlap_add.defvjp(
  lambda patches, kernel_size: (overlap_add(patches, kernel_size), None),
  lambda kernel_size, _, cotangent: (extract(cotangent, kernel_size),),
)
