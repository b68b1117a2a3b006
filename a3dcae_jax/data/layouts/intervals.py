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

Intervals = Sequence[tuple[int, int]]


def read_matlab_script(path: pathlib.Path) -> list[Intervals]:
  """Read UCSD's script: `TestVideoFile{end+1}.gt_frame = [a:b, c:d];` for each clip.

  Returns:
    The intervals of each clip, in order.
  """
  clips = []
  for line in path.read_text(encoding='latin1').splitlines():
    match = re.search(r'gt_frame\s*=\s*\[([^\]]*)\]', line)
    if match:
      pairs = re.findall(r'(\d+)\s*(?::\s*(\d+))?', match.group(1))
      clips.append([(int(first) - 1, int(last or first)) for first, last in pairs])
  if not clips:
    raise UserError(f'{path}: no line of the form TestVideoFile{{end+1}}.gt_frame = [a:b]')
  return clips


def read_mat(path: pathlib.Path) -> list[Intervals]:
  """Read the community's `.mat`: `gt`, a cell of 2 x N first and last frames.

  Returns:
    The intervals of each clip, in order.
  """
  clips = []
  for cell in read_cells(path, 'gt', 'intervals'):
    pairs = np.atleast_2d(cell).reshape(2, -1).T
    clips.append([(int(first) - 1, int(last)) for first, last in pairs])
  return clips


def read_row(path: pathlib.Path) -> np.ndarray:
  """Read a `.npy` of one label per frame of all clips in a row, [N] or [1, N].

  Public code keeps labels like this, as `frame_labels_NAME.npy`.
  """
  try:
    row = np.load(path, allow_pickle=False).ravel()
  except (OSError, ValueError) as error:
    raise UserError(f'{path} cannot be read: {error}') from None
  if not np.isin(row, (0, 1)).all():
    raise UserError(f'{path}: labels must be 0 or 1')
  return row.astype(np.uint8)


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
  if path.suffix != '.mat':
    return split_row(read_row(path), lengths, source=path)
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
