"""UCSD Ped1 and Ped2: the authors' archive and the community's copy; which files hold frames, labels and masks."""

import pathlib
import re

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.footage import Video, read_grey
from a3dcae_jax.data.layouts import community, intervals

LABEL_SETS = ('official', 'community')


def layout(root):
  """The layout that `root` has, by name; a `UserError` says what was looked for."""
  if community.is_community(root):
    return 'community (training/frames/NN, testing/frames/NN)'
  if official_folder(root):
    return 'official (Train/TrainNNN, Test/TestNNN)'
  raise UserError(f'{root}: no known layout; looked for training/frames/NN/NNN.jpg (community) and Train/Train001/001.tif (official)')


def official_folder(root):
  """The folder that has `Train` and `Test`: `root` itself or `root/UCSDpedN`; None if there is none."""
  root = pathlib.Path(root)
  return next((path for path in (root, *sorted(root.glob('UCSDped[12]'))) if (path / 'Train').is_dir()), None)


def videos(root, split, *, script, mat):
  """The clips of a split.

  Args:
    root: the set's folder. split: 'train' or 'test'. script: name of the authors' label script (label set 'official').
    mat: name of the community's label file (label set 'community'). Either may be absent; a clip has the labels whose file is there.
  """
  official = layout(root).startswith('official')
  folder = official_folder(root) if official else pathlib.Path(root)
  labels = _label_files(folder, script, mat) if split == 'test' else {}
  clips = []
  for path in _official_clips(folder, split) if official else community.clip_folders(root, split):
    found = {name: intervals.interval_labels(_of_clip(clips_of_set, path.name, name), num_frames(path),
                                             source=f'test clip {path.name}, {name} labels') for name, clips_of_set in labels.items()}
    masks = (_official_masks(path) if official else community.masks_of(root, path.name)) if split == 'test' else None
    clips.append(Video(name=path.name, frames=community.frames_of(path), labels=found, masks=masks, source=str(path)))
  return clips


def num_frames(folder):
  """How many images a clip has; 0 where its folder is faulty, which `Video.frames` says later, together with all other faults."""
  try:
    return len(community.image_files(folder))
  except UserError:
    return 0


def _official_clips(folder, split):
  """Train001 .. or Test001 ..; `Test001_gt` holds masks, not frames."""
  parent = folder / {'train': 'Train', 'test': 'Test'}[split]
  return sorted(path for path in parent.iterdir() if path.is_dir() and re.fullmatch(r'(Train|Test)\d+', path.name)) if parent.is_dir() else []


def _official_masks(clip):
  """Masks of `TestNNN_gt`, named 001.bmp or frame001.bmp; None where the authors drew none."""
  folder = clip.with_name(f'{clip.name}_gt')
  if not folder.is_dir() or not num_frames(folder):
    return None
  return lambda: ((read_grey(path) > 0).astype('uint8') for path in community.image_files(folder))


def _label_files(root, script, mat):
  found = {}
  paths = [path for path in (root / script, root / 'Test' / script) if path.exists()]
  if paths:
    found['official'] = intervals.read_matlab_script(paths[0])
  if (root / mat).exists():
    found['community'] = intervals.read_mat(root / mat)
  return found


def _of_clip(clips, name, label_set):
  """Labels are listed by clip number; clips may be absent from disk."""
  number = int(re.sub(r'\D', '', name) or 0)
  if not 1 <= number <= len(clips):
    raise UserError(f'test clip {name}: the {label_set} labels have {len(clips)} clips')
  return clips[number - 1]
