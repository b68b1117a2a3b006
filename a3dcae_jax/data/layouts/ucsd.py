"""UCSD Ped1 and Ped2: which files hold frames, labels and masks."""

import pathlib
import re

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.footage import Video
from a3dcae_jax.data.layouts import community, intervals

LABEL_SETS = ('official', 'community')


def layout(root):
  """The layout that `root` has, by name; a `UserError` says what was looked for."""
  if community.is_community(root):
    return 'community (training/frames/NN, testing/frames/NN)'
  raise UserError(f'{root}: no known layout; looked for training/frames/NN/NNN.jpg (community)')


def videos(root, split, *, script, mat):
  """The clips of a split.

  Args:
    root: the set's folder. split: 'train' or 'test'. script: name of the authors' label script (label set 'official').
    mat: name of the community's label file (label set 'community'). Either may be absent; a clip has the labels whose file is there.
  """
  layout(root)
  labels = _label_files(pathlib.Path(root), script, mat) if split == 'test' else {}
  clips = []
  for folder in community.clip_folders(root, split):
    found = {name: intervals.interval_labels(_of_clip(clips_of_set, folder.name, name), _num_frames(folder),
                                             source=f'test clip {folder.name}, {name} labels') for name, clips_of_set in labels.items()}
    masks = community.masks_of(root, folder.name) if split == 'test' else None
    clips.append(Video(name=folder.name, frames=community.frames_of(folder), labels=found, masks=masks, source=str(folder)))
  return clips


def _label_files(root, script, mat):
  found = {}
  if (root / script).exists():
    found['official'] = intervals.read_matlab_script(root / script)
  if (root / mat).exists():
    found['community'] = intervals.read_mat(root / mat)
  return found


def _of_clip(clips, name, label_set):
  """Labels are listed by clip number; clips may be absent from disk."""
  number = int(re.sub(r'\D', '', name) or 0)
  if not 1 <= number <= len(clips):
    raise UserError(f'test clip {name}: the {label_set} labels have {len(clips)} clips')
  return clips[number - 1]


def _num_frames(folder):
  """How many images a clip has; 0 where its folder is faulty, which `Video.frames` says later, together with all other faults."""
  try:
    return len(community.image_files(folder))
  except UserError:
    return 0
