"""Frame labels from files: intervals of abnormal frames, or one label per frame.

Intervals are (start, end) here, 0-based, end exclusive. The files of the data sets count from 1 and
include the last frame; they are converted when they are read.
"""

import pathlib
import re
from collections.abc import Sequence

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.mat import read_cells
from a3dcae_jax.data.layouts.numpy_file import read_labels
from a3dcae_jax.data.layouts.text import read_text

Intervals = Sequence[tuple[int, int]]

_MOST_FRAMES = 10**12  # a year at 30,000 frames per second


def read_matlab_script(path: pathlib.Path) -> list[Intervals]:
  """Read UCSD's script: `TestVideoFile{end+1}.gt_frame = [a:b, c:d];` for each clip.

  Returns:
    The intervals of each clip, in order.
  """
  clips = []
  for line in read_text(path).splitlines():
    match = re.search(r'gt_frame\s*=\s*\[([^\]]*)\]', line)
    if match:
      # No video has so many frames that a number of more digits could be one of them.
      pairs = re.findall(r'\b(\d{1,12})\b\s*(?::\s*(\d{1,12})\b)?', match.group(1))
      clips.append([(int(first) - 1, int(last or first)) for first, last in pairs])
  if not clips:
    raise UserError(f'{path}: no line of the form TestVideoFile{{end+1}}.gt_frame = [a:b]')
  return clips


def read_mat(path: pathlib.Path) -> list[Intervals]:
  """Read the community's `.mat` file of intervals.

  Its variable `gt` is a cell array of first and last frames, counted from 1.

  Returns:
    The intervals of each clip, in order.
  """
  clips = []
  for number, cell in enumerate(read_cells(path, 'gt', 'intervals'), start=1):
    try:
      pairs = _pairs(cell)
    except ValueError as error:
      raise UserError(f'{path}, video {number}: {error}') from None
    clips.append([(first - 1, last) for first, last in pairs])
  return clips


def _pairs(cell: np.ndarray) -> list[tuple[int, int]]:
  """Return the first and last frames of a cell, in columns or in rows.

  A cell of 2 x 2 is read so that its intervals follow one another, which only one reading does.

  Raises:
    ValueError: with the rule that the cell breaks.
  """
  if not cell.size:
    return []
  cell = np.atleast_2d(cell)
  if cell.ndim != 2 or 2 not in cell.shape:
    raise ValueError(f'intervals must be 2 x N or N x 2, they are {list(cell.shape)}')
  if not (np.isfinite(cell) & (cell == np.floor(cell)) & (np.abs(cell) < _MOST_FRAMES)).all():
    raise ValueError('first and last frames must be whole numbers')
  as_columns = [(int(first), int(last)) for first, last in cell.T] if len(cell) == 2 else None
  as_rows = [(int(first), int(last)) for first, last in cell] if cell.shape[1] == 2 else None
  if as_columns is None or as_rows is None:
    return as_columns or as_rows
  readings = [pairs for pairs in (as_columns, as_rows) if _in_order(pairs)]
  if not readings:
    raise ValueError(
      f'{cell.tolist()} may be columns or rows of first and last frames: put its intervals in order'
    )
  return readings[0]


def _in_order(pairs: Intervals) -> bool:
  """Return whether no interval is empty and each begins after the one before."""
  frames = [frame for pair in pairs for frame in pair]
  return frames == sorted(frames)


def split_row(row: np.ndarray, lengths: Sequence[int], *, source: object) -> list[np.ndarray]:
  """Split a row of labels into clips.

  Args:
    row: uint8 [N].
    lengths: frames of each clip.
    source: the file, for the error message.

  Returns:
    The labels of each clip, uint8 [n].
  """
  if len(row) != sum(lengths):
    raise UserError(
      f'{source}: {len(row)} labels, but the {len(lengths)} test videos have {sum(lengths)} frames'
    )
  return np.split(row, np.cumsum(lengths)[:-1])


def read_all_labels(path: pathlib.Path, lengths: Sequence[int]) -> list[np.ndarray]:
  """Read the labels of all clips from a `.mat` of intervals or a `.npy` row.

  Args:
    path: the file.
    lengths: frames of each clip, in the order of the file.

  Returns:
    The labels of each clip, uint8 [n].
  """
  if path.suffix.lower() != '.mat':
    return split_row(read_labels(path), lengths, source=path)
  clips = read_mat(path)
  if len(clips) != len(lengths):
    raise UserError(f'{path}: intervals of {len(clips)} videos, but there are {len(lengths)}')
  labels = []
  for number, (clip, length) in enumerate(zip(clips, lengths, strict=True), start=1):
    labels.append(interval_labels(clip, length, source=f'{path}, video {number}'))
  return labels


def interval_labels(intervals: Intervals, num_frames: int, *, source: object) -> np.ndarray:
  """Convert intervals to frame labels.

  Args:
    intervals: 0-based, end exclusive.
    num_frames: length of the video.
    source: the file, for the error message.

  Returns:
    uint8 [num_frames], 1 = abnormal.

  Raises:
    UserError: if an interval is empty or reaches beyond the video.
  """
  labels = np.zeros(num_frames, np.uint8)
  for start, end in intervals:
    if not 0 <= start < end <= num_frames:
      raise UserError(
        f'{source}: interval {start}..{end} (0-based, end exclusive) does not fit into '
        f'{num_frames} frames'
      )
    labels[start:end] = 1
  return labels
