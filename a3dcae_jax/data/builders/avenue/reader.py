"""CUHK Avenue: the authors' videos with `volLabel` masks, or the community's frames; label sets `vollabel` and `hasan`."""

import pathlib
import re

import numpy as np
import scipy.io

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.footage import Video
from a3dcae_jax.data.layouts import community, intervals
from a3dcae_jax.data.layouts.media import media_in, name_of, reader_of

LABEL_SETS = ('vollabel', 'hasan')

# Frames of the 21 test videos: labels that come as one row are cut by these, so a copy with some of the videos keeps its labels.
TEST_FRAMES = (1439, 1211, 923, 947, 1007, 1283, 605, 36, 1175, 841, 472, 1271, 549, 507, 1001, 740, 426, 294, 248, 273, 76)
PUBLISHED_FRAMES = {'test': TEST_FRAMES}
_HASAN_FILES = ('avenue.mat', 'frame_labels_avenue.npy')
_MASKS = ('ground_truth_demo/testing_label_mask', 'testing_label_mask')


def layout(root):
  """The layout that `root` has, by name."""
  root = pathlib.Path(root)
  if (root / 'training_videos').is_dir():
    return 'official (training_videos, testing_videos, ground_truth_demo)'
  if community.is_community(root):
    return 'community (training/frames/NN, testing/frames/NN)'
  raise UserError(f'{root}: no known layout; looked for training_videos/NN.avi (official) and training/frames/NN/NNN.jpg (community)')


def videos(root, split, *, hasan_labels=''):
  """The videos of a split.

  Args:
    root: the set's folder. hasan_labels: file of Hasan's intervals (`.mat` with `gt`) or of their frames (`.npy`, all 21 videos
      in a row); '' looks for avenue.mat and frame_labels_avenue.npy in `root`.
  """
  root = pathlib.Path(root)
  if layout(root).startswith('official'):
    paths = media_in(root / {'train': 'training_videos', 'test': 'testing_videos'}[split])
  else:
    paths = community.clip_folders(root, split)
  if split == 'train':
    return [Video(name=name_of(path), frames=reader_of(path), source=str(path)) for path in paths]
  hasan = _hasan(root, hasan_labels)
  return [_test_video(root, path, hasan) for path in paths]


def _test_video(root, path, hasan):
  number = int(re.sub(r'\D', '', name_of(path)) or 0)
  mask_file = next((root / folder / f'{number}_label.mat' for folder in _MASKS if (root / folder / f'{number}_label.mat').exists()), None)
  labels, masks = {}, None
  if mask_file:
    labels['vollabel'] = np.asarray([mask.any() for mask in _vol_label(mask_file)], np.uint8)
    masks = lambda: ((mask > 0).astype(np.uint8) for mask in _vol_label(mask_file))  # noqa: E731
  if hasan and 1 <= number <= len(hasan):
    labels['hasan'] = hasan[number - 1]
  return Video(name=name_of(path), frames=reader_of(path), labels=labels, masks=masks, source=str(path))


def _vol_label(path):
  """The masks of one video: `volLabel`, a cell of [H, W] arrays, one a frame."""
  try:
    return list(scipy.io.loadmat(path)['volLabel'].ravel())
  except (KeyError, ValueError, NotImplementedError) as error:
    raise UserError(f'{path} holds no masks named volLabel: {error}') from None


def _hasan(root, given):
  """One uint8 [N] a test video, or None where the file is not there."""
  candidates = [pathlib.Path(given)] if given else [root / name for name in _HASAN_FILES]
  path = next((path for path in candidates if path.exists()), None)
  if path is None:
    if given:
      raise UserError(f'data.options.hasan_labels: there is no file {given}')
    return None
  if path.suffix == '.mat':
    return [intervals.interval_labels(clip, frames, source=f'{path}, video {i}')
            for i, (clip, frames) in enumerate(zip(intervals.read_mat(path), TEST_FRAMES, strict=True), start=1)]
  labels = np.load(path, allow_pickle=False).ravel()
  if len(labels) != sum(TEST_FRAMES):
    raise UserError(f'{path}: {len(labels)} labels, the 21 test videos have {sum(TEST_FRAMES)} frames')
  return [part.astype(np.uint8) for part in np.split(labels, np.cumsum(TEST_FRAMES)[:-1])]
