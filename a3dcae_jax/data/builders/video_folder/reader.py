"""Your own videos.

They are in `training/*` and optionally `testing/*`, their labels in `labels.csv`, their pixel masks
in `testing/masks/*`. Each video is a file or a folder of images. Videos can also be cut in two.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.community import masks_in
from a3dcae_jax.data.layouts.entries import entries_of, is_video, note_left_out
from a3dcae_jax.data.layouts.ground_truth import intervals_of, read_intervals
from a3dcae_jax.data.layouts.intervals import Intervals, interval_labels
from a3dcae_jax.data.layouts.media import (
  count_frames,
  media_in,
  media_of,
  name_of,
  part,
  reader_of,
)
from a3dcae_jax.data.notes import note
from a3dcae_jax.data.video import Frames, Video

LABEL_SETS = ('user',)
HOW_TO_GET = (
  'put your videos there, into training/ and testing/ '
  '(the documentation says more under Your own camera)'
)
_FOLDERS = {'train': 'training', 'test': 'testing'}
_MASKS = pathlib.Path('testing', 'masks')
_LABEL_FILES = ('labels.csv', 'labels.txt', 'labels.json')


class _Truth(NamedTuple):
  """Intervals given by the user: the file, and video name -> its intervals."""

  source: str
  intervals: Mapping[str, Intervals]


def layout(root: str | pathlib.Path) -> str:
  """Describe the videos in a folder."""
  root = pathlib.Path(root)
  if not media_in(root / 'training'):
    return 'videos cut in two by data.options.train_fraction'
  if media_in(root / 'testing'):
    return 'training and testing folders'
  return 'training folder alone: no test part'


def videos(
  root: str | pathlib.Path, split: str, *, train_fraction: float = 0.0, labels: str = ''
) -> list[Video]:
  """Return the videos of a split.

  Args:
    root: folder with `training/` and `testing/`; or, with `train_fraction`, a folder of videos or a
      single video.
    split: 'train' or 'test'.
    train_fraction: the first part of each video that is for training, above 0 and below 1; the rest
      is for the test. 0: videos are not cut.
    labels: file of intervals `video,start,end` (0-based, end exclusive) over the frames of each
      test video, or of the whole video if it is cut. '' looks for labels.csv, labels.txt and
      labels.json in `root`. Without such a file there are no labels.
  """
  if not 0 <= train_fraction < 1:
    raise UserError(
      f'data.options.train_fraction (={train_fraction}) must be at least 0 and below 1'
    )
  root = pathlib.Path(root)
  labels = labels or _label_file(root)
  truth = None
  if labels and split == 'test':
    truth = _Truth(labels, read_intervals(labels))
  if media_in(root / 'training'):
    paths = media_in(root / _FOLDERS[split])
    if entries_of(root / _MASKS).folders:  # otherwise it is a video of this name
      paths = [path for path in paths if path != root / _MASKS]
    if not paths:
      _check_no_images(root / _FOLDERS[split])
    _note_others(root, [root / 'training', root / 'testing', pathlib.Path(labels)])
    if train_fraction:
      note('not used, since there are training videos', 'data.options.train_fraction')
    truth = _by_name(truth, paths)
    found = [_video(path, reader_of(path), 0, truth) for path in paths]
    return _with_masks(root, found) if split == 'test' else found
  if not train_fraction:
    _check_no_images(root / 'training')
    raise UserError(
      f'{root}: no training/ folder with videos in it{_instead(root)}; to cut videos in two, set '
      'data.options.train_fraction between 0 and 1'
    )
  paths = _videos_to_cut(root, labels)
  truth = _by_name(truth, paths)
  return [_cut(path, split, train_fraction, truth) for path in paths]


def _with_masks(root: pathlib.Path, videos: Sequence[Video]) -> list[Video]:
  """Add the pixel masks of `testing/masks/NAME/*` to the test videos.

  A video without labels is labelled by its masks.
  """
  folders = {path.name: path for path in entries_of(root / _MASKS).folders}
  unknown = sorted(folders.keys() - {video.name for video in videos})
  if unknown:
    names = ', '.join(video.name for video in videos)
    raise UserError(
      f'{root / _MASKS}: masks of {", ".join(unknown)}, which is not a test video; there are '
      f'{names or "none"}'
    )
  found = []
  for video in videos:
    if video.name in folders:
      masks = masks_in(folders[video.name])
      labels = video.labels_of_length or {'user': functools.partial(_marked, masks)}
      video = dataclasses.replace(video, masks=masks, labels_of_length=labels)
    found.append(video)
  return found


def _marked(masks: Frames, num_frames: int) -> np.ndarray:
  """Return labels that are abnormal where a mask has a pixel."""
  del num_frames  # ingest compares it with the number of masks
  return np.asarray([mask.any() for mask in masks()], np.uint8)


def _label_file(root: pathlib.Path) -> str:
  """Return the label file in a folder, in any letter case; '' if there is none."""
  paths = sorted(root.iterdir()) if root.is_dir() else []
  found = [path for path in paths if path.name.casefold() in _LABEL_FILES]
  if len(found) > 1:
    names = ', '.join(path.name for path in found)
    raise UserError(f'{root} has several label files: {names}; name one by data.options.labels')
  return str(found[0]) if found else ''


def _check_no_images(folder: pathlib.Path) -> None:
  """Check that the images of a video have a folder of their own."""
  images = entries_of(folder).images
  if images:
    raise UserError(
      f'{folder} has images ({images[0].name}, ...), but no folder of images: a video is a file or '
      f'a folder of images; move them to {folder.name}/NAME/'
    )


def _instead(root: pathlib.Path) -> str:
  """Describe what the folder has instead of training videos; '' if nothing."""
  others = entries_of(root / 'training').others
  if others:
    return f', but with {others[0].name}, whose kind is not known as a video'
  if (root / 'training').is_dir():
    return ', it is empty'
  found = []
  for split, folder in _FOLDERS.items():
    for path in entries_of(root).folders:
      if path.name != folder and path.name.lower().startswith(split) and media_in(path):
        found.append(f'{path.name}/ to {folder}/')
  if found:
    return f'; rename {" and ".join(found)}'
  folders = ', '.join(path.name for path in entries_of(root).folders)
  return f'; there are {folders}' if folders else ''


def _note_others(root: pathlib.Path, read: Iterable[pathlib.Path]) -> None:
  """Note the entries of `root` that are not read."""
  found = entries_of(root)
  others = {*found.folders, *found.videos, *found.images, *found.others}
  note_left_out(found, sorted(others.difference(read)), 'where this layout has videos or labels')


def _by_name(truth: _Truth | None, paths: Iterable[pathlib.Path]) -> _Truth | None:
  """Return the intervals by the names of the videos that are there."""
  if truth is None:
    return None
  names = [name_of(path) for path in paths]
  return truth._replace(intervals=intervals_of(truth.source, truth.intervals, names))


def _videos_to_cut(root: pathlib.Path, labels: str) -> Sequence[pathlib.Path]:
  """Return the videos in `root`, or `root` itself if it is one video.

  One video is a video file or a folder of images.
  """
  if is_video(root):
    return [root]
  found = entries_of(root)
  paths = [path for path in media_of(found) if path.name not in _FOLDERS.values()]
  if not paths and found.images:
    return [root]
  if not paths:
    raise UserError(f'{root}: no video')
  _note_others(root, [*paths, pathlib.Path(labels)])
  return paths


def _cut(path: pathlib.Path, split: str, train_fraction: float, truth: _Truth | None) -> Video:
  """Return the training or the test part of a video."""
  frames = reader_of(path)
  try:
    end = int(count_frames(path) * train_fraction)
  except UserError:
    # Reading its frames reports the fault, with all other faults.
    return _video(path, frames, 0, None)
  if split == 'train':
    return _video(path, part(frames, 0, end), 0, None)
  return _video(path, part(frames, end, None), end, truth)


def _video(path: pathlib.Path, frames: Frames, start: int, truth: _Truth | None) -> Video:
  """Return a video whose frames begin at frame `start` of the file."""
  labels = {}
  if truth:
    intervals = truth.intervals.get(name_of(path), [])
    labels['user'] = lambda num_frames: interval_labels(
      intervals, start + num_frames, source=truth.source
    )[start:]
  return Video(name=name_of(path), frames=frames, labels_of_length=labels, source=str(path))
