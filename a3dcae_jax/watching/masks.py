"""Regions of a picture that are ignored, from images or polygons of the user."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_object
from a3dcae_jax.data.video import read_mask, resize_mask
from a3dcae_jax.serving.images import grey_levels
from a3dcae_jax.watching.sources import Source, named_file

_CANVAS_PX = 1024  # of a mask that is drawn from polygons
_POLYGON_EXAMPLE = '{"polygons": [[[0, 0], [0.4, 0], [0, 0.3]]]}'
_SHARE = 0.5  # of a box that may be ignored before the whole box is


class Mask:
  """The ignored region of one source.

  Args:
    ignored: bool [H, W], at the size of a bundle's frames.
    background: uint8 [H, W], shown there instead; None for mid grey.
  """

  def __init__(self, ignored: np.ndarray, background: np.ndarray | None) -> None:
    self._ignored = ignored
    self._background = np.uint8(128) if background is None else background

  def covered(self, frame: np.ndarray) -> np.ndarray:
    """Return a frame with the mean image of the training videos in the ignored region."""
    return np.where(self._ignored, self._background, frame)

  def kept(self, corners: np.ndarray) -> np.ndarray:
    """Return bool [M], which boxes are less than half in the ignored region."""
    keep = np.ones(len(corners), bool)
    for index, (x1, y1, x2, y2) in enumerate(np.rint(corners).astype(int).tolist()):
      inside = self._ignored[max(y1, 0) : max(y2, y1 + 1), max(x1, 0) : max(x2, x1 + 1)]
      keep[index] = not inside.size or inside.mean() < _SHARE
    return keep


def read_masks(texts: Sequence[str], sources: Sequence[Source]) -> dict[str, np.ndarray]:
  """Return the ignored region by the name of the source: uint8 0/1 [H, W].

  Args:
    texts: 'FILE' for all sources, or 'NAME=FILE' for the source of that name; an image, or a JSON
      file of polygons.
    sources: all sources.

  Raises:
    UserError: if a file is neither an image nor polygons, or there is no source of that name.
  """
  masks = {}
  names = [source.name for source in sources]
  for text in texts:
    name, file = named_file(text)
    if name and name not in names:
      raise UserError(
        f'--mask={text}: there is no source {name!r}; there are {", ".join(names[:10])}'
      )
    path = pathlib.Path(file).expanduser()
    if not path.is_file():
      raise UserError(f'--mask={text}: there is no file {path}')
    ignored = read_polygons(path) if path.suffix.lower() == '.json' else read_mask(path)
    if ignored.all():
      raise UserError(
        f'--mask={text}: all of the picture would be ignored: leave the watched part black, or out '
        'of the polygons'
      )
    masks |= dict.fromkeys([name] if name else names, ignored)
  return masks


def read_polygons(path: pathlib.Path) -> np.ndarray:
  """Read polygons as a mask, uint8 [H, W]: 1 inside.

  The file has {"polygons": [[[x, y], ...], ...]}. x and y are shares of the width and the height,
  from 0 at the upper left to 1, so that they hold for any size of the picture.

  Raises:
    UserError: for any other content.
  """
  polygons = read_object(path).get('polygons')
  if not isinstance(polygons, list) or not polygons:
    raise UserError(
      f'{path}: "polygons" is missing or empty: it must be a list, as in {_POLYGON_EXAMPLE}'
    )
  image = Image.new('L', (_CANVAS_PX, _CANVAS_PX))
  for number, polygon in enumerate(polygons, 1):
    _check_polygon(f'{path}: polygon {number}', polygon)
    points = [(x * (_CANVAS_PX - 1), y * (_CANVAS_PX - 1)) for x, y in polygon]
    ImageDraw.Draw(image).polygon(points, fill=1)
  return np.asarray(image)


def _check_polygon(name: str, polygon: Any) -> None:
  if not isinstance(polygon, list) or len(polygon) < 3:
    raise UserError(f'{name} must be a list of at least 3 points, as in {_POLYGON_EXAMPLE}')
  for point in polygon:
    is_pair = isinstance(point, list) and len(point) == 2
    if not is_pair or any(type(value) not in (int, float) for value in point):
      raise UserError(f'{name}: a point is {point!r}; it must be [x, y]')
    if not all(0 <= value <= 1 for value in point):
      raise UserError(
        f'{name}: a point is {point}; x and y must be shares from 0 to 1: divide pixels by the '
        'width and the height of the picture'
      )


def make_mask(ignored: np.ndarray, height: int, width: int, reference: np.ndarray | None) -> Mask:
  """Return the mask of a source at the size of a bundle's frames.

  Args:
    ignored: uint8 0/1 of any size.
    height: of a bundle's frames.
    width: of a bundle's frames.
    reference: float [height, width] in [0, 1], mean image; None if there is none.
  """
  background = None if reference is None else grey_levels(reference)
  return Mask(resize_mask(ignored, height, width).astype(bool), background)
