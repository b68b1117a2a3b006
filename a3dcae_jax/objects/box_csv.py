"""Boxes of any source from a CSV file, in pixels of the original videos.

    video,frame,x1,y1,x2,y2,score,class

Frames count from 0; x2 and y2 are exclusive; rows may be in any order. A name that both splits have
is written as train/NAME or test/NAME.
"""

import math
import pathlib
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import SPLITS
from a3dcae_jax.data.layouts.text import Row, read_table
from a3dcae_jax.objects.boxes import Boxes, join_boxes, make_boxes

COLUMNS = ('video', 'frame', 'x1', 'y1', 'x2', 'y2', 'score', 'class')
_MAX_FAULTS = 10
_MAX_CLASS = 2**31 - 1


class _Place(NamedTuple):
  """Where the boxes of a video belong.

  Attributes:
    first: index of its first frame in the split.
    num_frames: its length.
    size: (height, width) of the original video.
    scale: (x, y) from the original video to the cache.
  """

  first: int
  num_frames: int
  size: tuple[int, int]
  scale: tuple[float, float]


def read_boxes(path: str | pathlib.Path, index: Mapping[str, Any], split: str) -> Boxes:
  """Read the boxes of a split.

  Of rows of the other split only the name of the video is checked.

  Args:
    path: the CSV file.
    index: index of the frame cache.
    split: 'train' or 'test'.

  Raises:
    UserError: with one line for each fault, ten at most, if the file cannot be read or a row has
      a fault.
  """
  path = pathlib.Path(path)
  places = _places(index, split)
  faults = []
  rows = []
  table = read_table(path)
  header = [cell.lower() for cell in next(table, Row(1, [])).cells]
  if tuple(header) != COLUMNS:
    raise UserError(f'{path}: row 1 is {",".join(header)!r}, it must be {",".join(COLUMNS)}')
  for line, cells in table:
    try:
      row = _read_row(cells, places)
    except ValueError as error:
      faults.append(f'{path}: row {line}: {error}')
      continue
    if row is not None:
      rows.append(row)
  if faults:
    if len(faults) > _MAX_FAULTS:
      faults = [*faults[:_MAX_FAULTS], f'{path}: {len(faults) - _MAX_FAULTS} more faults']
    raise UserError('\n  '.join(faults))
  if not rows:
    return join_boxes([])
  frame, corners, score, label = zip(*rows, strict=True)
  return join_boxes([make_boxes(frame, corners, score, label)])


def _places(index: Mapping[str, Any], split: str) -> dict[str, _Place | None]:
  """Return the place of each video, by all names it may have in the file.

  The place is None for a video of the other split.
  """
  places = {}
  names = [{video['name'] for video in index['splits'][key]['videos']} for key in SPLITS]
  shared = names[0] & names[1]
  for key in SPLITS:
    first = 0
    for video in index['splits'][key]['videos']:
      height, width = video['source_size']
      scale = (index['width'] / width, index['height'] / height)
      place = _Place(first, video['num_frames'], (height, width), scale) if key == split else None
      first += video['num_frames']
      name = unicodedata.normalize('NFC', video['name'])
      places[f'{key}/{name}'] = place
      if video['name'] not in shared:
        places[name] = place
  return places


def _read_row(
  cells: Sequence[str], places: Mapping[str, _Place | None]
) -> tuple[int, np.ndarray, float, int] | None:
  """Return frame, corners, score and class; None if the split is another one.

  The frame is counted in the split.

  Raises:
    ValueError: with the value and the rule.
  """
  if len(cells) != len(COLUMNS):
    raise ValueError(f'{len(cells)} values, it must have {len(COLUMNS)}: {",".join(COLUMNS)}')
  values = dict(zip(COLUMNS, cells, strict=True))
  name = unicodedata.normalize('NFC', values['video'])
  if name not in places:
    rule = 'is in both splits: write train/ or test/ before it'
    if f'train/{name}' not in places:
      rule = 'is not in the frame cache'
    raise ValueError(f'video {name!r} {rule}')
  place = places[name]
  if place is None:
    return None
  frame = _whole(values, 'frame', place.num_frames - 1)
  x1, y1, x2, y2, score = (_number(values, column) for column in COLUMNS[2:7])
  label = _whole(values, 'class', _MAX_CLASS)
  if not 0 <= score <= 1:
    raise ValueError(f'score {score:g} is not between 0 and 1')
  if x2 <= x1 or y2 <= y1:
    raise ValueError(f'x1 {x1:g}, x2 {x2:g}, y1 {y1:g}, y2 {y2:g}: x2 > x1 and y2 > y1 must hold')
  height, width = place.size
  corners = np.clip([x1, y1, x2, y2], 0, [width, height, width, height])
  if corners[2] <= corners[0] or corners[3] <= corners[1]:
    raise ValueError(
      f'the box {x1:g}, {y1:g}, {x2:g}, {y2:g} is outside the video, which is {width}x{height}'
    )
  corners *= [*place.scale, *place.scale]
  return place.first + frame, corners, score, label


def _number(values: Mapping[str, str], column: str) -> float:
  try:
    number = float(values[column])
  except ValueError:
    number = math.nan
  if not math.isfinite(number):
    raise ValueError(f'{column} {values[column]!r} is not a finite number')
  return number


def _whole(values: Mapping[str, str], column: str, most: int) -> int:
  number = _number(values, column)
  if number != int(number) or not 0 <= number <= most:
    raise ValueError(f'{column} {values[column]!r} is not a whole number from 0 to {most}')
  return int(number)
