"""Ground truth given by the user: intervals as CSV or JSON, or region tracks as text."""

import csv
import json
import pathlib

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.video import Region


def read_intervals(path):
  """Rows `video,start,end` (CSV with that header, or JSON: a list of such objects or {video: [[start, end], ...]}); 0-based, end exclusive.

  Returns: dict video -> [(start, end), ...].
  Raises: UserError naming the file and the line.
  """
  path = pathlib.Path(path)
  try:
    rows = _json_rows(path) if path.suffix == '.json' else _csv_rows(path)
  except FileNotFoundError:
    raise UserError(f'there is no label file {path}') from None
  found = {}
  for number, (video, start, end) in enumerate(rows, start=1):
    try:
      start, end = int(start), int(end)
    except (TypeError, ValueError):
      raise UserError(
        f'{path}, interval {number}: start and end must be whole numbers, got {start!r}, {end!r}'
      ) from None
    if not 0 <= start < end:
      raise UserError(
        f'{path}, interval {number}: {start}..{end} is empty (0-based, end exclusive)'
      )
    found.setdefault(str(video), []).append((start, end))
  return found


def _csv_rows(path):
  with path.open(newline='', encoding='utf-8') as file:
    reader = csv.DictReader(file)
    if not {'video', 'start', 'end'} <= set(reader.fieldnames or ()):
      raise UserError(
        f'{path}: the first line must name video,start,end; it is {",".join(reader.fieldnames or ())!r}'
      )
    return [(row['video'], row['start'], row['end']) for row in reader]


def _json_rows(path):
  try:
    value = json.loads(path.read_text(encoding='utf-8'))
    if isinstance(value, dict):
      return [(video, *interval) for video, intervals in value.items() for interval in intervals]
    return [(row['video'], row['start'], row['end']) for row in value]
  except (json.JSONDecodeError, KeyError, TypeError) as error:
    raise UserError(
      f'{path}: not a list of {{video, start, end}} nor {{video: [[start, end], ...]}}: {error}'
    ) from None


def read_tracks(path):
  """Lines `track,frame,x1,y1,x2,y2`, 0-based frames -> tuple of `Region`."""
  try:
    rows = np.loadtxt(path, delimiter=',', ndmin=2)
  except (OSError, ValueError) as error:
    raise UserError(f'{path}: not lines of track,frame,x1,y1,x2,y2: {error}') from None
  if rows.shape[1] != 6:
    raise UserError(f'{path}: {rows.shape[1]} columns, track,frame,x1,y1,x2,y2 are 6')
  return tuple(Region(int(row[0]), int(row[1]), *map(float, row[2:])) for row in rows)


def labels_of(intervals, num_frames, source):
  """[(start, end), ...], end exclusive -> uint8 [num_frames]; an interval beyond the video is a `UserError`."""
  labels = np.zeros(num_frames, np.uint8)
  for start, end in intervals:
    if end > num_frames:
      raise UserError(f'{source}: interval {start}..{end} reaches beyond the {num_frames} frames')
    labels[start:end] = 1
  return labels
