"""CUHK Avenue: the authors' videos with their masks, or the community's frames.

Label sets: `vollabel`, abnormal where the authors' mask `volLabel` has a pixel; `hasan`, the
intervals of Hasan et al. 2016.
"""

import functools
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts import community
from a3dcae_jax.data.layouts.entries import has_folder
from a3dcae_jax.data.layouts.intervals import read_all_labels
from a3dcae_jax.data.layouts.mat import read_cells
from a3dcae_jax.data.layouts.media import media_in, name_of, reader_of
from a3dcae_jax.data.published import Published
from a3dcae_jax.data.video import Video

LABEL_SETS = ('vollabel', 'hasan')

# Frames of the 21 test videos. Labels that come as one row are split by them, so that copies with
# fewer videos keep their labels, too.
# fmt: off
TEST_FRAMES = (
  1439, 1211, 923, 947, 1007, 1283, 605, 36, 1175, 841, 472, 1271, 549, 507, 1001, 740, 426, 294,
  248, 273, 76,
)
# fmt: on
# Abnormal frames of each test video in `frame_labels_avenue.npy`, 3,867 together. For volLabel only
# the sum is known.
# fmt: off
_HASAN = (
  451, 139, 87, 93, 318, 433, 105, 10, 333, 161, 183, 249, 81, 73, 90, 99, 358, 265, 132, 154, 53,
)
# fmt: on
PUBLISHED = Published(
  test=TEST_FRAMES, abnormal={'hasan': _HASAN}, totals={'vollabel': 3712, 'hasan': 3867}
)
_HASAN_FILES = ('avenue.mat', 'frame_labels_avenue.npy')
_FOLDERS = {'train': 'training_videos', 'test': 'testing_videos'}


def layout(root: str | pathlib.Path) -> str:
  """Describe the layout of a copy."""
  if _official_folder(root):
    return 'official (training_videos, testing_videos, ground_truth_demo)'
  if community.is_community(root):
    return community.DESCRIPTION
  raise UserError(
    f'{root}: unknown layout; looked for training_videos/NN.avi (official) and '
    'training/frames/NN/NNN.jpg (community)'
  )


def label_sets(root: str | pathlib.Path) -> tuple[str, ...]:
  """Return the label sets whose files are in a copy."""
  root = pathlib.Path(root)
  found = []
  if _mask_files(root, ''):
    found.append('vollabel')
  if any((root / name).exists() for name in _HASAN_FILES):
    found.append('hasan')
  return tuple(found)


def videos(
  root: str | pathlib.Path, split: str, *, hasan_labels: str = '', ground_truth: str = ''
) -> list[Video]:
  """Return the videos of a split.

  Args:
    root: folder of the copy.
    split: 'train' or 'test'.
    hasan_labels: file of Hasan's intervals (.mat with `gt`) or of their frame labels (.npy, all 21
      videos in a row). '' looks for avenue.mat and frame_labels_avenue.npy in `root`.
    ground_truth: folder that has the files N_label.mat, in it or below. '' looks for
      testing_label_mask in `root`.
  """
  root = pathlib.Path(root)
  official = _official_folder(root)
  if official:
    paths = media_in(official / _FOLDERS[split])
  else:
    paths = community.clip_folders(root, split)
  if split == 'train':
    return [_video(path) for path in paths]
  mask_files = _mask_files(root, ground_truth)
  hasan = _hasan_labels(root, hasan_labels)
  return [_test_video(path, mask_files, hasan) for path in paths]


def _video(path: pathlib.Path, **fields) -> Video:
  return Video(name=name_of(path), frames=reader_of(path), source=str(path), **fields)


def _test_video(
  path: pathlib.Path,
  mask_files: Mapping[int, pathlib.Path],
  hasan: Sequence[np.ndarray] | None,
) -> Video:
  number = int(re.sub(r'\D', '', name_of(path)) or 0)
  labels = {}
  masks = None
  faults = ()
  if number in mask_files:
    mask_file = mask_files[number]
    try:
      labels['vollabel'] = np.asarray([mask.any() for mask in _read_masks(mask_file)], np.uint8)
      masks = functools.partial(_read_masks, mask_file)
    except UserError as error:
      faults = (str(error),)
  if hasan and 1 <= number <= len(hasan):
    labels['hasan'] = hasan[number - 1]
  return _video(path, labels=labels, masks=masks, faults=faults)


def _official_folder(root: str | pathlib.Path) -> pathlib.Path | None:
  """Find the folder of the videos: `root`, or `Avenue Dataset` in it."""
  root = pathlib.Path(root)
  for path in (root, *sorted(root.glob('Avenue*'))):
    if has_folder(path, _FOLDERS.values()):
      return path
  return None


def _mask_files(root: pathlib.Path, given: str) -> dict[int, pathlib.Path]:
  """Return video number -> N_label.mat."""
  if given:
    paths = sorted(pathlib.Path(given).rglob('*_label.mat'))
  else:
    folders = [root / 'testing_label_mask', *root.glob('*/testing_label_mask')]
    paths = sorted(path for folder in folders for path in folder.glob('*.mat'))
  files = {}
  for path in paths:
    if re.fullmatch(r'\d+_label\.mat', path.name):
      files[int(path.name.split('_')[0])] = path
  return files


def _read_masks(path: pathlib.Path) -> Iterator[np.ndarray]:
  """Yield the masks of a video, uint8 0/1 [H, W], from `volLabel`, a cell array."""
  for mask in read_cells(path, 'volLabel', 'masks'):
    yield (mask > 0).astype(np.uint8)


def _hasan_labels(root: pathlib.Path, given: str) -> list[np.ndarray] | None:
  """Return the labels of each test video, uint8 [N]; None if the file is not there."""
  if given and not pathlib.Path(given).exists():
    raise UserError(f'data.options.hasan_labels: there is no file {given}')
  candidates = [given] if given else [root / name for name in _HASAN_FILES]
  for path in map(pathlib.Path, candidates):
    if path.exists():
      return read_all_labels(path, TEST_FRAMES)
  return None
