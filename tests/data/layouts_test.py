"""Every layout on dummy footage: the authors' archives, the community's copies, your own videos; and what each refuses."""

import json
import pathlib

import numpy as np
import pytest
import scipy.io

import a3dcae_jax.data.builders.avenue.reader  # noqa: F401
from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.builders import avenue, reader
from a3dcae_jax.data.ingest import prepare_cache
from a3dcae_jax.data.video import read_video, resize_mask
from a3dcae_jax.run.datasets import ingest_table
from tests.data.footage_helper import SHAPE, SIZE, write_frames, write_video, write_vol_label


def prepare(name, root, tmp_path, options=None, **changes):
  size = {'height': SHAPE[0], 'width': SHAPE[1]}
  return prepare_cache(
    name, root=str(root), cache_dir=str(tmp_path / 'caches'), options=options, **size | changes
  )


def noise(rng, frames=20):
  return rng.integers(0, 256, (frames, *SIZE), dtype=np.uint8)


def test_ucsd_as_its_authors_ship_it(tmp_path, rng):
  root = tmp_path / 'archive' / 'UCSDped2'
  for clip in ('001', '002'):
    write_frames(root / 'Train' / f'Train{clip}', noise(rng), '.tif')
    write_frames(root / 'Test' / f'Test{clip}', noise(rng), '.tif')
  masks = 255 * rng.integers(0, 2, (20, *SIZE), dtype=np.uint8)
  write_frames(root / 'Test' / 'Test002_gt', masks, '.bmp')
  for path in list((root / 'Test' / 'Test002_gt').iterdir()):
    path.rename(path.with_name(f'frame{path.name}'))  # the second of the two naming schemes
  (root / 'Test' / 'Test001' / '._000.tif').write_text('junk')
  (root / 'Train' / '.DS_Store').write_text('junk')
  (root / 'Test' / 'UCSDped2.m').write_text(
    'T{end+1}.gt_frame = [3:7];\nT{end+1}.gt_frame = [1:20];\n'
  )
  cache = prepare('ucsd_ped2', tmp_path / 'archive', tmp_path)
  assert cache.index['layout'].startswith('official') and [v.name for v in cache.test.videos] == [
    'Test001',
    'Test002',
  ]
  assert cache.test.labels.sum() == 25 and [v.has_masks for v in cache.test.videos] == [False, True]
  np.testing.assert_array_equal(
    cache.test.masks[20:], [resize_mask(mask, *SHAPE) for mask in masks]
  )
  assert not cache.test.masks[:20].any() and 'note: pixel masks for Test002 alone' in ingest_table(
    cache
  )
  clip = reader('ucsd_ped2').videos(str(root), 'test')[1]
  np.testing.assert_array_equal(list(clip.masks()), masks > 0)


@pytest.fixture
def avenue_root(tmp_path, rng):
  root = tmp_path / 'avenue'
  write_video(root / 'training_videos' / '01.avi', rng)
  write_video(root / 'testing_videos' / '08.avi', rng, frames=36)
  write_vol_label(
    root / 'ground_truth_demo' / 'testing_label_mask' / '8_label.mat',
    (np.arange(36) >= 10) & (np.arange(36) < 15),
  )
  return root


def test_avenue_as_its_authors_ship_it(avenue_root, tmp_path):
  cache = prepare('avenue', avenue_root, tmp_path)
  assert cache.index['label_set'] == 'vollabel' and np.flatnonzero(cache.test.labels).tolist() == [
    10,
    11,
    12,
    13,
    14,
  ]
  np.testing.assert_array_equal(cache.test.masks.any((1, 2)), cache.test.labels)
  assert cache.index['notes'] == [
    'test: 1 of the 21 clips published are here; missing are 1-7, 9-21'
  ] and '36' in ingest_table(cache)


def test_avenue_with_hasans_labels(avenue_root, tmp_path):
  lengths = avenue.reader.TEST_FRAMES
  assert sum(lengths) == 15_324
  rows = np.zeros(15_324, np.uint8)
  start = sum(lengths[:7])
  rows[start : start + 3] = 1
  np.save(tmp_path / 'hasan.npy', rows)
  cache = prepare(
    'avenue',
    avenue_root,
    tmp_path,
    {'hasan_labels': str(tmp_path / 'hasan.npy')},
    label_set='hasan',
  )
  assert np.flatnonzero(cache.test.labels).tolist() == [0, 1, 2]
  assert 'note: test clip 08: label set vollabel differs from hasan on 8 frames' in ingest_table(
    cache
  )
  np.save(tmp_path / 'short.npy', rows[:-1])
  with pytest.raises(UserError, match='15323 labels, the 21 test videos have 15324'):
    prepare('avenue', avenue_root, tmp_path, {'hasan_labels': str(tmp_path / 'short.npy')})


def test_label_count_and_published_count_are_compared(avenue_root, tmp_path, rng):
  write_video(avenue_root / 'testing_videos' / '08.avi', rng, frames=30)
  with pytest.raises(UserError, match=r'test video 08 .*30 frames, but 36 masks'):
    prepare('avenue', avenue_root, tmp_path)
  (avenue_root / 'ground_truth_demo' / 'testing_label_mask' / '8_label.mat').unlink()
  assert 'note: test clip 08 has 30 frames, as published 36' in ingest_table(
    prepare('avenue', avenue_root, tmp_path)
  )


def test_labels_of_another_length_are_named(tmp_path, rng):
  root = tmp_path / 'shanghaitech'
  write_video(root / 'testing' / 'videos' / '02_0014.mp4', rng)
  (root / 'testing' / 'test_frame_mask').mkdir()
  np.save(root / 'testing' / 'test_frame_mask' / '02_0014.npy', np.zeros(19, np.uint8))
  with pytest.raises(
    UserError, match=r'test video 02_0014 .*20 frames, but 19 labels \(official\)'
  ):
    prepare('shanghaitech', root, tmp_path)


@pytest.mark.parametrize('kind', ['frames', 'videos'])
def test_shanghaitech(tmp_path, rng, kind):
  root = tmp_path / 'shanghaitech'
  write_video(root / 'training' / 'videos' / '01_001.avi', rng)
  if kind == 'frames':
    write_frames(
      root / 'testing' / 'frames' / '02_0014',
      rng.integers(0, 256, (20, *SHAPE), dtype=np.uint8),
      '.jpg',
    )
  else:
    write_video(root / 'testing' / 'videos' / '02_0014.mp4', rng)
  labels = rng.integers(0, 2, 20)
  masks = labels[:, None, None] * np.ones((1, *SHAPE), np.uint8)
  for folder, array in (('test_frame_mask', labels), ('test_pixel_mask', masks)):
    (root / 'testing' / folder).mkdir()
    np.save(root / 'testing' / folder / '02_0014.npy', array)
  cache = prepare('shanghaitech', root, tmp_path)
  assert cache.train.videos[0].scene == '01' and cache.test.videos[0].scene == '02'
  np.testing.assert_array_equal(cache.test.labels, labels)
  np.testing.assert_array_equal(cache.test.masks, masks)


def test_subway_with_each_kind_of_ground_truth(tmp_path, rng):
  write_video(tmp_path / 'subway' / 'exit.avi', rng, frames=40)
  (tmp_path / 'a.csv').write_text('video,start,end\nexit,22,25\nexit,2,4\n')
  (tmp_path / 'b.json').write_text(json.dumps({'exit': [[22, 25], [2, 4]]}))
  (tmp_path / 'c.txt').write_text(''.join(f'0,{frame},1,2,3,4\n' for frame in (2, 3, 22, 23, 24)))
  for labels in ('a.csv', 'b.json', 'c.txt'):
    cache = prepare(
      'subway_exit',
      tmp_path / 'subway',
      tmp_path,
      {'train_frames': 18, 'test_start': 20, 'labels': str(tmp_path / labels)},
    )
    assert (len(cache.train.frames), len(cache.test.frames)) == (18, 20) and np.flatnonzero(
      cache.test.labels
    ).tolist() == [2, 3, 4]
  assert [region.frame for region in cache.test.tracks['exit']] == [2, 3, 4]
  (tmp_path / 'd.csv').write_text('video,start,end\nexit,22,99\n')
  with pytest.raises(UserError, match=r'22..99 reaches beyond the 40 frames'):
    prepare(
      'subway_exit',
      tmp_path / 'subway',
      tmp_path,
      {'train_frames': 18, 'test_start': 20, 'labels': str(tmp_path / 'd.csv')},
    )
  marked = np.zeros(40, np.uint8)
  marked[[2, 3, 22, 23, 24]] = 1
  np.save(tmp_path / 'e.npy', marked)
  np.save(tmp_path / 'f.npy', marked[None, 20:])  # the test part alone
  cells = np.empty((1, 1), object)
  cells[0, 0] = np.asarray([[3, 23], [4, 25]])
  scipy.io.savemat(tmp_path / 'g.mat', {'gt': cells})
  for labels in ('e.npy', 'f.npy', 'g.mat'):
    cache = prepare(
      'subway_exit',
      tmp_path / 'subway',
      tmp_path,
      {'train_frames': 18, 'test_start': 20, 'labels': str(tmp_path / labels)},
    )
    assert np.flatnonzero(cache.test.labels).tolist() == [2, 3, 4]
  np.save(tmp_path / 'h.npy', marked[:-1])
  with pytest.raises(UserError, match='h.npy: 39 labels, the 1 test videos have 40 frames'):
    prepare(
      'subway_exit',
      tmp_path / 'subway',
      tmp_path,
      {'train_frames': 18, 'test_start': 20, 'labels': str(tmp_path / 'h.npy')},
    )
  write_video(tmp_path / 'subway' / 'second.avi', rng)
  with pytest.raises(UserError, match='one video is wanted .* found 2'):
    prepare('subway_exit', tmp_path / 'subway', tmp_path, {'train_frames': 18, 'test_start': 20})


def test_your_own_footage(tmp_path, rng):
  root = tmp_path / 'mine'
  write_video(root / 'training' / 'monday.avi', rng)
  write_frames(root / 'training' / 'tuesday', rng.integers(0, 256, (5, *SHAPE), dtype=np.uint8))
  cache = prepare('video_folder', root, tmp_path)
  assert [(v.name, v.num_frames) for v in cache.train.videos] == [
    ('monday', 20),
    ('tuesday', 5),
  ] and not cache.test.videos
  write_video(root / 'testing' / 'wednesday.mp4', rng)
  (root / 'labels.csv').write_text('video,start,end\nwednesday,3,5\n')
  cache = prepare('video_folder', root, tmp_path, {'labels': str(root / 'labels.csv')})
  assert np.flatnonzero(cache.test.labels).tolist() == [3, 4]


def test_one_video_cut_in_two(tmp_path, rng):
  path = write_video(tmp_path / 'camera.avi', rng)
  cache = prepare('video_folder', path, tmp_path, {'train_fraction': 0.7})
  frames = np.stack(list(read_video(path)))
  np.testing.assert_array_equal(cache.train.frames, frames[:14])
  np.testing.assert_array_equal(cache.test.frames, frames[14:])
  assert cache.test.labels is None
  with pytest.raises(UserError, match='train_fraction'):
    prepare('video_folder', path, tmp_path)


@pytest.mark.parametrize('kind', ['a.mat', 'a.npy', 'a.csv'])
def test_subway_as_the_community_keeps_it(tmp_path, rng, kind):
  root = tmp_path / 'exit'
  for split, names in (('training', ('01',)), ('testing', ('01', '02'))):
    for name in names:
      write_frames(root / split / 'frames' / name, noise(rng, 8))
  cells = np.empty((1, 2), object)
  cells[0, 0], cells[0, 1] = np.asarray([[2], [3]]), np.asarray([[8], [8]])
  scipy.io.savemat(tmp_path / 'a.mat', {'gt': cells})
  np.save(tmp_path / 'a.npy', np.isin(np.arange(16), (1, 2, 15))[None])
  (tmp_path / 'a.csv').write_text('video,start,end\n01,1,3\n02,7,8\n')
  cache = prepare('subway_exit', root, tmp_path, {'labels': str(tmp_path / kind)})
  assert cache.index['layout'].startswith('community') and np.flatnonzero(
    cache.test.labels
  ).tolist() == [1, 2, 15]


def test_avenue_as_the_community_keeps_it(tmp_path, rng):
  lengths = reader('avenue').TEST_FRAMES
  write_frames(tmp_path / 'avenue' / 'training' / 'frames' / '01', noise(rng, 4))
  write_frames(tmp_path / 'avenue' / 'testing' / 'frames' / '08', noise(rng, 36))
  cells = np.empty((1, 21), object)
  for index in range(21):
    cells[0, index] = np.asarray([[2], [min(11, lengths[index])]])
  scipy.io.savemat(tmp_path / 'avenue' / 'avenue.mat', {'gt': cells})
  cache = prepare('avenue', tmp_path / 'avenue', tmp_path)
  assert cache.index['label_set'] == 'hasan' and np.flatnonzero(cache.test.labels).tolist() == list(
    range(1, 11)
  )
  assert cache.index['layout'].startswith('community')


@pytest.mark.parametrize(
  'text, message',
  [
    ('video,from,to\n', 'the first line must name video,start,end'),
    ('video,start,end\na,5,2\n', '5..2 is empty'),
    ('video,start,end\na,x,2\n', 'must be whole numbers'),
  ],
)
def test_bad_intervals_are_named(tmp_path, rng, text, message):
  write_video(tmp_path / 'mine' / 'training' / 'a.avi', rng)
  write_video(tmp_path / 'mine' / 'testing' / 'a.avi', rng)
  (tmp_path / 'mine' / 'labels.csv').write_text(text)
  with pytest.raises(UserError, match=message):
    prepare('video_folder', tmp_path / 'mine', tmp_path)


def test_broken_videos_are_named(tmp_path, rng):
  root = tmp_path / 'mine' / 'training'
  whole = write_video(root / 'a.avi', rng, frames=60)
  write_video(root / 'b.mp4', rng)
  (root / 'copy.avi').write_bytes(whole.read_bytes())
  whole_bytes = write_video(root / 'cut.avi', rng, frames=60, shade=90).read_bytes()
  (root / 'cut.avi').write_bytes(whole_bytes[: len(whole_bytes) // 2])
  (root / 'b.mp4').write_bytes((root / 'b.mp4').read_bytes()[:200])
  with pytest.raises(
    UserError,
    match=r'(?s)3 faults .*b.mp4\): stops decoding at frame 0.*same frames as train video a.*cut.avi\): is cut off',
  ) as error:
    prepare('video_folder', tmp_path / 'mine', tmp_path)
  assert len(str(error.value).splitlines()) == 4
  for name in ('b.mp4', 'copy.avi', 'cut.avi'):
    (root / name).unlink()
  assert len(prepare('video_folder', tmp_path / 'mine', tmp_path).train.frames) == 60


def test_damage_in_the_middle_is_named(tmp_path, rng):
  path = write_video(tmp_path / 'mine' / 'training' / 'a.avi', rng, frames=60)
  whole = bytearray(path.read_bytes())
  middle = len(whole) // 2
  whole[middle : middle + 4000] = bytes(4000)
  path.write_bytes(whole)
  with pytest.raises(UserError, match=r'train video a \(.*a.avi\): is damaged at frame \d+'):
    prepare('video_folder', tmp_path / 'mine', tmp_path)


def test_intervals_of_no_video_and_beyond_the_end_are_named(tmp_path, rng):
  write_video(tmp_path / 'mine' / 'training' / 'a.avi', rng)
  write_video(tmp_path / 'mine' / 'testing' / 'b.avi', rng)
  (tmp_path / 'mine' / 'labels.csv').write_text('video,start,end\nbb,1,2\n')
  with pytest.raises(UserError, match='intervals of bb, which is no test video; there are b'):
    prepare('video_folder', tmp_path / 'mine', tmp_path)
  (tmp_path / 'mine' / 'labels.csv').write_text('video,start,end\nb,1,99\n')
  with pytest.raises(UserError, match=r'test video b .*1..99 reaches beyond the 20 frames'):
    prepare('video_folder', tmp_path / 'mine', tmp_path)


def test_faults_of_labels_and_of_frames_come_together(avenue_root, tmp_path, rng):
  write_video(avenue_root / 'testing_videos' / '09.avi', rng, frames=30)
  masks = avenue_root / 'ground_truth_demo' / 'testing_label_mask'
  (masks / '9_label.mat').write_text('no masks')
  write_video(avenue_root / 'testing_videos' / '10.avi', rng, frames=25)
  (avenue_root / 'training_videos' / '01.avi').write_text('no video')
  with pytest.raises(
    UserError,
    match=r'(?s)3 faults .*train video 01 .*stops decoding at frame 0.*test video 09 .*9_label.mat holds no masks'
    r'.*test video 10 .*no labels \(vollabel\), which other test videos have',
  ):
    prepare('avenue', avenue_root, tmp_path)


def test_a_label_set_that_is_not_there_is_said(avenue_root, tmp_path):
  with pytest.raises(UserError, match="data.label_set 'hasan': there are no such labels in"):
    prepare('avenue', avenue_root, tmp_path, label_set='hasan')


@pytest.mark.parametrize('name', ['avenue', 'shanghaitech', 'subway_entrance', 'video_folder'])
def test_an_empty_folder_says_what_was_looked_for(tmp_path, name):
  (tmp_path / 'empty').mkdir()
  with pytest.raises(UserError, match='looked for|one video is wanted|no training/ folder'):
    prepare(name, tmp_path / 'empty', tmp_path)


def test_every_builder_folder_is_complete():
  folders = [
    path
    for path in (pathlib.Path(avenue.__file__).parents[1]).iterdir()
    if (path / 'reader.py').exists()
  ]
  assert len(folders) == 8
  for folder in folders:
    for name in (
      'README.md',
      'CITATIONS.bib',
      'checksums.tsv',
      'TAGS.txt',
      f'{folder.name}_dataset_builder.py',
    ):
      assert (folder / name).exists(), folder / name
