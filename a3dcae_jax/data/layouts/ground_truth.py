"""Ground truth given by the user: intervals (text, JSON) or region tracks (text)."""

import json
import math
import pathlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.entries import VIDEOS
from a3dcae_jax.data.layouts.intervals import Intervals
from a3dcae_jax.data.layouts.text import Row, read_table, read_text
from a3dcae_jax.data.video import Region

_COLUMNS = ('video', 'start', 'end')
_TRACK_COLUMNS = 'track,frame,x1,y1,x2,y2'
_UCF_CELLS = 6  # video, class, and two intervals


def read_intervals(path: str | pathlib.Path) -> dict[str, Intervals]:
  """Read intervals of abnormal frames: 0-based, end exclusive.

  Args:
    path: a JSON file: a list of objects with the fields video, start, end, or
      {video: [[start, end], ...]}. Or any other text file: a table with these columns, named in the
      first row or else in this order; or UCF-Crime's rows of a video, a class and two intervals,
      which count from 1, include the last frame, and are -1 -1 where there is none.

  Returns:
    video -> its intervals.

  Raises:
    UserError: naming the file and the interval.
  """
  path = pathlib.Path(path)
  rows = _json_rows(path) if path.suffix.lower() == '.json' else _table_rows(path)
  found = {}
  for where, video, start, end in rows:
    try:
      interval = (_whole(start), _whole(end))
    except ValueError:
      raise UserError(
        f'{path}, {where}: start and end must be whole numbers, got {start!r}, {end!r}'
      ) from None
    if not 0 <= interval[0] < interval[1]:
      raise UserError(f'{path}, {where}: {start}..{end} is empty (0-based, end exclusive)')
    found.setdefault(str(video), []).append(interval)
  return found


def intervals_of(
  source: str | pathlib.Path, intervals: Mapping[str, Intervals], names: Sequence[str]
) -> dict[str, Intervals]:
  """Return the intervals by the names of the videos that are there.

  A name may be in other letter case, in another Unicode form, or have the suffix of its file, if it
  is then still the name of one video only. A misspelt name would otherwise pass as a video without
  events.

  Args:
    source: the file, for the error message.
    intervals: the name of a video in the file -> its intervals.
    names: names of the videos.

  Raises:
    UserError: for a name of no video.
  """
  folded = {}
  for name in names:
    folded.setdefault(_folded(name), []).append(name)
  found = {}
  unknown = []
  for name, entries in intervals.items():
    stem = name
    if pathlib.PurePath(name).suffix.lower() in VIDEOS:
      stem = pathlib.PurePath(name).stem
    candidates = [name] if name in names else folded.get(_folded(name)) or folded.get(_folded(stem))
    if candidates and len(candidates) == 1:
      found[candidates[0]] = [*found.get(candidates[0], ()), *entries]
    else:
      unknown.append(name)
  if unknown:
    raise UserError(
      f'{source}: intervals of {", ".join(sorted(unknown))}, which is not a test video; '
      f'there are {", ".join(names) or "none"}'
    )
  return found


def _folded(name: str) -> str:
  """Return a name in one letter case and Unicode form, for comparisons."""
  return unicodedata.normalize('NFC', unicodedata.normalize('NFC', name).casefold())


def _whole(value: Any) -> int:
  """Return a number or its text as a whole number.

  Raises:
    ValueError: if it is none.
  """
  if isinstance(value, bool) or not isinstance(value, (str, int, float)):
    raise ValueError
  try:
    number = float(value)
    whole = int(number)
  except OverflowError:  # infinity, or more digits than a float holds
    raise ValueError from None
  if number != whole:
    raise ValueError
  return whole


def _table_rows(path: pathlib.Path) -> Iterator[tuple[str, str, Any, Any]]:
  """Yield (place in the file, video, start, end)."""
  rows = list(read_table(path))
  header = [cell.casefold() for cell in rows[0].cells] if rows else []
  if set(_COLUMNS) <= set(header):
    places = [header.index(name) for name in _COLUMNS]
    for row in rows[1:]:
      if len(row.cells) < len(header) or any(row.cells[len(header) :]):
        raise UserError(
          f'{path}, line {row.line}: {len(row.cells)} values, but {len(header)} columns'
        )
      yield (f'line {row.line}', *(row.cells[place] for place in places))
  elif rows and all(_is_ucf(row) for row in rows):
    yield from _ucf_rows(path, rows)
  elif rows and len(header) == len(_COLUMNS) and _are_whole(header[1:]):
    for row in rows:
      if len(row.cells) != len(_COLUMNS):
        raise UserError(
          f'{path}, line {row.line}: {len(row.cells)} values, it must have 3: video,start,end'
        )
      yield (f'line {row.line}', *row.cells)
  else:
    shown = ','.join(rows[0].cells) if rows else ''
    raise UserError(
      f'{path}: the first line must name video,start,end; it is {shown[:80]!r}, which is neither '
      'a row of a video and two whole numbers nor one of UCF-Crime'
    )


def _is_ucf(row: Row) -> bool:
  """Return whether a row is a video, a class and two intervals."""
  is_long = len(row.cells) == _UCF_CELLS
  return is_long and _are_whole(row.cells[2:]) and not _are_whole(row.cells[1:2])


def _ucf_rows(path: pathlib.Path, rows: Iterable[Row]) -> Iterator[tuple[str, str, int, int]]:
  for row in rows:
    video, _, *numbers = row.cells
    first, last, other_first, other_last = map(_whole, numbers)
    for start, end in ((first, last), (other_first, other_last)):
      if (start, end) == (-1, -1):
        continue
      if not 1 <= start <= end:
        raise UserError(
          f'{path}, line {row.line}: {start} {end} must be a first and a last frame, counted from '
          '1, or -1 -1 for none'
        )
      yield f'line {row.line}', video, start - 1, end


def _are_whole(cells: Iterable[str]) -> bool:
  try:
    return all(_whole(cell) is not None for cell in cells)
  except ValueError:
    return False


def _json_rows(path: pathlib.Path) -> list[tuple[str, str, Any, Any]]:
  """Return (place in the file, video, start, end) of each interval."""
  rows = []
  try:
    value = json.loads(read_text(path), object_pairs_hook=_without_repetition)
    if isinstance(value, dict):
      for video, intervals in value.items():
        for interval in _pairs(intervals):
          rows.append((video, *interval))
    else:
      for row in _list(value):
        if not isinstance(row, dict):
          raise ValueError(f'{row!r} is not an object')
        rows.append(tuple(row[column] for column in _COLUMNS))
  except KeyError as error:
    raise UserError(f'{path}: an entry has no {error}; each must have video, start, end') from None
  except (ValueError, RecursionError) as error:
    reason = str(error)[:200]
    raise UserError(
      f'{path}: not a list of {{video, start, end}} nor {{video: [[start, end], ...]}}: {reason}'
    ) from None
  return [(f'interval {number}', *row) for number, row in enumerate(rows, start=1)]


def _pairs(intervals: Any) -> list[Any]:
  """Return the pairs of a list, or of a single pair."""
  pairs = _list(intervals)
  if len(pairs) == 2 and not any(isinstance(entry, list) for entry in pairs):
    pairs = [pairs]
  for pair in pairs:
    if len(_list(pair)) != 2:
      raise ValueError(f'{pair!r} has {len(pair)} values')
  return pairs


def _list(value: Any) -> list[Any]:
  if not isinstance(value, list):
    raise ValueError(f'{value!r} is not a list')
  return value


def _without_repetition(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
  """Make the dict of a JSON object, and refuse names that occur twice.

  Otherwise the last entry would hide the others.
  """
  made = dict(pairs)
  if len(made) != len(pairs):
    raise ValueError('a name occurs twice')
  return made


def read_whole_rows(path: pathlib.Path, columns: str) -> Iterator[tuple[int, ...]]:
  """Yield the rows of a table of whole numbers.

  Args:
    path: the file.
    columns: the names of its columns, with commas between them, for errors.

  Raises:
    UserError: naming the file and the line.
  """
  for line, cells in read_table(path):
    if len(cells) != columns.count(',') + 1 or not _are_whole(cells):
      raise UserError(
        f'{path}, line {line}: {",".join(cells)[:80]!r} must be whole numbers {columns}'
      )
    yield tuple(_whole(cell) for cell in cells)


def read_tracks(path: pathlib.Path) -> tuple[Region, ...]:
  """Read regions from lines `track,frame,x1,y1,x2,y2` with 0-based frames.

  Raises:
    UserError: naming the file and the line.
  """
  regions = []
  for line, cells in read_table(path):
    if len(cells) != len(Region._fields):
      raise UserError(
        f'{path}, line {line}: {len(cells)} values, but {_TRACK_COLUMNS} are {len(Region._fields)}'
      )
    try:
      corners = [float(cell) for cell in cells[2:]]
      if not all(map(math.isfinite, corners)):
        raise ValueError
      regions.append(Region(_whole(cells[0]), _whole(cells[1]), *corners))
    except ValueError:
      raise UserError(
        f'{path}, line {line}: {",".join(cells)[:80]!r} must be numbers {_TRACK_COLUMNS}, '
        'track and frame whole'
      ) from None
  return tuple(regions)


def labels_of_tracks(regions: Sequence[Region], path: pathlib.Path, num_frames: int) -> np.ndarray:
  """Return labels that are abnormal in each frame with a region.

  Args:
    regions: the regions.
    path: their file, for the error message.
    num_frames: length of the video.

  Returns:
    uint8 [num_frames], 1 = abnormal.

  Raises:
    UserError: if a region lies before or after the video.
  """
  frames = [region.frame for region in regions]
  if any(not 0 <= frame < num_frames for frame in frames):
    raise UserError(f'{path}: a region reaches beyond the {num_frames} frames of the video')
  labels = np.zeros(num_frames, np.uint8)
  labels[frames] = 1
  return labels
