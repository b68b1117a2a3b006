"""Frames as pictures inside the page."""

import base64
import io

import numpy as np
from PIL import Image

# Black, purple, orange, pale yellow: a heat map whose brightness rises throughout, so it prints in grey too.
_HEAT = np.asarray(
  [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float64
)


def grey_picture(image):
  """[H, W] in [0, 1] -> a `data:` address of a PNG."""
  return _address(
    Image.fromarray(np.clip(np.rint(np.asarray(image) * 255), 0, 255).astype(np.uint8))
  )


def heat_picture(error, limit):
  """[H, W], 0 .. `limit` -> a `data:` address of a heat map."""
  level = np.clip(np.asarray(error, np.float64) / max(limit, 1e-12), 0, 1) * (len(_HEAT) - 1)
  low = np.minimum(level.astype(int), len(_HEAT) - 2)
  share = (level - low)[..., None]
  return _address(
    Image.fromarray((_HEAT[low] * (1 - share) + _HEAT[low + 1] * share).astype(np.uint8))
  )


def _address(image):
  buffer = io.BytesIO()
  image.save(buffer, 'PNG', optimize=True)
  return 'data:image/png;base64,' + base64.b64encode(buffer.getvalue()).decode()
