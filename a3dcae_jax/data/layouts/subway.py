"""Subway entrance and exit: one long video a gate, from its authors on request, or the community's frames; ground truth by the user."""

import pathlib

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts import community
from a3dcae_jax.data.layouts.cut import count_frames, part
from a3dcae_jax.data.layouts.ground_truth import labels_of, read_intervals, read_tracks
from a3dcae_jax.data.layouts.intervals import interval_labels, read_mat
from a3dcae_jax.data.layouts.media import media_in, name_of, reader_of
from a3dcae_jax.data.layouts.rows import read_rows
from a3dcae_jax.data.video import Video

LABEL_SETS = ('user',)


def layout(root):
  """The video that is used, by name, or the community's frames."""
  if community.is_community(root):
    return 'community (training/frames/NN, testing/frames/NN)'
  return f'one long video ({_only_video(root).name})'


def videos(root, split, *, train_frames, test_start, labels=''):
  """The gate's video, cut in two; or the community's clips, which are cut already.

  Args:
    root: folder with one video (a file or a folder of frames), or with training/frames and testing/frames. split: 'train' or 'test'.
    train_frames: length of the training part, from frame 0. test_start: first frame of the test part. (Not used for the community's clips.)
    labels: ground truth over the frames of the whole video (of each test clip): .csv or .json of intervals (video,start,end), .txt of
      track,frame,x1,y1,x2,y2, .mat of intervals (gt, 1-based, inclusive), or .npy of a label a frame, which may be of the test part
      alone. '' for none.
  """
  if community.is_community(root):
    clips = [(path, 0, community.frames_of(path)) for path in community.clip_folders(root, split)]
  else:
    if not 0 < train_frames <= test_start:
      raise UserError(
        f'data.options: train_frames (={train_frames}) must be positive and at most test_start (={test_start})'
      )
    path = _only_video(root)
    start, end = (0, train_frames) if split == 'train' else (test_start, None)
    clips = [(path, start, part(reader_of(path), start, end))]
  if split == 'train' or not labels or not clips:
    return [Video(name=name_of(path), frames=frames, source=str(path)) for path, _, frames in clips]
  totals = [count_frames(reader_of(path), path) for path, _, _ in clips]
  found = _labels(
    pathlib.Path(labels), [name_of(path) for path, _, _ in clips], totals, clips[0][1]
  )
  return [
    Video(
      name=name_of(path),
      frames=frames,
      labels={'user': marked[start:]},
      tracks=_moved(tracks, start),
      source=str(path),
    )
    for (path, start, frames), (marked, tracks) in zip(clips, found, strict=True)
  ]


def _only_video(root):
  found = media_in(root)
  if len(found) != 1:
    raise UserError(
      f'{root}: one video is wanted (a file or a folder of frames), found {len(found)}: {", ".join(p.name for p in found[:5])}'
    )
  return found[0]


def _labels(path, names, totals, start):
  """[(uint8 [N] over the whole video, its regions or None), ...], one a video. `start`: of the test part, which a .npy may be cut to."""
  if path.suffix == '.txt':
    return [_of_tracks(path, names, totals[0])]
  if path.suffix == '.npy':
    whole = not path.exists() or np.load(path, mmap_mode='r').size != sum(totals) - start
    rows = read_rows(path, totals if whole else [totals[0] - start, *totals[1:]])
    return [(row if whole else np.r_[np.zeros(start, np.uint8), row], None) for row in rows]
  if path.suffix == '.mat':
    clips = read_mat(path)
    if len(clips) != len(names):
      raise UserError(f'{path}: intervals of {len(clips)} videos, there are {len(names)}')
    return [
      (interval_labels(clip, total, source=f'{path}, video {name}'), None)
      for clip, name, total in zip(clips, names, totals, strict=True)
    ]
  intervals = read_intervals(path)
  unknown = sorted(intervals.keys() - set(names))
  if unknown and not (len(intervals) == len(names) == 1):
    raise UserError(f'{path}: intervals of {", ".join(unknown)}; there are {", ".join(names)}')
  given = (
    [next(iter(intervals.values()))] if unknown else [intervals.get(name, []) for name in names]
  )
  return [(labels_of(spans, total, path), None) for spans, total in zip(given, totals, strict=True)]


def _of_tracks(path, names, total):
  if len(names) != 1:
    raise UserError(f'{path}: tracks are of one video, there are {len(names)}')
  regions, labels = read_tracks(path), np.zeros(total, np.uint8)
  if any(not 0 <= region.frame < total for region in regions):
    raise UserError(f'{path}: a region reaches beyond the {total} frames of the video')
  labels[[region.frame for region in regions]] = 1
  return labels, regions


def _moved(tracks, start):
  """Regions of the test part, with frames counted from its start."""
  return (
    None
    if tracks is None
    else tuple(r._replace(frame=r.frame - start) for r in tracks if r.frame >= start)
  )
