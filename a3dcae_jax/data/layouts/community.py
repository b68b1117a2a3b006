"""The community layout, in which most public code keeps the data sets.

training/frames/NN/NNN.jpg   frames of training clip NN
testing/frames/NN/NNN.jpg    frames of test clip NN
testing/masks/NN/NNN.png     its pixel masks, where there are any
"""

import pathlib
from collections.abc import Collection

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.entries import (
  Entries,
  entries_of,
  folders_in,
  has_folder,
  note_left_out,
)
from a3dcae_jax.data.layouts.frame_names import in_order
from a3dcae_jax.data.notes import note
from a3dcae_jax.data.video import Frames, read_grey, read_mask

FOLDERS = {'train': 'training', 'test': 'testing'}
DESCRIPTION = 'community (training/frames/NN, testing/frames/NN)'
_SHOWN = 3  # names that an error message lists


def is_community(root: str | pathlib.Path) -> bool:
  """Return whether a folder has the frames of training or test clips in this layout."""
  return has_folder(root, [f'{folder}/frames' for folder in FOLDERS.values()])


def clip_folders(root: str | pathlib.Path, split: str) -> list[pathlib.Path]:
  """Return the folders of a split's clips, sorted by name. Other entries are noted."""
  return folders_in(pathlib.Path(root) / FOLDERS[split] / 'frames', 'a folder of images')


def image_files(folder: pathlib.Path, beside: Collection[pathlib.Path] = ()) -> list[pathlib.Path]:
  """Return the images of a folder in the order of their frames.

  Other entries are noted.

  Args:
    folder: the folder.
    beside: files in it that are read as something else, and are not noted.

  Raises:
    UserError: if there is no image, or their names give no order.
  """
  found = entries_of(folder)
  if not found.images:
    raise UserError(_without_images(found))
  names = {path.name: path for path in found.images}
  order = in_order(list(names))
  if order.note:
    note(order.note, folder)
  videos = [path for path in found.videos if path.name not in names]
  others = [path for path in (*videos, *found.folders, *found.others) if path not in beside]
  note_left_out(found, others, 'an image')
  return [names[name] for name in order.names]


def _without_images(found: Entries) -> str:
  """Return the fault of a folder without images, and its remedy."""
  for kind, paths in (('videos', found.videos), ('folders', found.folders)):
    if paths:
      return (
        f'a folder without images, but with {kind} ({_shown(paths)}): a video is a file or a '
        f'folder of images; move the {kind} one folder up'
      )
  if found.others:
    return f'a folder without images that can be read, but with {_shown(found.others)}'
  return 'an empty folder: no images; remove it, or put its images there'


def _shown(paths: list[pathlib.Path]) -> str:
  names = ', '.join(path.name for path in paths[:_SHOWN])
  return f'{names}, ...' if len(paths) > _SHOWN else names


def num_images(folder: pathlib.Path) -> int:
  """Return how many images a folder has; 0 if it is faulty.

  The fault is reported when the frames are read, with all other faults.
  """
  try:
    return len(image_files(folder))
  except UserError:
    return 0


def frames_of(folder: pathlib.Path, beside: Collection[pathlib.Path] = ()) -> Frames:
  """Return the images of a folder as grey frames; see `image_files`."""
  return lambda: (read_grey(path) for path in image_files(folder, beside))


def masks_in(folder: pathlib.Path) -> Frames:
  """Return the images of a folder as masks."""
  return lambda: (read_mask(path) for path in image_files(folder))


def masks_of(root: str | pathlib.Path, clip: str) -> Frames | None:
  """Return the masks of a test clip, or None if it has none."""
  folder = pathlib.Path(root) / 'testing' / 'masks' / clip
  return masks_in(folder) if folder.is_dir() else None
