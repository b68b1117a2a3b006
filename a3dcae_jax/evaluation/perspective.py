"""Perspective normalisation of flow by a reference speed for each image row.

A person near the camera moves more pixels per frame than one far away. If the camera looks down on
a plane, this number grows linearly from the horizon downwards. So the reference speed is a linear
function of the row, given by its values at the top and the bottom row.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.common.optical_flow import flow_images
from a3dcae_jax.data.frame_cache import CachedVideo
from a3dcae_jax.evaluation.flow_blocks import flow_blocks
from a3dcae_jax.models.inputs import UNIFORM_ROWS

MIN_TOP_SCALE = 0.25  # lowest reference speed of the top row; little moves there


def find_row_scale(frames: np.ndarray, videos: Sequence[CachedVideo]) -> tuple[float, float]:
  """Fit the reference speed of the top and of the bottom row.

  A line s(y) is fitted to the speeds v of all pixels by least squares, weighted by v^2:

      s(y) = s0 + b (y - y0),   y0 = sum v^2 y / sum v^2,   s0 = sum v^3 / sum v^2
      b = sum v^2 (y - y0) (v - s0) / sum v^2 (y - y0)^2

  The line is divided by s0, so that the reference speed is 1 where most of the motion is. The slope
  b is limited: at least 0, since the ground is nearest at the bottom, and at most such that the top
  row has `MIN_TOP_SCALE`.

  Returns:
    (top, bottom), rounded to three decimals; `UNIFORM_ROWS` if nothing moves.
  """
  squares, cubes = sum(
    np.asarray(_moments(block), np.float64) for block in flow_blocks(frames, videos)
  )
  rows = np.arange(len(squares))
  total = squares.sum()
  middle = (squares * rows).sum() / max(total, 1e-30)
  spread = (squares * np.square(rows - middle)).sum()
  if not spread > 0:
    return UNIFORM_ROWS
  mean_speed = cubes.sum() / total
  slope = ((rows - middle) * (cubes - mean_speed * squares)).sum() / spread / mean_speed
  slope = min(max(slope, 0.0), (1 - MIN_TOP_SCALE) / middle)
  if not slope:
    return UNIFORM_ROWS
  top = 1 - slope * middle
  bottom = 1 + slope * (rows[-1] - middle)
  return float(f'{top:.3f}'), float(f'{bottom:.3f}')


@jax.jit
def _moments(frames: jax.Array) -> jax.Array:
  """Return the sums of v^2 and v^3 over frames uint8 [T, H, W] and columns, [2, H]."""
  flow = flow_images(frames[None].astype(jnp.float32) / 255)
  return jnp.stack([jnp.square(flow), flow**3]).sum((1, 2, 4))
