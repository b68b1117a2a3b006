"""Minimal filtering along time (Winograd) for convolutions with 3 time taps.

    F(m, 3):  y = A^T [(G k) * (B^T x)]

A tile of m output frames reads m + 2 input frames x. Their m + 2 combinations B^T x are convolved
in 2D with the m + 2 combinations G k of the kernel's taps, and A^T adds the products up. This takes
m + 2 instead of 3 m convolutions of a frame: 1/2 of the work for m = 4, 2/3 for m = 2. Height and
width are not transformed, because there the transforms would cost more than they save.

Rounding depends on the place of a frame in its tile. The equal frames of a still scene, or of a
still background, would get outputs that are almost equal, and a pool along time would find its
maximum at places that no other algorithm finds. So outputs of equal inputs are made equal, pixel by
pixel.

Source: Lavin and Gray, Fast algorithms for convolutional neural networks, CVPR 2016,
arXiv:1509.09308, sec. 4.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from a3dcae_jax.ops.conv_algorithm import keep_operands, materialise, split_batch
from a3dcae_jax.ops.shapes import sliced

TAPS = 3
_SEEN_ROWS = 8  # one row of so many is looked at first to see whether anything is at rest

# (frames [N, H, W, Cin], kernel [kh, kw, Cin, Cout]) -> [N, H', W', Cout]
Convolve = Callable[[jax.Array, jax.Array], jax.Array]
Arrays = Sequence[jax.Array]


class Transforms(NamedTuple):
  """The matrices of F(m, 3).

  Attributes:
    data: B^T [m + 2, m + 2].
    kernel: G [m + 2, 3].
    output: A^T [m, m + 2].
  """

  data: np.ndarray
  kernel: np.ndarray
  output: np.ndarray


F2 = Transforms(
  data=np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
  kernel=np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
  output=np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
)
F4 = Transforms(
  data=np.array(
    [
      [4, 0, -5, 0, 1, 0],
      [0, -4, -4, 1, 1, 0],
      [0, 4, -4, -1, 1, 0],
      [0, -2, -1, 2, 1, 0],
      [0, 2, -1, -2, 1, 0],
      [0, 4, 0, -5, 0, 1],
    ]
  ),
  kernel=np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24,
  output=np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
  ),
)


def tile_frames(taps: int, frames: int) -> int:
  """Return the number of output frames per tile, m.

  Args:
    taps: time taps of the kernel.
    frames: T of the input.

  Returns:
    4 or 2; 0 where the method does not apply.
  """
  if taps != TAPS:
    return 0
  for tile in (4, 2):
    if frames % tile == 0:
      return tile
  return 0


def convolve_time(
  x: jax.Array, kernel: jax.Array, pad: tuple[int, int], convolve: Convolve, tile: int
) -> jax.Array:
  """Convolve over time by minimal filtering, and over space by `convolve`.

  Args:
    x: [B, T, H, W, Cin], T divisible by `tile`.
    kernel: [3, kh, kw, Cin, Cout].
    pad: zero frames (before, after), 2 in all.
    convolve: the 2D convolution.
    tile: 2 or 4, see `tile_frames`.

  Returns:
    [B, T, H', W', Cout]. It equals the sum over taps of the shifted 2D convolutions up to rounding
    (a relative error of about 1e-5 for tile 4 in float32).
  """
  transforms = {2: F2, 4: F4}[tile]
  taps = list(kernel)
  kernels = materialise(_combine(transforms.kernel, taps))
  outputs = []
  for part in split_batch(x):
    output = _convolve_tiles(part, kernels, pad, convolve, transforms)
    outputs.append(output)
  if len(outputs) == 1:
    return outputs[0]
  return jnp.concatenate(outputs)


def _convolve_tiles(
  x: jax.Array,
  kernels: list[jax.Array],
  pad: tuple[int, int],
  convolve: Convolve,
  transforms: Transforms,
) -> jax.Array:
  tile = len(transforms.output)
  batch, frames = x.shape[:2]
  no_pad = (0, 0)
  padded = jnp.pad(x, (no_pad, pad, no_pad, no_pad, no_pad))

  # Column i has frame i of every tile.
  columns = []
  for i in range(tile + 2):
    limit = i + frames - tile + 1
    column = lax.slice_in_dim(padded, i, limit, tile, axis=1)
    columns.append(column)
  combined = materialise(_combine(transforms.data, columns))
  images = [column.reshape(-1, *x.shape[2:]) for column in combined]

  products = _products(images, kernels, convolve)
  outputs = _combine(transforms.output, products)
  # [B * T / tile, tile, H', W', Cout]
  outputs = jnp.stack(outputs, axis=1)
  outputs = outputs.reshape(batch, frames, *outputs.shape[2:])
  return _tied(outputs, x, kernels[0].shape[:2], pad, convolve)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _tied(
  y: jax.Array, x: jax.Array, size: tuple[int, int], pad: tuple[int, int], convolve: Convolve
) -> jax.Array:
  """Return y, with outputs of equal inputs at successive frames made equal.

  They differed by rounding alone, so the gradient is that of `y` itself.

  Args:
    y: the outputs, [B, T, H', W', Cout].
    x: [B, T, H, W, Cin].
    size: height and width of the kernel.
    pad: zero frames (before, after).
    convolve: the 2D convolution.
  """
  if x.shape[1] <= TAPS:  # no two outputs have the same three inputs
    return y

  def tie(y, x):
    return _first_of_equals(y, _as_before(x, size, pad, convolve))

  return lax.cond(_may_rest(x), tie, lambda y, x: y, y, x)


def _tied_fwd(
  y: jax.Array, x: jax.Array, size: tuple[int, int], pad: tuple[int, int], convolve: Convolve
) -> tuple[jax.Array, None]:
  return _tied(y, x, size, pad, convolve), None


def _tied_bwd(
  size: tuple[int, int], pad: tuple[int, int], convolve: Convolve, _: None, cotangent: jax.Array
) -> tuple[jax.Array, None]:
  del size, pad, convolve
  return cotangent, None


_tied.defvjp(_tied_fwd, _tied_bwd)


def _may_rest(x: jax.Array) -> jax.Array:
  """Return whether a place may be at rest for longer than the kernel's taps.

  Few rows are looked at. With noise no three neighbours are equal in four successive frames.
  """
  equal = _equal_to_previous(sliced(x, slice(None), slice(None, None, _SEEN_ROWS)))
  for axis in (1, 3):
    span = min(TAPS, equal.shape[axis])
    count = equal.shape[axis] - span + 1
    shifted = [lax.slice_in_dim(equal, i, i + count, axis=axis) for i in range(span)]
    equal = functools.reduce(jnp.logical_and, shifted)
  return equal.any()


def _as_before(
  x: jax.Array, size: tuple[int, int], pad: tuple[int, int], convolve: Convolve
) -> jax.Array:
  """Return where all inputs of an output equal those of the frame before.

  Returns:
    bool [B, T, H', W', 1].
  """
  changed = ~_equal_to_previous(x)
  images = changed.astype(x.dtype).reshape(-1, *changed.shape[2:])
  near = convolve(images, jnp.ones((*size, 1, 1), x.dtype)) > 0  # in the kernel's reach
  equal = ~near.reshape(*changed.shape[:2], *near.shape[1:])
  as_before = sliced(equal, slice(-2)) & sliced(equal, slice(1, -1)) & sliced(equal, slice(2, None))
  before, after = pad
  none = (0, 0)
  return jnp.pad(as_before, (none, (before + 1, after), none, none, none))  # the outer see zeros


def _first_of_equals(y: jax.Array, as_before: jax.Array) -> jax.Array:
  """Return for each output the first one of the run of frames with the same inputs."""

  def take(last, frame):
    output, is_as_before = frame
    output = jnp.where(is_as_before, last, output)
    return output, output

  outputs = y.swapaxes(0, 1)
  _, outputs = lax.scan(take, jnp.zeros_like(outputs[0]), (outputs, as_before.swapaxes(0, 1)))
  return outputs.swapaxes(0, 1)


def _equal_to_previous(x: jax.Array) -> jax.Array:
  """Return where x equals its frame before, bool [B, T - 1, H, W, 1]."""
  return (sliced(x, slice(1, None)) == sliced(x, slice(-1))).all(-1, keepdims=True)


def _convolve_each(images: Arrays, kernels: Arrays, convolve: Convolve) -> list[jax.Array]:
  outputs = []
  for image, kernel in zip(images, kernels, strict=True):
    outputs.append(convolve(image, kernel))
  return outputs


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _products(images: Arrays, kernels: Arrays, convolve: Convolve) -> list[jax.Array]:
  """Convolve each pair, so that no product and no gradient waits for another.

  See `conv_algorithm.keep_operands`.
  """
  return keep_operands(_convolve_each(images, kernels, convolve), images)


def _products_fwd(
  images: Arrays, kernels: Arrays, convolve: Convolve
) -> tuple[list[jax.Array], tuple[Arrays, Arrays]]:
  return _products(images, kernels, convolve), (images, kernels)


def _products_bwd(
  convolve: Convolve, residuals: tuple[Arrays, Arrays], cotangents: Arrays
) -> tuple[Arrays, Arrays]:
  images, kernels = residuals

  def convolve_each(images, kernels):
    return _convolve_each(images, kernels, convolve)

  _, pull = jax.vjp(convolve_each, images, kernels)
  gradients = pull(cotangents)
  return keep_operands(gradients, (cotangents, images))


_products.defvjp(_products_fwd, _products_bwd)


def _combine(matrix: np.ndarray, arrays: Arrays) -> list[jax.Array]:
  """Return one linear combination of `arrays` for each row of `matrix`.

  Products by 0 and 1 are left out.
  """
  rows = []
  for row in matrix:
    total = None
    for weight, array in zip(row, arrays, strict=True):
      if not weight:
        continue
      term = array if weight == 1 else float(weight) * array
      total = term if total is None else total + term
    rows.append(total)
  return rows
