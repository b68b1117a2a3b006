"""UCSD Ped1 and Ped2: files of the authors' archive and of the community's copies.

Label sets: `official` from the authors' script `NAME.m`, `community` from `pedN.mat`, `row` from
`frame_labels_pedN.npy`. NAME is UCSDped1 or UCSDped2.
"""

import pathlib
import re
from collections.abc import Sequence

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts import community, intervals
from a3dcae_jax.data.layouts.entries import entries_of, has_folder, note_left_out
from a3dcae_jax.data.layouts.numpy_file import read_labels
from a3dcae_jax.data.video import Frames, Video

LABEL_SETS = ('official', 'community', 'row')

_ClipLabels = intervals.Intervals | np.ndarray  # of one clip, as its file has them


def layout(root: str | pathlib.Path, *, name: str) -> str:
  """Describe the layout of a copy.

  Args:
    root: folder of the copy.
    name: UCSDped1 or UCSDped2, the set's folder in the authors' archive.

  Raises:
    UserError: if the layout is not known.
  """
  if community.is_community(root):
    return community.DESCRIPTION
  if official_folder(root, name):
    return 'official (Train/TrainNNN, Test/TestNNN)'
  raise UserError(
    f'{root}: unknown layout; looked for training/frames/NN/NNN.jpg (community) and '
    'Train/Train001/001.tif (official)'
  )


def official_folder(root: str | pathlib.Path, name: str) -> pathlib.Path | None:
  """Find the folder with `Train` or `Test`: `root`, `root/NAME` or `root/*/NAME`."""
  root = pathlib.Path(root)
  for path in (root, root / name, *sorted(root.glob(f'*/{name}'))):
    if has_folder(path, ('Train', 'Test')):
      return path
  return None


def label_sets(root: str | pathlib.Path, *, name: str) -> tuple[str, ...]:
  """Return the label sets whose file is in a copy."""
  return tuple(_label_files(root, name))


def videos(
  root: str | pathlib.Path, split: str, *, name: str, lengths: Sequence[int]
) -> list[Video]:
  """Return the clips of a split, with all label sets whose files are there.

  Args:
    root: folder of the copy.
    split: 'train' or 'test'.
    name: UCSDped1 or UCSDped2.
    lengths: published number of frames of each test clip.
  """
  if split == 'train':
    return [_clip(path) for path in _clip_folders(root, name, split)]
  files = _label_files(root, name)
  labels = _read_labels(root, name, lengths)
  clips = []
  for path in _clip_folders(root, name, split):
    clip_labels = {}
    faults = []
    for label_set, entries in labels.items():
      try:
        clip_labels[label_set] = _labels_of_clip(
          entries, path.name, community.num_images(path), str(files[label_set])
        )
      except UserError as error:
        faults.append(str(error))
    masks = _masks(root, path)
    clips.append(_clip(path, labels=clip_labels, masks=masks, faults=tuple(faults)))
  return clips


def notes(root: str | pathlib.Path, *, name: str, lengths: Sequence[int]) -> list[str]:
  """Describe where other label files differ from the authors' script.

  All clips are compared that the files list, whether their frames are there or not.
  """
  files = _label_files(root, name)
  labels = _read_labels(root, name, lengths)
  official = labels.pop('official', None)
  if official is None:
    return []
  found = []
  for label_set, entries in labels.items():
    clips = []
    for number, length in enumerate(lengths, start=1):
      count = _count_differences(official, entries, f'{number:02d}', length)
      if count:
        clips.append(f'{number:02d} ({count} frames)')
    if clips:
      found.append(
        f'{files[label_set].name} (label set {label_set}) differs from {files["official"].name} '
        f'in test clips {", ".join(clips)}'
      )
  return sorted(found)


def _clip(path: pathlib.Path, **fields) -> Video:
  return Video(name=path.name, frames=community.frames_of(path), source=str(path), **fields)


def _folder(root: str | pathlib.Path, name: str) -> pathlib.Path | None:
  """Return the folder that has the clips and labels of a copy."""
  return pathlib.Path(root) if community.is_community(root) else official_folder(root, name)


def _clip_folders(root: str | pathlib.Path, name: str, split: str) -> list[pathlib.Path]:
  """Return the folders of a split's clips. `Test001_gt` is not one: it has masks."""
  if community.is_community(root):
    return community.clip_folders(root, split)
  parent = official_folder(root, name) / {'train': 'Train', 'test': 'Test'}[split]
  found = entries_of(parent)
  clips = [path for path in found.folders if re.fullmatch(r'(Train|Test)\d+', path.name)]
  others = {path for path in found.folders if not path.name.endswith('_gt')}.difference(clips)
  note_left_out(found, sorted([*others, *found.videos, *found.images]), 'a clip')
  return clips


def _masks(root: str | pathlib.Path, clip: pathlib.Path) -> Frames | None:
  """Return the masks of a test clip; None if it has none.

  The authors' are in `TestNNN_gt`, named 001.bmp or frame001.bmp. Of Ped1 they drew ten clips.
  """
  if community.is_community(root):
    return community.masks_of(root, clip.name)
  folder = clip.with_name(f'{clip.name}_gt')
  return community.masks_in(folder) if entries_of(folder).images else None


def _label_files(root: str | pathlib.Path, name: str) -> dict[str, pathlib.Path]:
  """Return label set -> file, for the files that are there."""
  folder = _folder(root, name)
  short_name = name.removeprefix('UCSD')
  names = {
    'official': f'{name}.m',
    'community': f'{short_name}.mat',
    'row': f'frame_labels_{short_name}.npy',
  }
  files = {}
  if folder is None:
    return files
  for label_set, filename in names.items():
    for path in (folder / filename, folder / 'Test' / filename):
      if path.exists():
        files[label_set] = path
        break
  return files


def _read_labels(
  root: str | pathlib.Path, name: str, lengths: Sequence[int]
) -> dict[str, Sequence[_ClipLabels]]:
  """Return label set -> the labels of each clip, for the files that are there."""
  labels = {}
  for label_set, path in _label_files(root, name).items():
    if label_set == 'official':
      labels[label_set] = intervals.read_matlab_script(path)
    elif label_set == 'community':
      labels[label_set] = intervals.read_mat(path)
    else:
      row = read_labels(path)
      labels[label_set] = intervals.split_row(row, lengths, source=path)
  return labels


def _labels_of_clip(
  entries: Sequence[_ClipLabels], clip: str, num_frames: int, source: str
) -> np.ndarray:
  """Return the labels of a clip, which files list by number."""
  number = int(re.sub(r'\D', '', clip) or 0)
  if not 1 <= number <= len(entries):
    raise UserError(f'{source} has the labels of {len(entries)} clips only: add those of this one')
  labels = entries[number - 1]
  if isinstance(labels, np.ndarray):
    return labels
  if not num_frames:  # the clip is faulty, which is reported when its frames are read
    return np.zeros(0, np.uint8)
  return intervals.interval_labels(labels, num_frames, source=source)


def _count_differences(
  one: Sequence[_ClipLabels], other: Sequence[_ClipLabels], clip: str, num_frames: int
) -> int:
  """Count the frames on which two files differ; 0 if one does not list the clip."""
  try:
    labels = [_labels_of_clip(entries, clip, num_frames, '') for entries in (one, other)]
  except UserError:
    return 0
  return int((labels[0] != labels[1]).sum())
