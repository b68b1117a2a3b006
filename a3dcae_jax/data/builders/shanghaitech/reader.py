"""ShanghaiTech Campus: training videos; test frames or videos with frame and pixel masks; 13 cameras. Community: frames and one row of labels."""

import pathlib

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts import intervals
from a3dcae_jax.data.layouts.media import media_in, name_of, reader_of
from a3dcae_jax.data.layouts.rows import read_rows
from a3dcae_jax.data.published import Published
from a3dcae_jax.data.video import Video

LABEL_SETS = ('official', 'community')
_FOLDERS = {
  'train': ('training/videos', 'training/frames'),
  'test': ('testing/frames', 'testing/videos'),
}
_COMMUNITY_FILES = ('frame_labels_shanghai.npy', 'shanghaitech.mat')

# The 107 test videos in the order of their names: frames, and abnormal frames in `frame_labels_shanghai.npy` (17,326 together).
TEST_FRAMES = (
  265,
  433,
  337,
  601,
  505,
  409,
  457,
  313,
  409,
  337,
  337,
  457,
  577,
  313,
  529,
  193,
  289,
  289,
  265,
  241,
  337,
  289,
  265,
  217,
  433,
  409,
  529,
  313,
  217,
  241,
  313,
  193,
  265,
  317,
  457,
  337,
  361,
  529,
  409,
  313,
  385,
  457,
  481,
  457,
  433,
  385,
  241,
  553,
  937,
  865,
  505,
  313,
  361,
  361,
  529,
  337,
  433,
  481,
  649,
  649,
  409,
  337,
  769,
  433,
  241,
  217,
  265,
  265,
  217,
  265,
  409,
  385,
  481,
  457,
  313,
  601,
  241,
  481,
  313,
  337,
  457,
  217,
  241,
  289,
  337,
  313,
  337,
  265,
  265,
  337,
  361,
  433,
  241,
  433,
  601,
  505,
  337,
  601,
  265,
  313,
  241,
  289,
  361,
  385,
  217,
  337,
  265,
)
_ABNORMAL = (
  76,
  288,
  91,
  55,
  120,
  74,
  64,
  113,
  200,
  170,
  89,
  235,
  293,
  245,
  135,
  71,
  213,
  91,
  229,
  98,
  94,
  97,
  87,
  216,
  185,
  189,
  311,
  120,
  107,
  73,
  146,
  104,
  120,
  85,
  252,
  220,
  190,
  60,
  120,
  115,
  106,
  216,
  211,
  106,
  147,
  84,
  47,
  290,
  226,
  130,
  108,
  313,
  343,
  210,
  170,
  84,
  133,
  66,
  160,
  56,
  81,
  107,
  278,
  135,
  140,
  165,
  76,
  156,
  69,
  96,
  66,
  103,
  93,
  186,
  82,
  204,
  52,
  100,
  152,
  231,
  320,
  151,
  95,
  174,
  90,
  141,
  164,
  131,
  132,
  211,
  84,
  309,
  227,
  364,
  539,
  100,
  141,
  519,
  177,
  177,
  130,
  213,
  305,
  296,
  116,
  244,
  157,
)
PUBLISHED = Published(
  test=TEST_FRAMES, abnormal=dict.fromkeys(LABEL_SETS, _ABNORMAL), by_position=True
)


def layout(root):
  """The layout that `root` has, by name."""
  found = {
    split: next((folder for folder in folders if media_in(pathlib.Path(root) / folder)), '')
    for split, folders in _FOLDERS.items()
  }
  if not any(found.values()):
    raise UserError(
      f'{root}: no known layout; looked for training/videos/*.avi, training/frames/*/, testing/frames/*/ and testing/videos/*'
    )
  kind = (
    'community'
    if found['train'] == 'training/frames'
    or not (pathlib.Path(root) / 'testing' / 'test_frame_mask').is_dir()
    else 'official'
  )
  return f'{kind} ({found["train"] or "no training part"}, {found["test"] or "no test part"})'


def label_sets(root):
  """The label sets whose files are there."""
  root = pathlib.Path(root)
  return (('official',) if any((root / 'testing' / 'test_frame_mask').glob('*.npy')) else ()) + (
    ('community',) if _community_file(root) else ()
  )


def videos(root, split):
  """The videos of a split; a video's scene is the part of its name before the underscore (01_0014 is of camera 01).

  Labels: set 'official' from `testing/test_frame_mask/NAME.npy`; 'community' from `frame_labels_shanghai.npy` or `shanghaitech.mat`
  in `root`, which list the 107 test videos without their names: they need all of them.
  """
  layout(root)
  root = pathlib.Path(root)
  folder = next((root / folder for folder in _FOLDERS[split] if media_in(root / folder)), None)
  paths = media_in(folder) if folder else []
  community = _community(root, len(paths)) if split == 'test' and paths else None
  return [
    _video(root, path, split, community and community[index]) for index, path in enumerate(paths)
  ]


def _video(root, path, split, community):
  name, labels, masks, faults = name_of(path), {}, None, ()
  if split == 'test':
    try:
      labels, masks = _labels(root, name), _masks(root, name)
    except UserError as error:
      faults = (str(error),)
    if community is not None:
      labels['community'] = community
  return Video(
    name=name,
    frames=reader_of(path),
    labels=labels,
    masks=masks,
    scene=name.partition('_')[0],
    source=str(path),
    faults=faults,
  )


def _labels(root, name):
  path = root / 'testing' / 'test_frame_mask' / f'{name}.npy'
  return {'official': _load(path).ravel().astype(np.uint8)} if path.exists() else {}


def _masks(root, name):
  path = root / 'testing' / 'test_pixel_mask' / f'{name}.npy'
  if not path.exists():
    return None
  masks = _load(path)
  return lambda: ((mask > 0).astype(np.uint8) for mask in masks)


def _community_file(root):
  return next((root / name for name in _COMMUNITY_FILES if (root / name).exists()), None)


def _community(root, num_videos):
  """One uint8 [N] a test video, or None: without the file, or without all videos where the official labels are there."""
  path = _community_file(root)
  if path is None or (num_videos != len(TEST_FRAMES) and 'official' in label_sets(root)):
    return None
  if num_videos != len(TEST_FRAMES):
    raise UserError(
      f'{path.name} lists the {len(TEST_FRAMES)} test videos in the order of their names; {num_videos} are here, so none can be told'
    )
  if path.suffix == '.npy':
    return read_rows(path, TEST_FRAMES)
  return [
    intervals.interval_labels(clip, frames, source=f'{path.name}, video {i}')
    for i, (clip, frames) in enumerate(
      zip(intervals.read_mat(path), TEST_FRAMES, strict=True), start=1
    )
  ]


def _load(path):
  try:
    return np.load(path, mmap_mode='r', allow_pickle=False)
  except (OSError, ValueError) as error:
    raise UserError(f'{path} cannot be read: {error}') from None
