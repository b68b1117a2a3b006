"""The local error of a frame: the error of its most unusual region.

The mean error of a frame grows with the number of people in it. The local error looks at each
region alone. In a Gaussian window in space and time around each pixel position it computes

    reconstruction error   root of the network's mean squared error
    speed                  speed of the motion, independent of contrast: least squares on
                           I_t = -(I_x u + I_y v),
                           |(u, v)| = |(M + c)^-1 (mean I_x I_t, mean I_y I_t)|,
                           M: the means of (I_x^2, I_x I_y; I_x I_y, I_y^2)

Both are divided by reference statistics: their means over normal motion in that row and at that
position in the window, because people near the camera are larger and move more pixels per frame.
Then both are mixed. The error of the frame is the mean over the most unusual 1 % of the positions.
The statistics come from the training videos alone.

The reconstruction error counts in proportion to the speed at its position. Otherwise a large,
bright person who stands still, and is badly reconstructed, would be an event.

Source of the least squares: Lucas & Kanade, IJCAI 1981. The rest is this project's own;
docs/journal/best.md describes how it was chosen.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from a3dcae_jax.common.optical_flow import gaussian_matrix, gradient_products, speed, window_means

SIGMA_PX = 4.0
"""Standard deviation of the Gaussian window over rows and columns, in pixels."""

SIGMA_FRAMES = 2.0
"""Standard deviation of the Gaussian window over time, in frames."""

DAMPING = 1e-4
"""c, for grey levels on [0, 1]; positions with a smaller squared gradient count as still."""

TOP_FRACTION = 0.01
"""Fraction of the positions of a frame whose mean is the error of the frame."""

STEP = 2
"""Pixels per value of the pooled maps, in each direction."""

ROWS_SIGMA = 4.0
"""Standard deviation of the smoothing of the statistics, in rows of the pooled maps."""

PRIOR = 0.02
"""Weight of the mean over all rows, as a fraction of the motion energy of all videos.

It decides in rows where nothing ever moves.
"""


class Pooled(NamedTuple):
  """Maps [B, T, h, w] of local means, with h = H / STEP and w = W / STEP.

  Attributes:
    speed: in pixels per frame.
    reconstruction_error: root mean squared error, in grey levels on [0, 1].
    energy: motion energy, the mean squared I_t; the weight of a position in the reference
      statistics.
  """

  speed: jax.Array
  reconstruction_error: jax.Array
  energy: jax.Array


def pooled_maps(maps: jax.Array, clips: jax.Array) -> Pooled:
  """Return speed, reconstruction error and motion energy around each position.

  Args:
    maps: error maps [B, T, H, W].
    clips: the clips that they belong to, [B, T, H, W, 1].
  """
  images = clips.squeeze(-1).astype(jnp.float32)
  maps = maps.astype(jnp.float32)
  in_time = jnp.gradient(images, axis=1)
  down, across = jnp.gradient(images, axis=(2, 3))
  products = gradient_products(in_time, down, across)
  energy = in_time * in_time
  quantities = jnp.concatenate([products, jnp.stack([energy, maps])])
  _, frames, height, width = images.shape
  window = (
    gaussian_matrix(frames, SIGMA_FRAMES, 1),
    gaussian_matrix(height, SIGMA_PX, STEP),
    gaussian_matrix(width, SIGMA_PX, STEP),
  )
  *mean_products, mean_energy, mean_error = window_means(quantities, window)
  return Pooled(
    speed=speed(*mean_products, DAMPING),
    reconstruction_error=jnp.sqrt(mean_error),
    energy=mean_energy,
  )


def row_sums(pooled: Pooled) -> jax.Array:
  """Return the sums that `motion_statistics` needs of one batch.

  Returns:
    [3, T, h]: sums over clips and columns of energy, energy * speed and energy * error.
  """
  energy = pooled.energy
  weighted_speed = energy * pooled.speed
  weighted_error = energy * pooled.reconstruction_error
  quantities = jnp.stack([energy, weighted_speed, weighted_error])
  return quantities.sum((1, 4))


def motion_statistics(sums: np.ndarray) -> np.ndarray:
  """Return the reference statistics: training means weighted by motion energy.

      statistics[q, t, i] = (g * sum e q + p) / (g * sum e + P)

  e is the motion energy, q the speed or the reconstruction error, and g * smooths over rows. The
  prior p / P is the mean over all rows at position t in the window.

  Args:
    sums: [3, T, h], `row_sums` added up over training videos.

  Returns:
    float32 [2, T, h]: speed and reconstruction error.
  """
  sums = np.asarray(sums, np.float64)
  _, _, rows = sums.shape
  kernel = gaussian_matrix(rows, ROWS_SIGMA, 1)
  kernel = np.asarray(kernel, np.float64)
  smooth = np.einsum('ctr,ir->cti', sums, kernel)
  prior = PRIOR * sums.sum(2, keepdims=True)
  energy, speed_sum, error_sum = smooth + prior
  energy = np.maximum(energy, 1e-30)
  means = np.stack([speed_sum / energy, error_sum / energy])
  return np.maximum(means, 1e-6).astype(np.float32)


def local_errors(
  maps: jax.Array, clips: jax.Array, statistics: jax.Array, network_weight: float
) -> tuple[jax.Array, jax.Array]:
  """Return the local error of each frame, and the map that it is computed from.

  Args:
    maps: error maps [B, T, H, W].
    clips: the clips that they belong to, [B, T, H, W, 1].
    statistics: from `motion_statistics`, [2, T, h].
    network_weight: share of the reconstruction error in the mix, in [0, 1]; at 0 only the speed
      counts, and nothing is learnt.

  Returns:
    Errors [B, T] and maps [B, T, H, W].
  """
  pooled = pooled_maps(maps, clips)
  mixed = mixed_maps(pooled, statistics, network_weight)
  rows = jnp.repeat(mixed, STEP, axis=2)
  in_pixels = jnp.repeat(rows, STEP, axis=3)
  return top_mean(mixed), in_pixels


def mixed_maps(pooled: Pooled, statistics: jax.Array, network_weight: float) -> jax.Array:
  """Mix speed and reconstruction error, each relative to its reference.

      (1 - w) s + w min(s, 1) q

  s is the relative speed, q the relative reconstruction error and w the network weight. The value
  is about 1 where something moves normally.

  Returns:
    [B, T, h, w].
  """
  reference_speed, reference_error = statistics[:, None, :, :, None]
  relative_speed = pooled.speed / reference_speed
  relative_error = pooled.reconstruction_error / reference_error
  from_speed = (1 - network_weight) * relative_speed
  limited_speed = jnp.minimum(relative_speed, 1)
  return from_speed + network_weight * limited_speed * relative_error


def top_mean(maps: jax.Array) -> jax.Array:
  """Return the mean of the highest values of each frame: [B, T, h, w] -> [B, T].

  These are the `TOP_FRACTION` of its positions, at least one.
  """
  batch, frames, height, width = maps.shape
  positions = height * width
  count = max(int(round(TOP_FRACTION * positions)), 1)
  ordered = jnp.sort(maps.reshape(batch, frames, positions), axis=-1)
  # A slice and not an index, which makes a gather in programs with a symbolic batch size.
  highest = lax.slice_in_dim(ordered, positions - count, None, axis=-1)
  return highest.mean(-1)
