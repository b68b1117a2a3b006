"""IITB Corridor: one camera in a corridor, with frame labels."""

import pathlib

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.entries import entries_of, folders_in
from a3dcae_jax.data.layouts.media import reader_of
from a3dcae_jax.data.layouts.numpy_file import read_labels
from a3dcae_jax.data.published import Published
from a3dcae_jax.data.video import Video

LABEL_SETS = ('official',)
HOW_TO_GET = (
  'https://rodrigues-royston.github.io/Multi-timescale_Trajectory_Prediction/ links the archives; '
  'unpack them there (the documentation says more under Data sets)'
)
# Frames and abnormal frames of the paper's comparison of data sets; training videos are
# numbered 000001 to 000208, test videos 000209 to 000358.
PUBLISHED = Published(
  videos={'train': 208, 'test': 150},
  frames={'train': 301_999, 'test': 181_567},
  totals={'official': 108_278},
)
_FOLDERS = {
  'train': ('Train_IITB-Corridor/Train', 'Train', 'training'),
  'test': ('Test_IITB-Corridor/Test', 'Test', 'testing'),
}
_LABELS = (
  'Test_IITB-Corridor/Test_Annotation/Annotation',
  'Test_Annotation/Annotation',
  'groundtruth',
)


def layout(root: str | pathlib.Path) -> str:
  """Describe the layout of a copy."""
  train = _folder(root, 'train')
  test = _folder(root, 'test')
  if not train and not test:
    raise UserError(
      f'{root}: unknown layout; looked for {_FOLDERS["train"][0]}/NNNNNN/NNNNNN.avi, '
      f'{_FOLDERS["test"][0]}/NNNNNN/NNNNNN.avi, and for Train, Test, training and testing'
    )
  kind = 'community' if 'training' in (train, test) or 'testing' in (train, test) else 'official'
  return f'{kind} ({train or "no training part"}, {test or "no test part"})'


def videos(root: str | pathlib.Path, split: str) -> list[Video]:
  """Return the videos of a split.

  A video is the file or the images in a folder of its name. Labels are from NAME/NAME.npy in
  Test_Annotation/Annotation or groundtruth, one per frame.
  """
  layout(root)
  folder = _folder(root, split)
  if not folder:
    return []
  paths = folders_in(pathlib.Path(root) / folder, 'a folder of a video')
  return [_video(pathlib.Path(root), path, split) for path in paths]


def _folder(root: str | pathlib.Path, split: str) -> str:
  """Return the folder of a split's videos in `root`; '' if there is none."""
  for folder in _FOLDERS[split]:
    if (pathlib.Path(root) / folder).is_dir():
      return folder
  return ''


def _video(root: pathlib.Path, folder: pathlib.Path, split: str) -> Video:
  labels = {}
  faults = ()
  if split == 'test':
    try:
      labels = _labels(root, folder.name)
    except UserError as error:
      faults = (str(error),)
  found = entries_of(folder)
  if len(found.videos) > 1:
    faults += (f'there must be one video in this folder, found {len(found.videos)}',)
  path = found.videos[0] if found.videos and not found.images else folder
  return Video(
    name=folder.name, frames=reader_of(path), labels=labels, source=str(path), faults=faults
  )


def _labels(root: pathlib.Path, name: str) -> dict:
  """Return the labels of a test video; empty if their file is not there."""
  for folder in _LABELS:
    for path in (root / folder / name / f'{name}.npy', root / folder / f'{name}.npy'):
      if path.exists():
        return {'official': read_labels(path)}
  return {}
