"""ShanghaiTech Campus: videos of 13 cameras, with frame labels and pixel masks.

Label sets: `official` from the authors' `test_frame_mask`; `community` from one file for all test
videos.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.intervals import read_all_labels
from a3dcae_jax.data.layouts.media import media_in, name_of, reader_of
from a3dcae_jax.data.layouts.numpy_file import read_array, read_labels
from a3dcae_jax.data.published import Published
from a3dcae_jax.data.video import Frames, Video

LABEL_SETS = ('official', 'community')
HOW_TO_GET = (
  'https://svip-lab.github.io/dataset/campus_dataset.html links the archive; unpack it there '
  '(the documentation says more under Data sets)'
)
_FOLDERS = {
  'train': ('training/videos', 'training/frames'),
  'test': ('testing/frames', 'testing/videos'),
}
_COMMUNITY_FILES = ('frame_labels_shanghai.npy', 'shanghaitech.mat')

# Frames of the 107 test videos, in the order of their names.
# fmt: off
TEST_FRAMES = (
  265, 433, 337, 601, 505, 409, 457, 313, 409, 337, 337, 457, 577, 313, 529, 193, 289, 289, 265,
  241, 337, 289, 265, 217, 433, 409, 529, 313, 217, 241, 313, 193, 265, 317, 457, 337, 361, 529,
  409, 313, 385, 457, 481, 457, 433, 385, 241, 553, 937, 865, 505, 313, 361, 361, 529, 337, 433,
  481, 649, 649, 409, 337, 769, 433, 241, 217, 265, 265, 217, 265, 409, 385, 481, 457, 313, 601,
  241, 481, 313, 337, 457, 217, 241, 289, 337, 313, 337, 265, 265, 337, 361, 433, 241, 433, 601,
  505, 337, 601, 265, 313, 241, 289, 361, 385, 217, 337, 265,
)
# fmt: on
# Their abnormal frames in `frame_labels_shanghai.npy`, 17,326 together.
# fmt: off
_ABNORMAL = (
  76, 288, 91, 55, 120, 74, 64, 113, 200, 170, 89, 235, 293, 245, 135, 71, 213, 91, 229, 98, 94,
  97, 87, 216, 185, 189, 311, 120, 107, 73, 146, 104, 120, 85, 252, 220, 190, 60, 120, 115, 106,
  216, 211, 106, 147, 84, 47, 290, 226, 130, 108, 313, 343, 210, 170, 84, 133, 66, 160, 56, 81,
  107, 278, 135, 140, 165, 76, 156, 69, 96, 66, 103, 93, 186, 82, 204, 52, 100, 152, 231, 320,
  151, 95, 174, 90, 141, 164, 131, 132, 211, 84, 309, 227, 364, 539, 100, 141, 519, 177, 177, 130,
  213, 305, 296, 116, 244, 157,
)
# fmt: on
PUBLISHED = Published(
  test=TEST_FRAMES, abnormal=dict.fromkeys(LABEL_SETS, _ABNORMAL), by_position=True
)


def layout(root: str | pathlib.Path) -> str:
  """Describe the layout of a copy."""
  train = _folder(root, 'train')
  test = _folder(root, 'test')
  if not train and not test:
    raise UserError(
      f'{root}: unknown layout; looked for training/videos/*.avi, training/frames/*/, '
      'testing/frames/*/ and testing/videos/*'
    )
  has_frame_masks = (pathlib.Path(root) / 'testing' / 'test_frame_mask').is_dir()
  official = has_frame_masks and train != 'training/frames'
  kind = 'official' if official else 'community'
  return f'{kind} ({train or "no training part"}, {test or "no test part"})'


def label_sets(root: str | pathlib.Path) -> tuple[str, ...]:
  """Return the label sets whose files are in a copy."""
  root = pathlib.Path(root)
  found = []
  if any((root / 'testing' / 'test_frame_mask').glob('*.npy')):
    found.append('official')
  if _community_file(root):
    found.append('community')
  return tuple(found)


def videos(root: str | pathlib.Path, split: str) -> list[Video]:
  """Return the videos of a split.

  The scene of a video is the part of its name before the underscore: 01_0014 is of camera 01.

  Labels: set 'official' from testing/test_frame_mask/NAME.npy; 'community' from
  frame_labels_shanghai.npy or shanghaitech.mat in `root`. These list the labels of the 107 test
  videos without names, so all videos must be there.
  """
  layout(root)
  root = pathlib.Path(root)
  folder = _folder(root, split)
  paths = media_in(root / folder) if folder else []
  if split == 'train':
    return [_video(path) for path in paths]
  community = _community_labels(root, len(paths)) if paths else None
  found = []
  for index, path in enumerate(paths):
    labels = {} if community is None else {'community': community[index]}
    found.append(_test_video(root, path, labels))
  return found


def _folder(root: str | pathlib.Path, split: str) -> str:
  """Return the folder of a split's videos in `root`; '' if there is none."""
  for folder in _FOLDERS[split]:
    if media_in(pathlib.Path(root) / folder):
      return folder
  return ''


def _video(path: pathlib.Path, **fields) -> Video:
  name = name_of(path)
  scene = name.partition('_')[0]
  return Video(name=name, frames=reader_of(path), scene=scene, source=str(path), **fields)


def _test_video(root: pathlib.Path, path: pathlib.Path, labels: dict[str, np.ndarray]) -> Video:
  name = name_of(path)
  masks = None
  faults = ()
  try:
    official = _official_labels(root, name)
    if official is not None:
      labels = {'official': official} | labels
    masks = _official_masks(root, name)
  except UserError as error:
    faults = (str(error),)
  return _video(path, labels=labels, masks=masks, faults=faults)


def _official_labels(root: pathlib.Path, name: str) -> np.ndarray | None:
  path = root / 'testing' / 'test_frame_mask' / f'{name}.npy'
  return read_labels(path) if path.exists() else None


def _official_masks(root: pathlib.Path, name: str) -> Frames | None:
  path = root / 'testing' / 'test_pixel_mask' / f'{name}.npy'
  if not path.exists():
    return None
  masks = read_array(path)
  if masks.ndim != 3:
    raise UserError(f'{path} must be masks [N, H, W]; its shape is {list(masks.shape)}')
  return lambda: ((mask > 0).astype(np.uint8) for mask in masks)


def _community_file(root: pathlib.Path) -> pathlib.Path | None:
  for name in _COMMUNITY_FILES:
    if (root / name).exists():
      return root / name
  return None


def _community_labels(root: pathlib.Path, num_videos: int) -> Sequence[np.ndarray] | None:
  """Return the labels of each test video, uint8 [N].

  Returns:
    None if there is no file, or if some videos are missing and the official labels are there.
  """
  path = _community_file(root)
  if path is None:
    return None
  if num_videos != len(TEST_FRAMES):
    if 'official' in label_sets(root):
      return None
    raise UserError(
      f'{path.name} lists the {len(TEST_FRAMES)} test videos in the order of their names, '
      f'but only {num_videos} are here, so their labels are not known'
    )
  return read_all_labels(path, TEST_FRAMES)
