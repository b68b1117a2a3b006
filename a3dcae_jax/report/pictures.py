"""Images as PNG data inside the page."""

import base64
import io

import numpy as np
from PIL import Image

# Black, purple, orange, pale yellow. Brightness rises throughout, so the map can be printed in
# grey.
_HEAT = np.asarray(
  [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float64
)


def grey_picture(image: np.ndarray) -> str:
  """Return an image [H, W] in [0, 1] as a `data:` URL of a PNG."""
  levels = np.rint(np.asarray(image) * 255)
  return _data_url(np.clip(levels, 0, 255))


def heat_picture(error: np.ndarray, limit: float) -> str:
  """Return a map [H, W] from 0 to `limit` as a `data:` URL of a coloured PNG."""
  last = len(_HEAT) - 1
  relative = np.asarray(error, np.float64) / max(limit, 1e-12)
  level = np.clip(relative, 0, 1) * last
  lower = np.minimum(level.astype(int), last - 1)
  share = (level - lower)[..., None]
  pixels = _HEAT[lower] * (1 - share) + _HEAT[lower + 1] * share
  return _data_url(pixels)


def _data_url(pixels: np.ndarray) -> str:
  buffer = io.BytesIO()
  image = Image.fromarray(pixels.astype(np.uint8))
  image.save(buffer, 'PNG', optimize=True)
  encoded = base64.b64encode(buffer.getvalue())
  return f'data:image/png;base64,{encoded.decode()}'
