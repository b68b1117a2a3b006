"""Patches of the polyphase layers, and the transpose of extracting them.

`ops.polyphase` explains the layers.
"""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.ops.conv_algorithm import materialise, target_platform
from a3dcae_jax.ops.shapes import sliced

# The (row, column) of each phase in a 2x2 window.
PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))

_ALL = slice(None)

Size = tuple[int, int]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def extract(x: jax.Array, kernel_size: Size) -> jax.Array:
  """Extract the patches of all 2x2 windows, see `polyphase.extract_patches`.

  Args:
    x: [B, T, H, W].
    kernel_size: (kh, kw).

  Returns:
    [B, T, H/2, W/2, K].
  """
  _, _, height, width = x.shape
  rows, columns = _patch_size(kernel_size)
  top, left = _margin(kernel_size)
  pad_rows = (top, rows - 2 - top)
  pad_columns = (left, columns - 2 - left)
  padded = jnp.pad(x, ((0, 0), (0, 0), pad_rows, pad_columns))
  platform = target_platform()
  if platform == 'cpu':
    return _extract_pairs(padded, (rows, columns), height, width)

  taps = []
  for i, j in np.ndindex(rows, columns):
    tap = sliced(
      padded,
      _ALL,
      slice(i, i + height - 1, 2),
      slice(j, j + width - 1, 2),
    )
    taps.append(tap)
  if platform == 'gpu':
    # `polyphase_triton` reads one plane per tap. Stacked in this order, XLA copies planes and
    # transposes nothing.
    planes = jnp.stack(taps, axis=0)
    return jnp.moveaxis(planes, 0, -1)
  return jnp.stack(taps, axis=-1)


def _patch_size(kernel_size: Size) -> Size:
  """Return the rows and columns of a patch."""
  kernel_h, kernel_w = kernel_size
  return kernel_h + 1, kernel_w + 1


def _margin(kernel_size: Size) -> Size:
  """Return the number of rows and columns by which a patch begins before its window."""
  kernel_h, kernel_w = kernel_size
  return (kernel_h - 1) // 2, (kernel_w - 1) // 2


def _extract_pairs(padded: jax.Array, size: Size, height: int, width: int) -> jax.Array:
  """Extract patches by copies of two pixels, first along rows, then row by row.

  The result equals the stack of strided taps, which the CPU back end of XLA gathers pixel by pixel:
  that takes six times as long.

  Args:
    padded: [B, T, H', W'].
    size: rows and columns of a patch.
    height: H of the image without padding.
    width: W of the image without padding.
  """
  batch, frames, padded_height, padded_width = padded.shape
  rows, columns = size
  pairs = (columns + 1) // 2
  needed_width = width + 2 * pairs - 2
  pad_columns = (0, needed_width - padded_width)
  padded = jnp.pad(padded, ((0, 0), (0, 0), (0, 0), pad_columns))
  grid = materialise(padded)
  grid = grid.reshape(batch, frames, padded_height, -1, 2)

  parts = []
  for j in range(pairs):
    part = sliced(grid, _ALL, _ALL, slice(j, j + width // 2))
    parts.append(part)
  patch_rows = jnp.concatenate(parts, axis=-1)
  # With an odd number of columns, the last pair has one pixel too many.
  patch_rows = materialise(patch_rows[..., :columns])

  parts = []
  for i in range(rows):
    part = sliced(patch_rows, _ALL, slice(i, i + height - 1, 2))
    parts.append(part)
  return jnp.concatenate(parts, axis=-1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def overlap_add(patches: jax.Array, kernel_size: Size) -> jax.Array:
  """Add overlapping patches up to an image: the transpose of `extract`.

  Patch row i of window h lies in image row 2 h + i - low, where low is the margin. So image row
  2 h + a collects patch row i of window h + (a + low - i) / 2, for every i that makes this a whole
  number.

  Args:
    patches: [B, T, H/2, W/2, K].
    kernel_size: (kh, kw).

  Returns:
    [B, T, H, W].
  """
  batch, frames, height, width, _ = patches.shape
  size = _patch_size(kernel_size)
  grid = patches.reshape(batch, frames, height, width, *size)
  border = max(size)
  pads = (border, border)
  padded = jnp.pad(grid, ((0, 0), (0, 0), pads, pads, (0, 0), (0, 0)))

  phases = []
  for phase in PHASES:
    total = 0
    for (i, row), (j, column) in _contributions(phase, kernel_size):
      top = border + row
      left = border + column
      pixel = sliced(
        padded,
        _ALL,
        slice(top, top + height),
        slice(left, left + width),
        slice(i, i + 1),
        slice(j, j + 1),
      )
      total = total + pixel.squeeze((4, 5))
    phases.append(total)

  stacked = jnp.stack(phases, axis=-1)
  stacked = stacked.reshape(batch, frames, height, width, 2, 2)
  image = stacked.transpose(0, 1, 2, 4, 3, 5)
  return image.reshape(batch, frames, 2 * height, 2 * width)


def _contributions(phase: Size, kernel_size: Size) -> Iterator[tuple[Size, Size]]:
  """Yield the patch pixels that add to one phase of a window.

  Yields:
    ((i, row), (j, column)): pixel (i, j) of the patch of the window that lies `row` windows further
    down and `column` windows further right.
  """
  rows, columns = _patch_size(kernel_size)
  low_h, low_w = _margin(kernel_size)
  bottom = phase[0] + low_h
  right = phase[1] + low_w
  # Only pixels of the same parity lie on this phase.
  for i in range(bottom % 2, rows, 2):
    for j in range(right % 2, columns, 2):
      yield (i, (bottom - i) // 2), (j, (right - j) // 2)


# Both functions are linear, and each is the transpose of the other.


def _extract_fwd(x: jax.Array, kernel_size: Size) -> tuple[jax.Array, None]:
  return extract(x, kernel_size), None


def _extract_bwd(kernel_size: Size, _: None, cotangent: jax.Array) -> tuple[jax.Array]:
  return (overlap_add(cotangent, kernel_size),)


def _overlap_add_fwd(patches: jax.Array, kernel_size: Size) -> tuple[jax.Array, None]:
  return overlap_add(patches, kernel_size), None


def _overlap_add_bwd(kernel_size: Size, _: None, cotangent: jax.Array) -> tuple[jax.Array]:
  return (extract(cotangent, kernel_size),)


extract.defvjp(_extract_fwd, _extract_bwd)
overlap_add.defvjp(_overlap_add_fwd, _overlap_add_bwd)
