"""Street Scene: a two-lane street, with boxes of the abnormal objects."""

import functools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.community import frames_of, image_files
from a3dcae_jax.data.layouts.entries import find_folder, folders_in, has_folder
from a3dcae_jax.data.layouts.ground_truth import labels_of_tracks
from a3dcae_jax.data.layouts.text import Row, read_table
from a3dcae_jax.data.published import Published
from a3dcae_jax.data.video import Region, Video, read_grey

LABEL_SETS = ('official',)
HOW_TO_GET = (
  'https://www.merl.com/demos/video-anomaly-detection says how to get both archives; unpack them '
  'there (the documentation says more under Data sets)'
)
# The description of the set in the paper; an anomalous event is a track.
PUBLISHED = Published(
  videos={'train': 46, 'test': 35}, frames={'train': 56_847, 'test': 146_410}, tracks=205
)
_FOLDERS = {'train': 'Train', 'test': 'Test'}
_COLUMNS = 'image track x y width height'


def layout(root: str | pathlib.Path) -> str:
  """Describe the layout of a copy."""
  _set_folder(root)
  return 'official (Train/TrainNNN, Test/TestNNN)'


def videos(root: str | pathlib.Path, split: str) -> list[Video]:
  """Return the videos of a split.

  Labels and tracks of a test video are from the file NAME_gt.txt in its folder.
  """
  paths = folders_in(_set_folder(root) / _FOLDERS[split], 'a folder of images')
  if split == 'train':
    return [_video(path) for path in paths]
  return [_test_video(path) for path in paths]


def _set_folder(root: str | pathlib.Path) -> pathlib.Path:
  """Find the folder of the splits: `root`, or a folder in it."""
  found = find_folder(root, lambda folder: has_folder(folder, _FOLDERS.values()))
  if found is None:
    raise UserError(
      f'{root}: unknown layout; looked for Train/TrainNNN/NNNNN.jpg and Test/TestNNN/NNNNN.jpg'
    )
  return found


def _video(path: pathlib.Path, beside: Sequence[pathlib.Path] = (), **fields) -> Video:
  return Video(name=path.name, frames=frames_of(path, beside), source=str(path), **fields)


def _test_video(path: pathlib.Path) -> Video:
  truth = path / f'{path.name}_gt.txt'
  if not truth.exists():
    return _video(path)
  try:
    tracks = _read_boxes(truth, image_files(path, [truth]))
  except UserError as error:
    return _video(path, [truth], faults=(str(error),))
  labels = {'official': functools.partial(labels_of_tracks, tracks, truth)}
  return _video(path, [truth], labels_of_length=labels, tracks=tracks)


def _read_boxes(path: pathlib.Path, images: Sequence[pathlib.Path]) -> tuple[Region, ...]:
  """Read rows of an image, a track, and the centre and size of a box.

  There are spaces between them.

  Args:
    path: the file.
    images: the frames of the video, in order.

  Raises:
    UserError: naming the file and the line.
  """
  frames = {image.stem: frame for frame, image in enumerate(images)}
  height, width = read_grey(images[0]).shape
  regions = []
  for row in read_table(path):
    region = _region(row, frames, path)
    x1, x2 = (min(max(x, 0), width) for x in (region.x1, region.x2))
    y1, y2 = (min(max(y, 0), height) for y in (region.y1, region.y2))
    if x1 == x2 or y1 == y2:
      raise UserError(
        f'{path}, line {row.line}: a box outside of the image, which has {width}x{height} pixels; '
        'the boxes are for images of the original size'
      )
    regions.append(region._replace(x1=x1, y1=y1, x2=x2, y2=y2))
  return tuple(regions)


def _region(row: Row, frames: Mapping[str, int], path: pathlib.Path) -> Region:
  """Return the region of a row; `frames` is the stem of an image -> its frame."""
  try:
    image, track, *numbers = row.cells
    x, y, width, height = map(float, numbers)
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if not (np.isfinite(corners).all() and width > 0 and height > 0):
      raise ValueError
    region = Region(int(track), frames[pathlib.PurePosixPath(image).stem], *corners)
  except KeyError:
    raise UserError(
      f'{path}, line {row.line}: there is no image {image[:80]!r} in this folder'
    ) from None
  except (ValueError, OverflowError):
    raise UserError(
      f'{path}, line {row.line}: {" ".join(row.cells)[:80]!r} must be {_COLUMNS}, x and y of the '
      'centre'
    ) from None
  return region
