"""Measurements of objects on the device (Table VIII).

An object is judged by three measurements:

    appearance  error of the reconstructed frames
    motion      error of the reconstructed frame differences
    speed       of the motion in the crop, by least squares (`common.optical_flow`)

`serving.object_statistics` turns them into errors of objects and of frames.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from a3dcae_jax.common.optical_flow import (
  gaussian_matrix,
  gradient_products,
  velocity,
  window_means,
)

SPEED_PX = 8
"""Side to which crops are reduced for the speed.

Least squares need movements of less than about a pixel per frame. A cyclist moves by five pixels of
a full crop and would be measured as slower than a walker.
"""

SIGMA_PX = 2.0
"""Standard deviation of the window of the speed over rows and columns, in reduced pixels."""

SIGMA_FRAMES = 3.0
"""Standard deviation of that window over time, in frames."""

DAMPING = 1e-4
"""Keeps parts of the crop without contrast still, in squared grey levels."""

SPEED_QUANTILE = 0.9
"""Quantile over the reduced pixels of a crop that is the speed of the object."""


def measure_objects(
  real: jax.Array, recon: jax.Array, crops: jax.Array, corners: jax.Array
) -> jax.Array:
  """Measure objects.

  Args:
    real: input of the networks, [B, T, S, S, C]: frames, and frame differences if C is 2.
    recon: its reconstruction.
    crops: the crops that the input was made from, [B, T, S, S] in [0, 1].
    corners: boxes, x1, y1, x2, y2 in pixels of the frame, [B, 4].

  Returns:
    float32 [B, 5], see `serving.object_statistics.RAW_MEASUREMENTS`; those of motion are 0 if C is
    1.
  """
  errors = _middle_means(jnp.square(recon - real))
  energies = _middle_means(jnp.square(real))
  appearance = [_at(errors, 0, 1), _at(energies, 0, 1)]
  motion = [_at(errors, -1, 1), _at(energies, -1, 1)]
  if real.shape[-1] == 1:
    motion = [jnp.zeros_like(appearance[0])] * 2
  return jnp.stack([*appearance, *motion, object_speed(crops, corners)], axis=1)


def object_speed(crops: jax.Array, corners: jax.Array) -> jax.Array:
  """Return the speed of each object at the middle of its clip, in pixels per frame.

  Crops are first reduced to `SPEED_PX`. The speed is the one that a tenth of the pixels exceeds,
  since the object covers only a part of its crop.

  Args:
    crops: [B, T, S, S] in [0, 1].
    corners: as in `measure_objects`.

  Returns:
    float32 [B].
  """
  crops = _reduced(crops)
  batch, frames, size, _ = crops.shape
  in_time = jnp.gradient(crops, axis=1)
  down, across = jnp.gradient(crops, axis=(2, 3))
  products = gradient_products(in_time, down, across)
  in_crop = gaussian_matrix(size, SIGMA_PX, 1)
  means = _at(window_means(products, (_middle_weights(frames), in_crop, in_crop)), 0, 2)
  right, downwards = velocity(*means, DAMPING)
  x1, y1, x2, y2 = corners.T[..., None, None]
  speed = jnp.hypot(right * (x2 - x1), downwards * (y2 - y1)) / size
  ordered = jnp.sort(speed.reshape(batch, size * size), axis=-1)
  return _at(ordered, round(SPEED_QUANTILE * (size * size - 1)), 1)


def _reduced(crops):
  """Return crops [B, T, S, S] as means of squares, with a side of about `SPEED_PX`."""
  batch, frames, size, _ = crops.shape
  factor = max(size // SPEED_PX, 1)
  side = size // factor
  inside = crops[:, :, : side * factor, : side * factor]
  return inside.reshape(batch, frames, side, factor, side, factor).mean((3, 5))


def _middle_means(squares):
  """Return means over the two middle frames, [B, T, S, S, C] -> [B, C]."""
  middle = squares.shape[1] // 2
  return lax.slice_in_dim(squares, middle - 1, middle + 1, axis=1).mean((1, 2, 3))


def _at(x, index, axis):
  """Return `x` at a position of an axis, as a slice.

  With a symbolic batch, indexing makes a gather instead, which is slow.
  """
  return lax.index_in_dim(x, index, axis, keepdims=False)


def _middle_weights(frames: int) -> jax.Array:
  """Return the weights of a Gaussian window around position T // 2, [1, T]."""
  distances = (np.arange(frames) - frames // 2) / SIGMA_FRAMES
  weights = np.exp(-0.5 * np.square(distances))
  return jnp.asarray(weights / weights.sum(), jnp.float32)[None]
