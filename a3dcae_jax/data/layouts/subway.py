"""Subway entrance and exit: one long video a gate, from its authors on request; ground truth by the user, since several exist."""

import pathlib

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.footage import Video
from a3dcae_jax.data.layouts.cut import count_frames, part
from a3dcae_jax.data.layouts.ground_truth import labels_of, read_intervals, read_tracks
from a3dcae_jax.data.layouts.media import media_in, name_of, reader_of

LABEL_SETS = ('user',)


def layout(root):
  """The video that is used, by name."""
  return f'one long video ({_only_video(root).name})'


def videos(root, split, *, train_frames, test_start, labels=''):
  """The gate's video, cut in two.

  Args:
    root: folder with one video (a file or a folder of frames). split: 'train' or 'test'.
    train_frames: length of the training part, from frame 0. test_start: first frame of the test part.
    labels: ground truth over the frames of the whole video: .csv or .json of intervals (video,start,end), or .txt of
      track,frame,x1,y1,x2,y2. '' for none.
  """
  path = _only_video(root)
  frames = reader_of(path)
  if not 0 < train_frames <= test_start:
    raise UserError(f'data.options: train_frames (={train_frames}) must be positive and at most test_start (={test_start})')
  if split == 'train':
    return [Video(name=name_of(path), frames=part(frames, 0, train_frames), source=str(path))]
  found, tracks = ({}, None) if not labels else _labels(labels, name_of(path), count_frames(frames, path), test_start)
  return [Video(name=name_of(path), frames=part(frames, test_start, None), labels=found, tracks=tracks, source=str(path))]


def _only_video(root):
  found = media_in(root)
  if len(found) != 1:
    raise UserError(f'{root}: one video is wanted (a file or a folder of frames), found {len(found)}: {", ".join(p.name for p in found[:5])}')
  return found[0]


def _labels(path, name, total, test_start):
  """({'user': uint8 [N]}, tracks or None) of the test part."""
  if pathlib.Path(path).suffix == '.txt':
    regions = tuple(r._replace(frame=r.frame - test_start) for r in read_tracks(path) if r.frame >= test_start)
    labels = np.zeros(total - test_start, np.uint8)
    if any(region.frame >= len(labels) for region in regions):
      raise UserError(f'{path}: a region reaches beyond the {total} frames of the video')
    labels[[region.frame for region in regions]] = 1
    return {'user': labels}, regions
  intervals = read_intervals(path)
  if name not in intervals and len(intervals) != 1:
    raise UserError(f'{path}: no intervals for video {name!r}; it has {", ".join(sorted(intervals)) or "none"}')
  return {'user': labels_of(intervals.get(name) or next(iter(intervals.values())), total, path)[test_start:]}, None
