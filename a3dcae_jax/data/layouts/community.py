"""The community layout: `training/frames/NN/NNN.jpg`, `testing/frames/NN/NNN.jpg`, masks beside them as `testing/masks/NN/NNN.png`."""

import pathlib
import re

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.video import read_grey

IMAGES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.bmp')
FOLDERS = {'train': 'training', 'test': 'testing'}


def is_community(root):
  """Whether `root` has a frames folder of the community layout: the training part's or, in a copy of the test part, the test's."""
  return any((pathlib.Path(root) / folder / 'frames').is_dir() for folder in FOLDERS.values())


def is_image(path):
  """Whether a file is named as a frame: hidden ones (._001.tif, .DS_Store) are junk."""
  return path.suffix.lower() in IMAGES and not path.name.startswith('.')


def clip_folders(root, split):
  """The clips' folders of a split, in the order of their names; junk files beside them are passed over."""
  folder = pathlib.Path(root) / FOLDERS[split] / 'frames'
  if not folder.is_dir():
    return []
  return sorted(
    path for path in folder.iterdir() if path.is_dir() and not path.name.startswith('.')
  )


def image_files(folder):
  """The images of a folder in the order of their numbers; hidden and other files are passed over.

  Raises: UserError where a number is missing or there twice, or there is no image.
  """
  files = {}
  for path in pathlib.Path(folder).iterdir():
    if not is_image(path):
      continue
    digits = re.search(r'(\d+)$', path.stem)
    if digits is None:
      raise UserError(f'{path.name}: an image without a frame number')
    number = int(digits.group())
    if number in files:
      raise UserError(
        f'frame number {number} is there twice: {", ".join(sorted((files[number].name, path.name)))}'
      )
    files[number] = path
  if not files:
    raise UserError('an empty folder: no images')
  missing = sorted(set(range(min(files), max(files) + 1)) - set(files))
  if missing:
    shown = ', '.join(map(str, missing[:5])) + (', ...' if len(missing) > 5 else '')
    raise UserError(f'missing frame numbers: {shown}')
  return [files[number] for number in sorted(files)]


def frames_of(folder):
  """A callable that iterates over a folder's images as grey frames."""
  return lambda: (read_grey(path) for path in image_files(folder))


def masks_of(root, clip):
  """A callable that iterates over a test clip's masks as 0/1, or None where there are none."""
  folder = pathlib.Path(root) / 'testing' / 'masks' / clip
  if not folder.is_dir():
    return None
  return lambda: ((read_grey(path) > 0).astype('uint8') for path in image_files(folder))
