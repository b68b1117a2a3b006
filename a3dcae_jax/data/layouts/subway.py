"""Subway entrance and exit: one long video per gate, or the community's clips.

The video comes from its authors on request. The ground truth is given by the user.
"""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts import community
from a3dcae_jax.data.layouts.entries import entries_of
from a3dcae_jax.data.layouts.ground_truth import (
  intervals_of,
  labels_of_tracks,
  read_intervals,
  read_tracks,
)
from a3dcae_jax.data.layouts.intervals import Intervals, interval_labels, read_mat, split_row
from a3dcae_jax.data.layouts.media import count_frames, media_of, name_of, part, reader_of
from a3dcae_jax.data.layouts.numpy_file import read_labels
from a3dcae_jax.data.video import Frames, Region, Video

LABEL_SETS = ('user',)
HOW_TO_GET = (
  'ask the authors for the video (A. Adam et al., IEEE TPAMI 30(3), 2008) and put it there alone '
  '(the documentation says more under Data sets)'
)


class _Clip(NamedTuple):
  """A clip: the frames of a video from `start` on.

  Attributes:
    path: file or folder of the whole video.
    start: first frame of the clip.
    frames: the frames of the clip.
  """

  path: pathlib.Path
  start: int
  frames: Frames


class _Truth(NamedTuple):
  """Ground truth over a whole video.

  Attributes:
    labels: a function from the length of the video to uint8 [N].
    tracks: regions; None without.
  """

  labels: Callable[[int], np.ndarray]
  tracks: tuple[Region, ...] | None = None


def layout(root: str | pathlib.Path) -> str:
  """Describe the layout of a copy."""
  if community.is_community(root):
    return community.DESCRIPTION
  return f'one long video ({_only_video(root).name})'


def videos(
  root: str | pathlib.Path, split: str, *, train_frames: int, test_start: int, labels: str = ''
) -> list[Video]:
  """Return a part of the gate's video, or the community's clips of a split.

  Args:
    root: folder with one video (a file or a folder of images), or with training/frames and
      testing/frames.
    split: 'train' or 'test'.
    train_frames: length of the training part, which begins at frame 0. Not used for clips.
    test_start: first frame of the test part. Not used for clips.
    labels: file of the ground truth over the frames of the whole video, or of each test clip. One
      of: .csv or .json of intervals (video,start,end); .txt of track,frame,x1,y1,x2,y2; .mat of
      intervals (`gt`, 1-based, inclusive); .npy of a label per frame, possibly of the test part
      alone. '' for none.
  """
  clips = _clips(root, split, train_frames, test_start)
  if split == 'train' or not labels or not clips:
    return [_video(clip) for clip in clips]
  truths = _read_truth(pathlib.Path(labels), clips)
  found = []
  for clip, truth in zip(clips, truths, strict=True):
    tracks = None
    if truth.tracks is not None:
      tracks = _tracks_from(truth.tracks, clip.start)
    labels = functools.partial(_labels_from, truth.labels, clip.start)
    found.append(_video(clip, labels_of_length={'user': labels}, tracks=tracks))
  return found


def _video(clip: _Clip, **fields) -> Video:
  return Video(name=name_of(clip.path), frames=clip.frames, source=str(clip.path), **fields)


def _clips(root: str | pathlib.Path, split: str, train_frames: int, test_start: int) -> list[_Clip]:
  if community.is_community(root):
    folders = community.clip_folders(root, split)
    return [_Clip(path, 0, community.frames_of(path)) for path in folders]
  if not 0 < train_frames <= test_start:
    raise UserError(
      f'data.options.train_frames (={train_frames}) must be positive and at most '
      f'data.options.test_start (={test_start})'
    )
  path = _only_video(root)
  if split == 'train':
    return [_Clip(path, 0, part(reader_of(path), 0, train_frames))]
  return [_Clip(path, test_start, part(reader_of(path), test_start, None))]


def _only_video(root: str | pathlib.Path) -> pathlib.Path:
  found = media_of(entries_of(root))
  if len(found) != 1:
    names = ', '.join(path.name for path in found[:5])
    raise UserError(
      f'{root}: there must be one video (a file or a folder of images), found {len(found)}: {names}'
    )
  return found[0]


def _read_truth(path: pathlib.Path, clips: Sequence[_Clip]) -> list[_Truth]:
  """Read the ground truth of the test part, one entry per video."""
  names = [name_of(clip.path) for clip in clips]
  suffix = path.suffix.lower()
  if suffix == '.txt':
    return [_read_track_file(path, names)]
  if suffix == '.npy':
    return _read_row_file(path, clips)
  if suffix == '.mat':
    intervals = read_mat(path)
    if len(intervals) != len(clips):
      raise UserError(f'{path}: intervals of {len(intervals)} videos, but there are {len(clips)}')
  else:
    by_name = _read_interval_file(path, names)
    intervals = [by_name.get(name, []) for name in names]
  return [_Truth(functools.partial(interval_labels, entry, source=path)) for entry in intervals]


def _read_row_file(path: pathlib.Path, clips: Sequence[_Clip]) -> list[_Truth]:
  """Read one label per frame.

  A single video may have labels for all its frames or for its tested part.
  """
  row = read_labels(path)
  if len(clips) == 1:
    return [_Truth(functools.partial(_labels_of_row, row, clips[0].start, path))]
  lengths = [count_frames(clip.path) for clip in clips]
  parts = split_row(row, lengths, source=path)
  return [_Truth(lambda num_frames, part=part: part) for part in parts]


def _labels_of_row(row: np.ndarray, start: int, path: pathlib.Path, num_frames: int) -> np.ndarray:
  """Return the labels of a video from a row for all frames or from `start` on."""
  if len(row) == num_frames - start:
    row = np.concatenate([np.zeros(start, np.uint8), row])
  return split_row(row, [num_frames], source=path)[0]


def _read_interval_file(path: pathlib.Path, names: Sequence[str]) -> dict[str, Intervals]:
  """Read intervals by video. The name of a single video does not matter."""
  intervals = read_intervals(path)
  if len(names) == 1 and len(intervals) == 1:
    return {names[0]: next(iter(intervals.values()))}
  return intervals_of(path, intervals, names)


def _read_track_file(path: pathlib.Path, names: Sequence[str]) -> _Truth:
  if len(names) != 1:
    raise UserError(f'{path}: tracks are for one video, but there are {len(names)}')
  regions = read_tracks(path)
  return _Truth(functools.partial(labels_of_tracks, regions, path), regions)


def _labels_from(labels: Callable[[int], np.ndarray], start: int, num_frames: int) -> np.ndarray:
  """Return the labels of the `num_frames` frames of a video from `start` on."""
  return labels(start + num_frames)[start:]


def _tracks_from(tracks: Sequence[Region], start: int) -> tuple[Region, ...]:
  """Return the regions from a frame on, with frames counted from there."""
  later = [region for region in tracks if region.frame >= start]
  return tuple(region._replace(frame=region.frame - start) for region in later)
