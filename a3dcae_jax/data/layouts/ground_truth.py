"""Ground truth given by the user: intervals (CSV, JSON) or region tracks (text)."""

import csv
import json
import pathlib
from typing import Any

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.intervals import Intervals
from a3dcae_jax.data.video import Region


def read_intervals(path: str | pathlib.Path) -> dict[str, Intervals]:
  """Read intervals of abnormal frames: 0-based, end exclusive.

  Args:
    path: a CSV file with the header `video,start,end`, or a JSON file: a list of objects with these
      fields, or {video: [[start, end], ...]}.

  Returns:
    video -> its intervals.

  Raises:
    UserError: naming the file and the interval.
  """
  path = pathlib.Path(path)
  try:
    rows = _json_rows(path) if path.suffix == '.json' else _csv_rows(path)
  except FileNotFoundError:
    raise UserError(f'there is no label file {path}') from None
  found = {}
  for number, (video, start, end) in enumerate(rows, start=1):
    try:
      interval = (int(start), int(end))
    except (TypeError, ValueError):
      raise UserError(
        f'{path}, interval {number}: start and end must be whole numbers, got {start!r}, {end!r}'
      ) from None
    if not 0 <= interval[0] < interval[1]:
      raise UserError(
        f'{path}, interval {number}: {start}..{end} is empty (0-based, end exclusive)'
      )
    found.setdefault(str(video), []).append(interval)
  return found


def _csv_rows(path: pathlib.Path) -> list[tuple[Any, Any, Any]]:
  with path.open(newline='', encoding='utf-8') as file:
    reader = csv.DictReader(file)
    header = reader.fieldnames or ()
    if not {'video', 'start', 'end'} <= set(header):
      raise UserError(
        f'{path}: the first line must name video,start,end; it is {",".join(header)!r}'
      )
    return [(row['video'], row['start'], row['end']) for row in reader]


def _json_rows(path: pathlib.Path) -> list[tuple[Any, Any, Any]]:
  rows = []
  try:
    value = json.loads(path.read_text(encoding='utf-8'))
    if isinstance(value, dict):
      for video, intervals in value.items():
        for start, end in intervals:
          rows.append((video, start, end))
    else:
      for row in value:
        rows.append((row['video'], row['start'], row['end']))
  except (KeyError, TypeError, ValueError) as error:
    raise UserError(
      f'{path}: not a list of {{video, start, end}} nor {{video: [[start, end], ...]}}: {error}'
    ) from None
  return rows


def read_tracks(path: pathlib.Path) -> tuple[Region, ...]:
  """Read regions from lines `track,frame,x1,y1,x2,y2` with 0-based frames."""
  try:
    rows = np.loadtxt(path, delimiter=',', ndmin=2)
  except (OSError, ValueError) as error:
    raise UserError(f'{path}: not lines of track,frame,x1,y1,x2,y2: {error}') from None
  if rows.shape[1] != 6:
    raise UserError(f'{path}: {rows.shape[1]} columns, but track,frame,x1,y1,x2,y2 are 6')
  regions = []
  for track, frame, x1, y1, x2, y2 in rows.tolist():
    regions.append(Region(int(track), int(frame), x1, y1, x2, y2))
  return tuple(regions)
