"""Frame labels written as intervals: UCSD's `.m` scripts and the community's `.mat` files; both 1-based and inclusive."""

import pathlib
import re

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.mat import read_cells


def read_matlab_script(path):
  """`TestVideoFile{end+1}.gt_frame = [a:b, c:d];` -> one list of (first, last) a clip, in order."""
  clips = []
  for line in pathlib.Path(path).read_text(encoding='latin1').splitlines():
    match = re.search(r'gt_frame\s*=\s*\[([^\]]*)\]', line)
    if match:
      clips.append(
        [(int(a), int(b or a)) for a, b in re.findall(r'(\d+)\s*(?::\s*(\d+))?', match.group(1))]
      )
  if not clips:
    raise UserError(f'{path}: no line of the form TestVideoFile{{end+1}}.gt_frame = [a:b]')
  return clips


def read_mat(path):
  """The community's `.mat`: `gt`, a cell of 2 x N arrays of first and last frames -> one list of (first, last) a clip."""
  return [
    [(int(a), int(b)) for a, b in np.atleast_2d(cell).reshape(2, -1).T]
    for cell in read_cells(path, 'gt', 'intervals')
  ]


def interval_labels(intervals, num_frames, *, source):
  """[(first, last), ...], 1-based and inclusive -> uint8 [num_frames]; none for a clip without frames.

  Raises: UserError where an interval reaches beyond the clip.
  """
  labels = np.zeros(num_frames, np.uint8)
  for first, last in intervals if num_frames else ():
    if not 1 <= first <= last <= num_frames:
      raise UserError(
        f'{source}: interval {first}:{last} does not fit a clip of {num_frames} frames (1-based, inclusive)'
      )
    labels[first - 1 : last] = 1
  return labels
