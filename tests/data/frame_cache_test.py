"""From footage to the frame cache: the round trip, and every fault named with nothing left behind."""

import json

import numpy as np
import pytest
import scipy.io

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.arrays import ArrayWriter
from a3dcae_jax.data.builders import reader
from a3dcae_jax.data.frame_cache import FrameCache, videos_of
from a3dcae_jax.data.ingest import cache_folder, prepare_cache
from a3dcae_jax.data.layouts import community
from a3dcae_jax.data.mean_image import mean_of_videos
from a3dcae_jax.data.video import read_grey, resize
from tests.data.footage_helper import SIZE, write_frames, write_ucsd


def prepare(root, tmp_path, **changes):
  arguments = {
    'root': str(root),
    'cache_dir': str(tmp_path / 'caches'),
    'height': SIZE[0],
    'width': SIZE[1],
  } | changes
  return prepare_cache('ucsd_ped2', **arguments)


@pytest.fixture
def root(tmp_path, rng):
  return write_ucsd(tmp_path / 'ped2', rng)


def test_round_trip(root, tmp_path):
  cache = prepare(root, tmp_path)
  for split, stored in (('train', cache.train), ('test', cache.test)):
    videos = reader('ucsd_ped2').videos(str(root), split)
    assert [(v.name, v.first, v.num_frames) for v in stored.videos] == [
      ('01', 0, 20),
      ('02', 20, 20),
    ]
    np.testing.assert_array_equal(
      stored.frames, [frame for video in videos for frame in video.frames()]
    )
  expected = np.zeros(40, np.uint8)
  expected[2:7] = expected[20:24] = expected[28:32] = 1
  np.testing.assert_array_equal(cache.test.labels, expected)
  np.testing.assert_array_equal(
    cache.test.masks, [m for v in reader('ucsd_ped2').videos(str(root), 'test') for m in v.masks()]
  )
  mean = mean_of_videos(cache.train.frames, cache.train.videos)
  assert mean.dtype == np.float32
  np.testing.assert_allclose(mean, cache.train.frames.mean(0) / 255, rtol=1e-6)
  assert videos_of(cache.test, np.asarray([0, 19, 20, 39])).tolist() == [0, 0, 1, 1]
  assert isinstance(cache.train.frames, np.memmap) and cache.index['label_set'] == 'official'
  cache.verify()


def test_a_ready_cache_is_used_without_the_footage(root, tmp_path):
  first = prepare(root, tmp_path)
  for path in root.rglob('*.png'):
    path.unlink()
  assert prepare(root, tmp_path).data_hash == first.data_hash


def test_resizing_keeps_the_mean(rng):
  frame = rng.integers(0, 256, (24, 36), dtype=np.uint8)
  small = resize(frame, 12, 18)
  assert small.shape == (12, 18) and abs(small.mean() - frame.mean()) < 1.5
  assert resize(frame, 24, 36) is frame


def test_community_labels(root, tmp_path):
  cells = np.empty((1, 2), object)
  cells[0, 0], cells[0, 1] = np.asarray([[5], [9]]), np.asarray([[1, 11], [2, 12]])
  scipy.io.savemat(root / 'ped2.mat', {'gt': cells})
  labels = prepare(root, tmp_path, label_set='community').test.labels
  assert np.flatnonzero(labels).tolist() == [4, 5, 6, 7, 8, 20, 21, 30, 31]


FAULTS = {
  'train video 01 .*003.png is no image': lambda root: (
    root / 'training/frames/01/003.png'
  ).write_text('no image'),
  'train video 02 .*an empty folder': lambda root: [
    p.unlink() for p in (root / 'training/frames/02').iterdir()
  ],
  'test video 01 .*missing frame numbers: 4, 5': lambda root: [
    (root / f'testing/frames/01/00{n}.png').unlink() for n in (4, 5)
  ],
  'train video 01 .*frame 20 is 4x3, the ones before 18x12': lambda root: (
    write_frames(root / 'x', [np.zeros((3, 4), np.uint8)])
    or (root / 'x/000.png').rename(root / 'training/frames/01/020.png')
  ),
  'test video 02 .*20 frames, but 19 masks': lambda root: (
    root / 'testing/masks/02/019.png'
  ).unlink(),
  'interval 1:99 does not fit a clip of 20 frames': lambda root: (root / 'UCSDped2.m').write_text(
    'T{end+1}.gt_frame = [1:99];\nT{end+1}.gt_frame = [1:2];\n'
  ),
  'no line of the form': lambda root: (root / 'UCSDped2.m').write_text('nothing'),
}


@pytest.mark.parametrize('message', FAULTS)
def test_faults_are_named_and_leave_nothing(root, tmp_path, message):
  FAULTS[message](root)
  with pytest.raises(UserError, match=message):
    prepare(root, tmp_path)
  caches = tmp_path / 'caches'
  assert not caches.exists() or all(
    path.name.endswith('.parts') for path in caches.iterdir()
  )  # whole videos, for the next try


def test_the_next_try_does_the_rest_alone(root, tmp_path, monkeypatch):
  broken = root / 'training/frames/02/003.png'
  good = broken.read_bytes()
  broken.write_text('no image')
  with pytest.raises(UserError, match='video 02'):
    prepare(root, tmp_path)
  broken.write_bytes(good)
  read = []
  monkeypatch.setattr(
    community, 'read_grey', lambda path: read.append(path.parent.name) or read_grey(path)
  )
  cache = prepare(root, tmp_path)
  assert set(read) == {'02'} and len(read) == 20  # the mended clip, and no other
  np.testing.assert_array_equal(
    cache.train.frames,
    [f for v in reader('ucsd_ped2').videos(str(root), 'train') for f in v.frames()],
  )
  assert [path.name for path in (tmp_path / 'caches').iterdir()] == [cache.folder.name]


def test_all_faults_come_in_one_go(root, tmp_path):
  (root / 'training/frames/01/003.png').write_text('no image')
  (root / 'training/frames/02/003.png').unlink()
  with pytest.raises(UserError, match=r'(?s)2 faults .*video 01.*video 02'):
    prepare(root, tmp_path)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'root': ''}, 'data.root is empty'),
    ({'root': '/none'}, 'data.root /none: there is no such folder'),
    ({'label_set': 'mine'}, "data.label_set 'mine'"),
  ],
)
def test_wrong_arguments_are_named(root, tmp_path, changes, message):
  with pytest.raises(UserError, match=message):
    prepare(**{'root': root, 'tmp_path': tmp_path} | changes)


def test_unknown_set_and_layout_are_named(tmp_path):
  with pytest.raises(UserError, match="unknown data set 'ucsd_pad2'; did you mean 'ucsd_ped2'"):
    reader('ucsd_pad2')
  with pytest.raises(UserError, match='no known layout'):
    prepare(tmp_path, tmp_path / 'elsewhere')


def test_damaged_caches_are_refused(root, tmp_path):
  folder = prepare(root, tmp_path).folder
  array = bytearray((folder / 'train.npy').read_bytes())
  array[-1] ^= 1
  (folder / 'train.npy').write_bytes(array)
  with pytest.raises(UserError, match='SHA-256 of train.npy differs'):
    FrameCache.open(folder).verify()
  (folder / 'train.npy').write_bytes(array[:-5])
  with pytest.raises(UserError, match=r'train.npy cannot be read'):
    FrameCache.open(folder)
  index = json.loads((folder / 'index.json').read_text())
  (folder / 'index.json').write_text(json.dumps(index | {'format': 99}))
  with pytest.raises(UserError, match='format 99.*remove the folder'):
    FrameCache.open(folder)
  with pytest.raises(UserError, match='does not exist'):
    FrameCache.open(tmp_path / 'none')


def test_the_test_split_opens_without_the_training_frames(root, tmp_path):
  whole = prepare(root, tmp_path)
  frames = np.array(whole.test.frames)
  (whole.folder / 'train.npy').unlink()
  cache = FrameCache.open(whole.folder, splits=('test',))
  cache.verify()
  cache.verify(splits=('test',))
  assert cache.train is None
  assert cache.data_hash == whole.data_hash
  np.testing.assert_array_equal(cache.test.frames, frames)
  assert cache.test.labels.sum() == 13
  with pytest.raises(UserError, match='train.npy cannot be read'):
    FrameCache.open(whole.folder)


def test_changed_hashes_are_found(root, tmp_path):
  folder = prepare(root, tmp_path).folder
  index = json.loads((folder / 'index.json').read_text())
  index['files']['train.npy'] = '0' * 64
  (folder / 'index.json').write_text(json.dumps(index))
  with pytest.raises(UserError, match='SHA-256 of index.json differs'):
    FrameCache.open(folder, splits=('test',)).verify()


def test_an_option_with_its_default_is_the_same_cache(tmp_path):
  """0.0 for `train_fraction` means that videos are not cut, as without the option."""
  size = {'root': 'x', 'height': 8, 'width': 8, 'label_set': 'user'}
  none = cache_folder('caches', 'video_folder', options={}, **size)
  default = {'train_fraction': 0.0, 'labels': ''}
  assert cache_folder('caches', 'video_folder', options=default, **size) == none
  cut = cache_folder('caches', 'video_folder', options={'train_fraction': 0.5}, **size)
  assert cut != none


def test_array_writer_is_numpys_format(tmp_path, rng):
  frames = rng.integers(0, 256, (3, 4, 5), dtype=np.uint8)
  with ArrayWriter(tmp_path / 'a.npy', (4, 5)) as writer:
    for frame in frames:
      writer.append(frame)
  np.testing.assert_array_equal(np.load(tmp_path / 'a.npy'), frames)
  with ArrayWriter(tmp_path / 'b.npy', (4, 5)) as writer:
    writer.extend_file(tmp_path / 'a.npy')
    writer.append(frames[0])
  np.testing.assert_array_equal(np.load(tmp_path / 'b.npy'), [*frames, frames[0]])
