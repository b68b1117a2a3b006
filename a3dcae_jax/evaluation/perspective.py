"""How fast things usually move at the top and at the bottom of the image, which `input.perspective` names: 'alike', 'found', or 'TOP:BOTTOM'."""

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.optical_flow import flow_images
from a3dcae_jax.evaluation.flow_blocks import flow_blocks
from a3dcae_jax.models.inputs import UNIFORM_ROWS

FOUND = 'found'  # in training footage, when the run begins; config.json then has what was found
LEAST = 0.25  # of the usual speed, at the top: farther up hardly anything is seen to move


def speeds_of(name):
  """(top, bottom), by the usual speed, of a `input.perspective` that is not 'found'."""
  if name == 'alike':
    return UNIFORM_ROWS
  try:
    top, bottom = (float(part) for part in name.split(':'))
  except ValueError:
    top = bottom = 0.0
  if not (0 < top < np.inf and 0 < bottom < np.inf):
    raise UserError(
      f'input.perspective {name!r}: known are alike, found, and TOP:BOTTOM, two positive numbers, as 0.5:1.2'
    )
  return top, bottom


def find_row_scale(frames, videos):
  """'TOP:BOTTOM' of `videos`: a line through the speeds of all their pixels by least squares, each weighted by its square, so that what moves counts.

      s(y) = s0 + b (y - y0),   y0 = sum v^2 y / sum v^2,   s0 = sum v^3 / sum v^2,   b = sum v^2 (y - y0) (v - s0) / sum v^2 (y - y0)^2

  over s0, so that 1 is what is usual where most moves. On a plane seen from a height the pixels that a step takes grow just so, from nothing at the
  horizon. b is 0 where it is below, since cameras stand upright, and at most what leaves `LEAST` to the top row.
  """
  squares, cubes = sum(
    np.asarray(_moments(block), np.float64) for block in flow_blocks(frames, videos)
  )
  rows, total = np.arange(len(squares)), squares.sum()
  spread = (
    squares * np.square(rows - (middle := (squares * rows).sum() / max(total, 1e-30)))
  ).sum()
  if not spread > 0:
    return 'alike'  # nothing moves
  usual = cubes.sum() / total
  slope = ((rows - middle) * (cubes - usual * squares)).sum() / spread / usual
  slope = min(max(slope, 0.0), (1 - LEAST) / middle)
  return f'{1 - slope * middle:.3f}:{1 + slope * (rows[-1] - middle):.3f}' if slope else 'alike'


@jax.jit
def _moments(frames):
  """Sums over frames and columns of v^2 and v^3, [2, H], of uint8 [T, H, W]."""
  flow = flow_images(frames[None].astype(jnp.float32) / 255)
  return jnp.stack([jnp.square(flow), flow**3]).sum((1, 2, 4))
