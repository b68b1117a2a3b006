"""The frame cache: frames of the reader, faults of videos, damaged files."""

import functools
import json

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.arrays import ArrayWriter
from a3dcae_jax.data.builders import reader
from a3dcae_jax.data.frame_cache import FrameCache, videos_of
from a3dcae_jax.data.ingest import cache_folder
from a3dcae_jax.data.layouts import community
from a3dcae_jax.data.mean_image import mean_of_videos
from a3dcae_jax.data.video import read_grey, resize
from tests.data.dummy_sets import SIZE, damage, prepare_set, write_frames, write_mat, write_ucsd

prepare = functools.partial(prepare_set, 'ucsd_ped2', SIZE)


def frames_of(root, split):
  """Return all frames of a split, as the reader gives them."""
  videos = reader('ucsd_ped2').videos(str(root), split)
  return np.stack([frame for video in videos for frame in video.frames()])


def masks_of(root):
  videos = reader('ucsd_ped2').videos(str(root), 'test')
  return np.stack([mask for video in videos for mask in video.masks()])


@pytest.fixture
def root(tmp_path, rng):
  return write_ucsd(tmp_path / 'ped2', rng)


def test_the_cache_has_the_frames_of_the_reader(root, tmp_path):
  cache = prepare(root, tmp_path)
  for name, split in (('train', cache.train), ('test', cache.test)):
    videos = [(video.name, video.first, video.num_frames) for video in split.videos]
    assert videos == [('01', 0, 20), ('02', 20, 20)]
    np.testing.assert_array_equal(split.frames, frames_of(root, name))
    assert isinstance(split.frames, np.memmap)
  labels = np.zeros(40, np.uint8)
  for start, end in ((2, 7), (20, 24), (28, 32)):
    labels[start:end] = 1
  np.testing.assert_array_equal(cache.test.labels, labels)
  np.testing.assert_array_equal(cache.test.masks, masks_of(root))
  assert cache.index['label_set'] == 'official'
  cache.verify()


def test_the_mean_image_is_the_mean_of_all_frames(root, tmp_path):
  train = prepare(root, tmp_path).train
  mean = mean_of_videos(train.frames, train.videos)
  assert mean.dtype == np.float32
  np.testing.assert_allclose(mean, train.frames.mean(0) / 255, rtol=1e-6)
  second = mean_of_videos(train.frames, train.videos[1:])
  np.testing.assert_allclose(second, train.frames[20:].mean(0) / 255, rtol=1e-6)


def test_frames_belong_to_their_videos(root, tmp_path):
  indices = videos_of(prepare(root, tmp_path).test, np.asarray([39, 0, 19, 20]))
  assert indices.tolist() == [1, 0, 0, 1]
  assert indices.dtype == np.int32


def test_the_test_split_opens_without_the_training_frames(root, tmp_path):
  whole = prepare(root, tmp_path)
  (whole.folder / 'train.npy').unlink()
  cache = FrameCache.open(whole.folder, splits=('test',))
  cache.verify()
  cache.verify(splits=('test',))
  assert cache.train is None
  assert cache.data_hash == whole.data_hash
  np.testing.assert_array_equal(cache.test.frames, frames_of(root, 'test'))
  np.testing.assert_array_equal(cache.test.masks, masks_of(root))
  assert cache.test.labels.sum() == 13
  with pytest.raises(UserError, match='train.npy cannot be read'):
    FrameCache.open(whole.folder)


def test_a_finished_cache_needs_no_videos(root, tmp_path):
  first = prepare(root, tmp_path)
  for path in root.rglob('*.png'):
    path.unlink()
  assert prepare(root, tmp_path).data_hash == first.data_hash


def test_an_option_at_its_default_gives_the_same_cache():
  """With `train_fraction` 0.0 videos are not cut, as without the option."""

  def folder(options):
    size = {'height': 8, 'width': 8}
    return cache_folder(
      'caches', 'video_folder', root='x', label_set='user', options=options, **size
    )

  assert folder({'train_fraction': 0.0, 'labels': ''}) == folder({})
  assert folder({'train_fraction': 0.5}) != folder({})


def test_resizing_keeps_the_mean(rng):
  frame = rng.integers(0, 256, (24, 36), dtype=np.uint8)
  small = resize(frame, 12, 18)
  assert small.shape == (12, 18)
  assert abs(small.mean() - frame.mean()) < 1.5
  assert resize(frame, 24, 36) is frame


def test_community_labels(root, tmp_path):
  write_mat(root / 'ped2.mat', [[(5, 9)], [(1, 2), (11, 12)]])
  labels = prepare(root, tmp_path, label_set='community').test.labels
  assert np.flatnonzero(labels).tolist() == [4, 5, 6, 7, 8, 20, 21, 30, 31]


@pytest.mark.parametrize(
  'clips, message',
  [
    ([[(5, 9)]], 'video 02 .*: .*ped2.mat has the labels of 1 clips only'),
    ([[(5, 99)], [(1, 2)]], 'video 01 .*: .*ped2.mat: interval 4..99 .*20 frames'),
  ],
)
def test_community_labels_that_do_not_fit_name_their_file(root, tmp_path, clips, message):
  write_mat(root / 'ped2.mat', clips)
  with pytest.raises(UserError, match=message):
    prepare(root, tmp_path, label_set='community')


def break_image(root):
  (root / 'training/frames/01/003.png').write_text('not an image')


def remove_all_images(root):
  for path in (root / 'training/frames/02').iterdir():
    path.unlink()


def remove_two_images(root):
  for name in ('004.png', '005.png'):
    (root / 'testing/frames/01' / name).unlink()


def add_image_of_another_size(root):
  write_frames(root / 'other', [np.zeros((3, 4), np.uint8)])
  (root / 'other/000.png').rename(root / 'training/frames/01/020.png')


def remove_mask(root):
  (root / 'testing/masks/02/019.png').unlink()


def write_too_long_interval(root):
  lines = ['T{end+1}.gt_frame = [1:99];', 'T{end+1}.gt_frame = [1:2];', '']
  (root / 'UCSDped2.m').write_text('\n'.join(lines))


def write_foreign_script(root):
  (root / 'UCSDped2.m').write_text('nothing')


@pytest.mark.parametrize(
  'break_set, message',
  [
    (break_image, 'train video 01 .*003.png is not an image'),
    (remove_all_images, 'train video 02 .*an empty folder'),
    (remove_two_images, 'test video 01 .*missing frame numbers: 4, 5'),
    (add_image_of_another_size, 'train video 01 .*frame 20 is 4x3, .* 18x12'),
    (remove_mask, 'test video 02 .*20 frames, but 19 masks'),
    (write_too_long_interval, 'test video 01 .*0..99 .* 20 frames'),
    (write_foreign_script, 'no line of the form'),
  ],
)
def test_faults_are_named_and_leave_no_cache(root, tmp_path, break_set, message):
  break_set(root)
  with pytest.raises(UserError, match=message):
    prepare(root, tmp_path)
  # The parts of intact videos remain for the next attempt.
  left = list((tmp_path / 'caches').glob('*'))
  assert all(path.name.endswith('.parts') for path in left)


def test_the_next_attempt_reads_only_repaired_videos(root, tmp_path, monkeypatch):
  broken = root / 'training/frames/02/003.png'
  image = broken.read_bytes()
  broken.write_text('not an image')
  with pytest.raises(UserError, match='video 02'):
    prepare(root, tmp_path)
  broken.write_bytes(image)
  clips_read = []

  def counting_read(path):
    clips_read.append(path.parent.name)
    return read_grey(path)

  monkeypatch.setattr(community, 'read_grey', counting_read)
  cache = prepare(root, tmp_path)
  assert clips_read == ['02'] * 20
  np.testing.assert_array_equal(cache.train.frames, frames_of(root, 'train'))
  assert list((tmp_path / 'caches').iterdir()) == [cache.folder]


def test_all_faults_are_reported_at_once(root, tmp_path):
  break_image(root)
  (root / 'training/frames/02/003.png').unlink()
  with pytest.raises(UserError, match=r'(?s)2 faults.*video 01.*video 02'):
    prepare(root, tmp_path)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'root': ''}, 'data.root: it is empty;.*--download'),
    ({'root': '/none'}, 'data.root.*/none;.*--download'),
    ({'label_set': 'mine'}, "data.label_set 'mine'"),
  ],
)
def test_wrong_arguments_are_named(root, tmp_path, changes, message):
  with pytest.raises(UserError, match=message):
    prepare(**({'root': root, 'tmp_path': tmp_path} | changes))


def test_unknown_sets_and_layouts_are_named(tmp_path):
  with pytest.raises(UserError, match="'ucsd_pad2'; did you mean 'ucsd_ped2'"):
    reader('ucsd_pad2')
  with pytest.raises(UserError, match='unknown layout'):
    prepare(tmp_path, tmp_path / 'elsewhere')


def test_changed_arrays_are_found(root, tmp_path):
  folder = prepare(root, tmp_path).folder
  damage(folder / 'train.npy', lambda content: content[:-1] + bytes([content[-1] ^ 1]))
  with pytest.raises(UserError, match='SHA-256 of train.npy differs'):
    FrameCache.open(folder).verify()
  FrameCache.open(folder).verify(splits=('test',))
  damage(folder / 'train.npy', lambda content: content[:-5])
  with pytest.raises(UserError, match='train.npy cannot be read'):
    FrameCache.open(folder)


def change_index(folder, **changes):
  index = json.loads((folder / 'index.json').read_text())
  (folder / 'index.json').write_text(json.dumps(index | changes))


def test_changed_hashes_are_found(root, tmp_path):
  cache = prepare(root, tmp_path)
  change_index(cache.folder, files=cache.index['files'] | {'train.npy': '0' * 64})
  with pytest.raises(UserError, match='SHA-256 of index.json differs'):
    FrameCache.open(cache.folder, splits=('test',)).verify()


@pytest.mark.parametrize('number', [1, 99, None])
def test_other_formats_are_refused(root, tmp_path, number):
  folder = prepare(root, tmp_path).folder
  change_index(folder, format=number)
  with pytest.raises(UserError, match=f'format {number}.*remove the folder'):
    FrameCache.open(folder)


def test_a_missing_cache_is_an_error(tmp_path):
  with pytest.raises(UserError, match='does not exist'):
    FrameCache.open(tmp_path / 'none')


def test_arrays_are_written_in_numpys_format(tmp_path, rng):
  frames = rng.integers(0, 256, (3, 4, 5), dtype=np.uint8)
  with ArrayWriter(tmp_path / 'a.npy', (4, 5)) as writer:
    for frame in frames:
      writer.append(frame)
  np.testing.assert_array_equal(np.load(tmp_path / 'a.npy'), frames)
  with ArrayWriter(tmp_path / 'b.npy', (4, 5)) as writer:
    writer.extend_file(tmp_path / 'a.npy')
    writer.append(frames[0])
    writer.extend(frames)
  np.testing.assert_array_equal(np.load(tmp_path / 'b.npy'), [*frames, frames[0], *frames])
