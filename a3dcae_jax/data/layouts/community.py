"""The community layout, in which most public code keeps the data sets.

training/frames/NN/NNN.jpg   frames of training clip NN
testing/frames/NN/NNN.jpg    frames of test clip NN
testing/masks/NN/NNN.png     its pixel masks, where there are any
"""

import pathlib
import re

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.video import Frames, read_grey, read_mask

IMAGES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.bmp')
FOLDERS = {'train': 'training', 'test': 'testing'}
DESCRIPTION = 'community (training/frames/NN, testing/frames/NN)'
_SHOWN_NUMBERS = 5  # missing frame numbers that an error message lists


def is_community(root: str | pathlib.Path) -> bool:
  """Return whether a folder has the frames of training or test clips in this layout."""
  root = pathlib.Path(root)
  return any((root / folder / 'frames').is_dir() for folder in FOLDERS.values())


def is_image(path: pathlib.Path) -> bool:
  """Return whether a file is named like a frame; hidden files, ._001.tif, are not."""
  return path.suffix.lower() in IMAGES and not path.name.startswith('.')


def clip_folders(root: str | pathlib.Path, split: str) -> list[pathlib.Path]:
  """Return the folders of a split's clips, sorted by name. Other files are ignored."""
  parent = pathlib.Path(root) / FOLDERS[split] / 'frames'
  if not parent.is_dir():
    return []
  folders = [path for path in parent.iterdir() if path.is_dir()]
  return sorted(path for path in folders if not path.name.startswith('.'))


def image_files(folder: pathlib.Path) -> list[pathlib.Path]:
  """Return the images of a folder, sorted by number. Other files are ignored.

  Raises:
    UserError: if there is no image, or a number is missing or occurs twice.
  """
  files = {}
  for path in folder.iterdir():
    if not is_image(path):
      continue
    digits = re.search(r'(\d+)$', path.stem)
    if digits is None:
      raise UserError(f'{path.name}: an image without a frame number')
    number = int(digits.group())
    if number in files:
      names = sorted((files[number].name, path.name))
      raise UserError(f'frame number {number} occurs twice: {", ".join(names)}')
    files[number] = path

  if not files:
    raise UserError('an empty folder: no images')

  expected = range(min(files), max(files) + 1)
  missing = [number for number in expected if number not in files]
  if missing:
    shown = ', '.join(str(number) for number in missing[:_SHOWN_NUMBERS])
    more = ', ...' if len(missing) > _SHOWN_NUMBERS else ''
    raise UserError(f'missing frame numbers: {shown}{more}')

  return [files[number] for number in sorted(files)]


def num_images(folder: pathlib.Path) -> int:
  """Return how many images a folder has; 0 if it is faulty.

  The fault is reported when the frames are read, with all other faults.
  """
  try:
    return len(image_files(folder))
  except UserError:
    return 0


def frames_of(folder: pathlib.Path) -> Frames:
  """Return the images of a folder as grey frames."""
  return lambda: (read_grey(path) for path in image_files(folder))


def masks_in(folder: pathlib.Path) -> Frames:
  """Return the images of a folder as masks."""
  return lambda: (read_mask(path) for path in image_files(folder))


def masks_of(root: str | pathlib.Path, clip: str) -> Frames | None:
  """Return the masks of a test clip, or None if it has none."""
  folder = pathlib.Path(root) / 'testing' / 'masks' / clip
  return masks_in(folder) if folder.is_dir() else None
