"""NWPU Campus: videos of 43 cameras, with frame labels in one archive."""

import pathlib

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.entries import find_folder, has_folder
from a3dcae_jax.data.layouts.media import media_in, name_of, reader_of
from a3dcae_jax.data.layouts.numpy_file import read_label_archive
from a3dcae_jax.data.published import Published
from a3dcae_jax.data.video import Video

LABEL_SETS = ('official',)
HOW_TO_GET = (
  'https://campusvad.github.io links the archives; unpack them there '
  '(the documentation says more under Data sets)'
)
# From the paper's comparison of data sets.
PUBLISHED = Published(
  videos={'train': 305, 'test': 242},
  frames={'train': 1_082_014, 'test': 384_059},
  totals={'official': 65_266},
)
_FOLDERS = {'train': 'videos/Train', 'test': 'videos/Test'}
_LABELS = 'NWPU_Campus_gt.npz'


def layout(root: str | pathlib.Path) -> str:
  """Describe the layout of a copy."""
  _set_folder(root)
  return 'official (videos/Train, videos/Test)'


def videos(root: str | pathlib.Path, split: str) -> list[Video]:
  """Return the videos of a split.

  The scene of a video is the part of its name before the underscore: D001_01 is of camera D001.
  Labels are from groundtruth/NWPU_Campus_gt.npz, an array for each test video.
  """
  folder = _set_folder(root)
  labels = _labels(folder) if split == 'test' else {}
  found = []
  for path in media_in(folder / _FOLDERS[split]):
    name = name_of(path)
    own = {'official': labels[name]} if name in labels else {}
    scene = name.partition('_')[0]
    found.append(
      Video(name=name, frames=reader_of(path), labels=own, scene=scene, source=str(path))
    )
  return found


def _set_folder(root: str | pathlib.Path) -> pathlib.Path:
  """Find the folder of the videos: `root`, or a folder in it."""
  found = find_folder(root, lambda folder: has_folder(folder, _FOLDERS.values()))
  if found is None:
    raise UserError(
      f'{root}: unknown layout; looked for videos/Train/D001_01.avi, videos/Test/D001_02.avi and '
      f'groundtruth/{_LABELS}'
    )
  return found


def _labels(folder: pathlib.Path) -> dict[str, np.ndarray]:
  """Return the labels of test videos by name; empty if their file is absent."""
  for path in (folder / 'groundtruth' / _LABELS, folder / _LABELS):
    if path.exists():
      return read_label_archive(path)
  return {}
