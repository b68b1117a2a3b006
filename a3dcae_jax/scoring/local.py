"""A frame's score as what is strangest in any one place of it, by what is usual there.

The mean error of a frame first of all counts the people in it. In a Gaussian window in space and time around each place there are instead

    surprise  the root of the mean error of the network: how unlike what was learnt this place looks and moves
    speed     how fast whatever is there moves, whatever its damping: least squares on I_t = -(I_x u + I_y v),
              |(u, v)| = |(M + c)^-1 (mean I_x I_t, mean I_y I_t)|,   M the means of (I_x^2, I_x I_y; I_x I_y, I_y^2)

Both are divided by what is usual for a moving thing in that row and at that place of the clip (perspective: near walkers are larger and move more
pixels), mixed, and the mean of the highest per cent of places is the frame's error. Only training footage says what is usual. Surprise counts as far
as its place moves: somebody large and bright who stands there all day is reproduced badly all day, and is not an event.

Source of the least squares: Lucas & Kanade, IJCAI 1981. The rest is ours; docs/notes/quality/best.md has how it was chosen.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.optical_flow import gaussian_matrix, gradient_products, speed, window_means

STEP = 2  # pooled maps have a value every so many pixels
ROWS_SIGMA = 4.0  # smoothing of what is usual over the rows of the pooled maps
PRIOR = 0.02  # weight of the mean of all rows beside a row's own, in the whole footage's motion energy: decides where nothing ever moves


class Rule(NamedTuple):
  """How a local score is taken.

  sigma_px, sigma_frames: of the Gaussian window. damping: c, in squared grey steps a pixel on [0, 1]; it keeps what has less damping still.
  surprise_weight: of the network's part in the mix, 0 to 1; 0 is speed alone, in which nothing is learnt. share: of the places whose mean counts.
  """

  sigma_px: float = 4.0
  sigma_frames: float = 2.0
  damping: float = 1e-4
  surprise_weight: float = 0.25
  share: float = 0.01


def make_rule(**fields):
  """A `Rule`, or a `UserError` that names the first field out of range."""
  rule = Rule(**fields)
  for name, low, high in (
    ('sigma_px', 0.5, 64),
    ('sigma_frames', 0.1, 64),
    ('damping', 1e-8, 1),
    ('surprise_weight', 0, 1),
    ('share', 0, 1),
  ):
    if not low <= getattr(rule, name) <= high:
      raise UserError(
        f'eval.local.{name} (={getattr(rule, name)}) must lie between {low} and {high}'
      )
  return rule


class Pooled(NamedTuple):
  """Maps [B, T, h, w]: speed in pixels a frame, surprise in grey steps, and the energy of motion (mean squared I_t) that weighs a place."""

  speed: jnp.ndarray
  surprise: jnp.ndarray
  energy: jnp.ndarray


def pooled_maps(maps, clips, rule):
  """`Pooled` of error maps [B, T, H, W] and the clips they belong to [B, T, H, W, 1]; h = H / STEP, w = W / STEP."""
  images = clips.squeeze(-1).astype(jnp.float32)
  in_time = jnp.gradient(images, axis=1)
  down, across = jnp.gradient(images, axis=(2, 3))
  products = jnp.concatenate(
    [
      gradient_products(in_time, down, across),
      jnp.stack([in_time * in_time, maps.astype(jnp.float32)]),
    ]
  )
  window = (
    gaussian_matrix(images.shape[1], rule.sigma_frames, 1),
    gaussian_matrix(images.shape[2], rule.sigma_px, STEP),
    gaussian_matrix(images.shape[3], rule.sigma_px, STEP),
  )
  *means, energy, error = window_means(products, window)
  return Pooled(speed(*means, rule.damping), jnp.sqrt(error), energy)


def row_sums(pooled):
  """What `usual_of` needs of a batch: sums over clips and columns of (energy, energy * speed, energy * surprise), [3, T, h]."""
  return jnp.stack(
    [pooled.energy, pooled.energy * pooled.speed, pooled.energy * pooled.surprise]
  ).sum((1, 4))


def usual_of(sums):
  """What is usual for a moving thing, by its place in the clip and its row: means weighted by motion energy.

      usual[q, t, i] = (g * sum e q + p) / (g * sum e + P),   g * smooths over rows; the prior p / P is the mean over all rows of place t

  Args: sums: [3, T, h], `row_sums` added up over training footage. Returns: float32 [2, T, h]: of speed and of surprise.
  """
  sums = np.asarray(sums, np.float64)
  smooth = np.asarray(gaussian_matrix(sums.shape[2], ROWS_SIGMA, 1), np.float64)
  prior = PRIOR * sums.sum(2, keepdims=True)
  energy, *weighted = np.einsum('ctr,ir->cti', sums, smooth) + prior
  return np.stack(
    [np.maximum(quantity / np.maximum(energy, 1e-30), 1e-6) for quantity in weighted]
  ).astype(np.float32)


def local_errors(maps, clips, usual, rule):
  """A frame's error and where it comes from: error maps [B, T, H, W], clips [B, T, H, W, 1], usual [2, T, h] -> [B, T], [B, T, H, W]."""
  mixed = local_maps(pooled_maps(maps, clips, rule), usual, rule)
  return strongest(mixed, rule.share), jnp.repeat(jnp.repeat(mixed, STEP, 2), STEP, 3)


def local_maps(pooled, usual, rule):
  """The mix: [B, T, h, w], about 1 where something moves as usual. usual: [2, T, h] of `usual_of`.

  (1 - w) s + w min(s, 1) q,   s and q: speed and surprise by what is usual, w: surprise_weight
  """
  speed, surprise = (
    pooled.speed / usual[0][None, :, :, None],
    pooled.surprise / usual[1][None, :, :, None],
  )
  return (1 - rule.surprise_weight) * speed + rule.surprise_weight * jnp.minimum(
    speed, 1
  ) * surprise


def strongest(maps, share):
  """Mean of the highest `share` of the places (one at least) of each frame: [B, T, h, w] -> [B, T]."""
  flat = maps.reshape(*maps.shape[:2], -1)
  count = max(int(round(share * flat.shape[-1])), 1)
  highest = lax.slice_in_dim(
    jnp.sort(flat, axis=-1), flat.shape[-1] - count, None, axis=-1
  )  # no gather where the batch is left open
  return highest.mean(-1)
