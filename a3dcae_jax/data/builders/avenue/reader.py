"""CUHK Avenue: the authors' videos with `volLabel` masks, or the community's frames; label sets `vollabel` and `hasan`."""

import pathlib
import re

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts import community, intervals
from a3dcae_jax.data.layouts.mat import read_cells
from a3dcae_jax.data.layouts.media import media_in, name_of, reader_of
from a3dcae_jax.data.layouts.rows import read_rows
from a3dcae_jax.data.published import Published
from a3dcae_jax.data.video import Video

LABEL_SETS = ('vollabel', 'hasan')

# Frames of the 21 test videos: labels that come as one row are cut by these, so a copy with some of the videos keeps its labels.
TEST_FRAMES = (
  1439,
  1211,
  923,
  947,
  1007,
  1283,
  605,
  36,
  1175,
  841,
  472,
  1271,
  549,
  507,
  1001,
  740,
  426,
  294,
  248,
  273,
  76,
)
# Abnormal frames of each test video in `frame_labels_avenue.npy`, 3,867 together; of volLabel their sum is known.
_HASAN = (
  451,
  139,
  87,
  93,
  318,
  433,
  105,
  10,
  333,
  161,
  183,
  249,
  81,
  73,
  90,
  99,
  358,
  265,
  132,
  154,
  53,
)
PUBLISHED = Published(
  test=TEST_FRAMES, abnormal={'hasan': _HASAN}, totals={'vollabel': 3712, 'hasan': 3867}
)
_HASAN_FILES = ('avenue.mat', 'frame_labels_avenue.npy')


def layout(root):
  """The layout that `root` has, by name."""
  if _official_folder(root):
    return 'official (training_videos, testing_videos, ground_truth_demo)'
  if community.is_community(root):
    return 'community (training/frames/NN, testing/frames/NN)'
  raise UserError(
    f'{root}: no known layout; looked for training_videos/NN.avi (official) and training/frames/NN/NNN.jpg (community)'
  )


def label_sets(root):
  """The label sets whose files are there."""
  root = pathlib.Path(root)
  return (('vollabel',) if _mask_files(root, '') else ()) + (
    ('hasan',) if any((root / name).exists() for name in _HASAN_FILES) else ()
  )


def videos(root, split, *, hasan_labels='', ground_truth=''):
  """The videos of a split.

  Args:
    root: the set's folder. hasan_labels: file of Hasan's intervals (`.mat` with `gt`) or of their frames (`.npy`, all 21 videos
      in a row); '' looks for avenue.mat and frame_labels_avenue.npy in `root`. ground_truth: folder with N_label.mat in it or below;
      '' looks for testing_label_mask in `root`.
  """
  root, official = pathlib.Path(root), _official_folder(root)
  if official:
    paths = media_in(official / {'train': 'training_videos', 'test': 'testing_videos'}[split])
  else:
    paths = community.clip_folders(root, split)
  if split == 'train':
    return [Video(name=name_of(path), frames=reader_of(path), source=str(path)) for path in paths]
  hasan, masks = _hasan(root, hasan_labels), _mask_files(root, ground_truth)
  return [_test_video(path, masks, hasan) for path in paths]


def _official_folder(root):
  """`root`, or the folder in it that the authors' archive unpacks to."""
  root = pathlib.Path(root)
  return next(
    (
      path
      for path in (root, *sorted(root.glob('Avenue*')))
      if (path / 'training_videos').is_dir() or (path / 'testing_videos').is_dir()
    ),
    None,
  )


def _mask_files(root, given):
  """Video number -> N_label.mat."""
  folder = pathlib.Path(given) if given else None
  found = (
    sorted(folder.rglob('*_label.mat'))
    if folder
    else sorted({*root.glob('testing_label_mask/*.mat'), *root.glob('*/testing_label_mask/*.mat')})
  )
  return {
    int(path.name.split('_')[0]): path
    for path in found
    if re.fullmatch(r'\d+_label\.mat', path.name)
  }


def _test_video(path, mask_files, hasan):
  number = int(re.sub(r'\D', '', name_of(path)) or 0)
  labels, masks, faults = {}, None, ()
  if number in mask_files:
    try:
      labels['vollabel'] = np.asarray(
        [mask.any() for mask in _vol_label(mask_files[number])], np.uint8
      )
      masks = lambda: _vol_label(mask_files[number])  # noqa: E731
    except UserError as error:
      faults = (str(error),)
  if hasan and 1 <= number <= len(hasan):
    labels['hasan'] = hasan[number - 1]
  return Video(
    name=name_of(path),
    frames=reader_of(path),
    labels=labels,
    masks=masks,
    source=str(path),
    faults=faults,
  )


def _vol_label(path):
  """Iterates over the masks of one video, uint8 0/1 [H, W]: `volLabel`, a cell of arrays, one a frame."""
  return ((mask > 0).astype(np.uint8) for mask in read_cells(path, 'volLabel', 'masks'))


def _hasan(root, given):
  """One uint8 [N] a test video, or None where the file is not there."""
  candidates = [pathlib.Path(given)] if given else [root / name for name in _HASAN_FILES]
  path = next((path for path in candidates if path.exists()), None)
  if path is None:
    if given:
      raise UserError(f'data.options.hasan_labels: there is no file {given}')
    return None
  if path.suffix != '.mat':
    return read_rows(path, TEST_FRAMES)
  clips = intervals.read_mat(path)
  if len(clips) != len(TEST_FRAMES):
    raise UserError(
      f'{path}: intervals of {len(clips)} videos, the set has {len(TEST_FRAMES)} test videos'
    )
  return [
    intervals.interval_labels(clip, frames, source=f'{path}, video {number}')
    for number, (clip, frames) in enumerate(zip(clips, TEST_FRAMES, strict=True), start=1)
  ]
