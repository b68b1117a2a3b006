"""ShanghaiTech Campus: training videos; test frames or videos with frame and pixel masks; 13 cameras."""

import pathlib

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.footage import Video
from a3dcae_jax.data.layouts.media import media_in, name_of, reader_of

LABEL_SETS = ('official',)
_FOLDERS = {'train': ('training/videos', 'training/frames'), 'test': ('testing/frames', 'testing/videos')}


def layout(root):
  """The layout that `root` has, by name."""
  found = {split: next((folder for folder in folders if media_in(pathlib.Path(root) / folder)), '') for split, folders in _FOLDERS.items()}
  if not any(found.values()):
    raise UserError(f'{root}: no known layout; looked for training/videos/*.avi, testing/frames/*/ and testing/videos/*')
  return f'official ({found["train"] or "no training part"}, {found["test"] or "no test part"})'


def videos(root, split):
  """The videos of a split; a video's scene is the part of its name before the underscore (01_0014 is of camera 01)."""
  layout(root)
  root = pathlib.Path(root)
  folder = next((root / folder for folder in _FOLDERS[split] if media_in(root / folder)), None)
  result = []
  for path in media_in(folder) if folder else []:
    name = name_of(path)
    labels, masks = ({}, None) if split == 'train' else (_labels(root, name), _masks(root, name))
    result.append(Video(name=name, frames=reader_of(path), labels=labels, masks=masks, scene=name.partition('_')[0], source=str(path)))
  return result


def _labels(root, name):
  path = root / 'testing' / 'test_frame_mask' / f'{name}.npy'
  return {'official': _load(path).ravel().astype(np.uint8)} if path.exists() else {}


def _masks(root, name):
  path = root / 'testing' / 'test_pixel_mask' / f'{name}.npy'
  return (lambda: ((mask > 0).astype(np.uint8) for mask in _load(path))) if path.exists() else None


def _load(path):
  try:
    return np.load(path, mmap_mode='r', allow_pickle=False)
  except (OSError, ValueError) as error:
    raise UserError(f'{path} cannot be read: {error}') from None
