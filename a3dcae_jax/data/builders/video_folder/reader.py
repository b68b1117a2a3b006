"""Your own footage: `training/*` and optionally `testing/*`, each a video file or a folder of frames; optional `labels.csv`."""

import pathlib

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.cut import count_frames, part
from a3dcae_jax.data.layouts.ground_truth import labels_of, read_intervals
from a3dcae_jax.data.layouts.media import is_video, media_in, name_of, reader_of
from a3dcae_jax.data.video import Video

LABEL_SETS = ('user',)


def layout(root):
  """What `root` is, by name."""
  root = pathlib.Path(root)
  if media_in(root / 'training'):
    return (
      'training and testing folders'
      if media_in(root / 'testing')
      else 'training folder alone: no test part'
    )
  return 'videos cut in two by data.options.train_fraction'


def videos(root, split, *, train_fraction=0.0, labels=''):
  """The videos of a split.

  Args:
    root: folder with `training/` and `testing/`; or, with `train_fraction`, a folder of videos or one video file, whose first
      `train_fraction` of each trains while the rest is the test.
    labels: file of intervals `video,start,end` (0-based, end exclusive) over the frames of each test video (of the whole video
      where it is cut); '' looks for labels.csv in `root`. Without one there are no labels.
  """
  root = pathlib.Path(root)
  labels = labels or (str(root / 'labels.csv') if (root / 'labels.csv').exists() else '')
  found = read_intervals(labels) if labels and split == 'test' else None
  if media_in(root / 'training'):
    paths = media_in(root / {'train': 'training', 'test': 'testing'}[split])
    _check_names(found, paths, labels)
    return [_video(path, reader_of(path), found, 0, labels) for path in paths]
  if not 0 < train_fraction < 1:
    raise UserError(
      f'{root}: no training/ folder with videos in it; to cut videos in two, set data.options.train_fraction between 0 and 1'
    )
  paths = (
    [root]
    if is_video(root)
    else [path for path in media_in(root) if path.name not in ('training', 'testing')]
  )
  if not paths:
    raise UserError(f'{root}: no video')
  _check_names(found, paths, labels)
  return [_cut(path, split, train_fraction, found, labels) for path in paths]


def _cut(path, split, fraction, found, labels):
  frames = reader_of(path)
  try:
    border = int(count_frames(frames, path) * fraction)
  except UserError:
    return Video(
      name=name_of(path), frames=frames, source=str(path)
    )  # reading it says what is wrong, together with all other faults
  if split == 'train':
    return Video(name=name_of(path), frames=part(frames, 0, border), source=str(path))
  return _video(path, part(frames, border, None), found, border, labels)


def _video(path, frames, found, start, source):
  if found is None:
    return Video(name=name_of(path), frames=frames, source=str(path))
  try:
    total = start + count_frames(frames, path)
  except UserError:
    return Video(name=name_of(path), frames=frames, source=str(path))
  try:
    labels = {'user': labels_of(found.get(name_of(path), []), total, source)[start:]}
  except UserError as error:
    return Video(name=name_of(path), frames=frames, source=str(path), faults=(str(error),))
  return Video(name=name_of(path), frames=frames, labels=labels, source=str(path))


def _check_names(found, paths, source):
  """Intervals of a video that is not there are a slip of the pen that would pass as a video without events."""
  unknown = sorted(set(found or ()) - {name_of(path) for path in paths})
  if unknown:
    raise UserError(
      f'{source}: intervals of {", ".join(unknown)}, which is no test video; there are {", ".join(map(name_of, paths)) or "none"}'
    )
