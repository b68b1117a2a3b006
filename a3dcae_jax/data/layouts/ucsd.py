"""UCSD Ped1 and Ped2: the authors' archive and the community's copy; which files hold frames, labels and masks."""

import pathlib
import re

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts import community, intervals
from a3dcae_jax.data.layouts.rows import read_rows
from a3dcae_jax.data.video import Video, read_grey

LABEL_SETS = ('official', 'community', 'row')


def layout(root, *, name):
  """The layout that `root` has; `name` (UCSDped1, UCSDped2) is the set's folder in the authors' archive. A `UserError` says what was looked for."""
  if community.is_community(root):
    return 'community (training/frames/NN, testing/frames/NN)'
  if official_folder(root, name):
    return 'official (Train/TrainNNN, Test/TestNNN)'
  raise UserError(
    f'{root}: no known layout; looked for training/frames/NN/NNN.jpg (community) and Train/Train001/001.tif (official)'
  )


def official_folder(root, name):
  """The folder that has `Train` and `Test`: `root` itself, `root/UCSDpedN` or `root/*/UCSDpedN`; None if there is none."""
  root = pathlib.Path(root)
  return next(
    (
      path
      for path in (root, root / name, *sorted(root.glob(f'*/{name}')))
      if (path / 'Train').is_dir() or (path / 'Test').is_dir()
    ),
    None,
  )


def label_sets(root, *, name):
  """The label sets whose file is there."""
  return tuple(_label_files(_folder(root, name), name))


def videos(root, split, *, name, lengths):
  """The clips of a split.

  Args:
    root: the set's folder. split: 'train' or 'test'. name: UCSDped1 or UCSDped2. lengths: frames of all test clips, as published.

  Labels: set 'official' from `NAME.m`, 'community' from `pedN.mat`, 'row' from `frame_labels_pedN.npy`; a clip has those whose file is there.
  """
  official, folder = not community.is_community(root), _folder(root, name)
  labels = (
    {
      label_set: read(path, lengths)
      for label_set, (path, read) in _label_files(folder, name).items()
    }
    if split == 'test'
    else {}
  )
  clips = []
  for path in _official_clips(folder, split) if official else community.clip_folders(root, split):
    found, faults = {}, []
    for label_set, of_clip in labels.items():
      try:
        found[label_set] = of_clip(path.name, num_frames(path), f'{label_set} labels')
      except UserError as error:
        faults.append(str(error))
    masks = (
      (_official_masks(path) if official else community.masks_of(root, path.name))
      if split == 'test'
      else None
    )
    clips.append(
      Video(
        name=path.name,
        frames=community.frames_of(path),
        labels=found,
        masks=masks,
        source=str(path),
        faults=tuple(faults),
      )
    )
  return clips


def notes(root, *, name, lengths):
  """Where another label file here differs from the authors' script, clip by clip over all clips it lists, on disk or not."""
  files = _label_files(_folder(root, name), name)
  labels = {label_set: read(path, lengths) for label_set, (path, read) in files.items()}
  if 'official' not in labels:
    return []
  found = []
  for label_set in labels.keys() - {'official'}:
    counts = [
      (f'{number:02d}', _differing(labels['official'], labels[label_set], f'{number:02d}', count))
      for number, count in enumerate(lengths, start=1)
    ]
    if any(count for _, count in counts):
      clips = ', '.join(f'{clip} ({count} frames)' for clip, count in counts if count)
      found.append(
        f'{files[label_set][0].name} (label set {label_set}) differs from {files["official"][0].name} in test clips {clips}'
      )
  return sorted(found)


def _differing(one, other, clip, count):
  """On how many frames two label files differ; 0 where either does not list the clip."""
  try:
    return int((one(clip, count, '') != other(clip, count, '')).sum())
  except UserError:
    return 0


def num_frames(folder):
  """How many images a clip has; 0 where its folder is faulty, which `Video.frames` says later, together with all other faults."""
  try:
    return len(community.image_files(folder))
  except UserError:
    return 0


def _folder(root, name):
  return pathlib.Path(root) if community.is_community(root) else official_folder(root, name)


def _official_clips(folder, split):
  """Train001 .. or Test001 ..; `Test001_gt` holds masks, not frames."""
  parent = folder / {'train': 'Train', 'test': 'Test'}[split]
  return (
    sorted(
      path
      for path in parent.iterdir()
      if path.is_dir() and re.fullmatch(r'(Train|Test)\d+', path.name)
    )
    if parent.is_dir()
    else []
  )


def _official_masks(clip):
  """Masks of `TestNNN_gt`, named 001.bmp or frame001.bmp; None where the authors drew none (of Ped1 they drew ten clips')."""
  folder = clip.with_name(f'{clip.name}_gt')
  if not folder.is_dir() or not any(community.is_image(path) for path in folder.iterdir()):
    return None
  return lambda: ((read_grey(path) > 0).astype('uint8') for path in community.image_files(folder))


def _label_files(root, name):
  """Label set -> (file, its reader), for the files that are there. A reader gives a function (clip name, frames, what) -> uint8 [N]."""
  short = name.removeprefix('UCSD')
  known = {
    'official': (f'{name}.m', _script),
    'community': (f'{short}.mat', _mat),
    'row': (f'frame_labels_{short}.npy', _row),
  }
  places = (
    {
      label_set: [path / file for path in (root, root / 'Test')]
      for label_set, (file, _) in known.items()
    }
    if root
    else {}
  )
  return {
    label_set: (next(path for path in paths if path.exists()), known[label_set][1])
    for label_set, paths in places.items()
    if any(path.exists() for path in paths)
  }


def _script(path, lengths):
  return _of_intervals(intervals.read_matlab_script(path))


def _mat(path, lengths):
  return _of_intervals(intervals.read_mat(path))


def _of_intervals(clips):
  return lambda name, count, what: intervals.interval_labels(
    _of_clip(clips, name, what), count, source=what
  )


def _row(path, lengths):
  clips = read_rows(path, lengths)
  return lambda name, count, what: _of_clip(clips, name, what)


def _of_clip(clips, name, what):
  """Labels are listed by clip number; clips may be absent from disk."""
  number = int(re.sub(r'\D', '', name) or 0)
  if not 1 <= number <= len(clips):
    raise UserError(f'the {what} have {len(clips)} clips')
  return clips[number - 1]
