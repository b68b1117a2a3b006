"""Every layout, on small imitations of the sets, and the reported faults."""

import json
import pathlib

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data import builders
from a3dcae_jax.data.builders import reader
from a3dcae_jax.data.ingest import prepare_cache
from a3dcae_jax.data.video import resize_mask
from a3dcae_jax.data.video_file import read_video
from tests.data.dummy_sets import (
  SIZE,
  VIDEO_SIZE,
  damage,
  noise,
  write_frames,
  write_mat,
  write_video,
  write_vol_label,
)


def prepare(name, root, tmp_path, options=None, **changes):
  return prepare_cache(
    name,
    root=str(root),
    cache_dir=str(tmp_path / 'caches'),
    height=VIDEO_SIZE[0],
    width=VIDEO_SIZE[1],
    options=options,
    **changes,
  )


def abnormal_frames(cache):
  return np.flatnonzero(cache.test.labels).tolist()


def names_of(split):
  return [video.name for video in split.videos]


def test_ucsd_in_the_official_layout(tmp_path, rng):
  root = tmp_path / 'archive' / 'UCSDped2'
  for clip in ('001', '002'):
    write_frames(root / 'Train' / f'Train{clip}', noise(rng), '.tif')
    write_frames(root / 'Test' / f'Test{clip}', noise(rng), '.tif')
  masks = 255 * rng.integers(0, 2, (20, *SIZE), dtype=np.uint8)
  write_frames(root / 'Test' / 'Test002_gt', masks, '.bmp')
  for path in list((root / 'Test' / 'Test002_gt').iterdir()):
    path.rename(path.with_name(f'frame{path.name}'))  # the second of two naming schemes
  (root / 'Test' / 'Test001' / '._000.tif').write_text('junk')
  (root / 'Train' / '.DS_Store').write_text('junk')
  lines = ['T{end+1}.gt_frame = [3:7];', 'T{end+1}.gt_frame = [1:20];', '']
  (root / 'Test' / 'UCSDped2.m').write_text('\n'.join(lines))
  cache = prepare('ucsd_ped2', tmp_path / 'archive', tmp_path)
  assert cache.index['layout'].startswith('official')
  assert names_of(cache.test) == ['Test001', 'Test002']
  assert cache.test.labels.sum() == 25
  assert [video.has_masks for video in cache.test.videos] == [False, True]
  resized = [resize_mask(mask, *VIDEO_SIZE) for mask in masks]
  np.testing.assert_array_equal(cache.test.masks[20:], resized)
  assert not cache.test.masks[:20].any()
  assert 'pixel masks only for Test002' in cache.index['notes']
  clip = reader('ucsd_ped2').videos(str(root), 'test')[1]
  np.testing.assert_array_equal(list(clip.masks()), masks > 0)


@pytest.fixture
def avenue_root(tmp_path, rng):
  """Avenue with a training video and test video 08, abnormal in frames 10 to 14."""
  root = tmp_path / 'avenue'
  write_video(root / 'training_videos' / '01.avi', rng)
  write_video(root / 'testing_videos' / '08.avi', rng, frames=36)
  write_vol_label(label_file(root, 8), np.isin(np.arange(36), range(10, 15)))
  return root


def label_file(root, number):
  return root / 'ground_truth_demo' / 'testing_label_mask' / f'{number}_label.mat'


def test_avenue_in_the_official_layout(avenue_root, tmp_path):
  cache = prepare('avenue', avenue_root, tmp_path)
  assert cache.index['label_set'] == 'vollabel'
  assert abnormal_frames(cache) == [10, 11, 12, 13, 14]
  np.testing.assert_array_equal(cache.test.masks.any((1, 2)), cache.test.labels)
  (note,) = cache.index['notes']
  assert 'test: 1 of the 21' in note
  assert 'missing are 1-7, 9-21' in note


def test_the_table_of_prepare_shows_clips_and_notes(avenue_root, tmp_path):
  from a3dcae_jax.run.datasets import ingest_table

  cache = prepare('avenue', avenue_root, tmp_path)
  rows = [line.split() for line in ingest_table(cache).splitlines()]
  assert ['train', '01', '20', '48x32', '-', '-'] in rows
  assert ['test', '08', '36', '48x32', '5', '1'] in rows
  assert ['note:', *cache.index['notes'][0].split()] in rows


def test_avenue_with_hasans_labels(avenue_root, tmp_path):
  lengths = reader('avenue').TEST_FRAMES
  assert sum(lengths) == 15_324
  rows = np.zeros(15_324, np.uint8)
  start = sum(lengths[:7])
  rows[start : start + 3] = 1
  np.save(tmp_path / 'hasan.npy', rows)
  options = {'hasan_labels': str(tmp_path / 'hasan.npy')}
  cache = prepare('avenue', avenue_root, tmp_path, options, label_set='hasan')
  assert abnormal_frames(cache) == [0, 1, 2]
  note = 'test clip 08: label set vollabel differs from hasan on 8 frames'
  assert note in cache.index['notes']
  np.save(tmp_path / 'short.npy', rows[:-1])
  with pytest.raises(UserError, match='short.npy: 15323 labels.* 15324 frames'):
    prepare('avenue', avenue_root, tmp_path, {'hasan_labels': str(tmp_path / 'short.npy')})
  with pytest.raises(UserError, match='hasan_labels: there is no file none.npy'):
    prepare('avenue', avenue_root, tmp_path, {'hasan_labels': 'none.npy'})


def test_frames_are_compared_with_masks_and_published_counts(avenue_root, tmp_path, rng):
  write_video(avenue_root / 'testing_videos' / '08.avi', rng, frames=30)
  with pytest.raises(UserError, match='test video 08 .*30 frames, but 36 masks'):
    prepare('avenue', avenue_root, tmp_path)
  label_file(avenue_root, 8).unlink()
  cache = prepare('avenue', avenue_root, tmp_path)
  assert 'test clip 08 has 30 frames, as published 36' in cache.index['notes']


def write_shanghaitech_labels(root, labels):
  """Write frame labels and pixel masks of test video 02_0014."""
  masks = labels[:, None, None] * np.ones((1, *VIDEO_SIZE), np.uint8)
  for folder, array in (('test_frame_mask', labels), ('test_pixel_mask', masks)):
    (root / 'testing' / folder).mkdir()
    np.save(root / 'testing' / folder / '02_0014.npy', array)
  return masks


def test_labels_of_another_length_are_named(tmp_path, rng):
  root = tmp_path / 'shanghaitech'
  write_video(root / 'testing' / 'videos' / '02_0014.mp4', rng)
  (root / 'testing' / 'test_frame_mask').mkdir()
  np.save(root / 'testing' / 'test_frame_mask' / '02_0014.npy', np.zeros(19, np.uint8))
  with pytest.raises(UserError, match=r'02_0014 .*20 frames, but 19 labels \(official\)'):
    prepare('shanghaitech', root, tmp_path)


@pytest.mark.parametrize('kind', ['frames', 'videos'])
def test_shanghaitech(tmp_path, rng, kind):
  root = tmp_path / 'shanghaitech'
  write_video(root / 'training' / 'videos' / '01_001.avi', rng)
  if kind == 'frames':
    write_frames(root / 'testing' / 'frames' / '02_0014', noise(rng, size=VIDEO_SIZE), '.jpg')
  else:
    write_video(root / 'testing' / 'videos' / '02_0014.mp4', rng)
  labels = rng.integers(0, 2, 20)
  masks = write_shanghaitech_labels(root, labels)
  cache = prepare('shanghaitech', root, tmp_path)
  assert cache.train.videos[0].scene == '01'
  assert cache.test.videos[0].scene == '02'
  np.testing.assert_array_equal(cache.test.labels, labels)
  np.testing.assert_array_equal(cache.test.masks, masks)


@pytest.fixture
def subway_root(tmp_path, rng):
  write_video(tmp_path / 'subway' / 'exit.avi', rng, frames=40)
  return tmp_path / 'subway'


def write_truth(path, abnormal, num_frames=40):
  """Write ground truth of the subway video in the format of the file's suffix."""
  marked = np.isin(np.arange(num_frames), abnormal).astype(np.uint8)
  runs = np.flatnonzero(np.diff(np.r_[0, marked, 0])).reshape(-1, 2).tolist()
  match path.name:
    case 'a.csv':
      rows = [f'exit,{start},{end}' for start, end in runs]
      path.write_text('\n'.join(['video,start,end', *rows, '']))
    case 'b.json':
      path.write_text(json.dumps({'exit': runs}))
    case 'c.txt':
      path.write_text(''.join(f'0,{frame},1,2,3,4\n' for frame in abnormal))
    case 'whole.npy':
      np.save(path, marked)
    case 'test.npy':
      np.save(path, marked[None, 20:])
    case 'd.mat':
      write_mat(path, [[(start + 1, end) for start, end in runs]])


def prepare_subway(root, tmp_path, labels=''):
  options = {'train_frames': 18, 'test_start': 20, 'labels': str(labels)}
  return prepare('subway_exit', root, tmp_path, options)


@pytest.mark.parametrize('file', ['a.csv', 'b.json', 'c.txt', 'whole.npy', 'test.npy', 'd.mat'])
def test_subway_with_each_format_of_ground_truth(subway_root, tmp_path, file):
  write_truth(tmp_path / file, [2, 3, 22, 23, 24])
  cache = prepare_subway(subway_root, tmp_path, tmp_path / file)
  assert len(cache.train.frames) == 18
  assert len(cache.test.frames) == 20
  assert abnormal_frames(cache) == [2, 3, 4]
  if file == 'c.txt':
    assert [region.frame for region in cache.test.tracks['exit']] == [2, 3, 4]


def test_subway_ground_truth_that_does_not_fit_is_named(subway_root, tmp_path):
  (tmp_path / 'long.csv').write_text('video,start,end\nexit,22,99\n')
  with pytest.raises(UserError, match='long.csv: interval 22..99 .* 40 frames'):
    prepare_subway(subway_root, tmp_path, tmp_path / 'long.csv')
  np.save(tmp_path / 'short.npy', np.zeros(39, np.uint8))
  with pytest.raises(UserError, match='short.npy: 39 labels.* 40 frames'):
    prepare_subway(subway_root, tmp_path, tmp_path / 'short.npy')
  (tmp_path / 'none.npy').write_text('not an array')
  with pytest.raises(UserError, match='none.npy is not a .npy file'):
    prepare_subway(subway_root, tmp_path, tmp_path / 'none.npy')
  (tmp_path / 'pair.json').write_text(json.dumps({'exit': [[1, 2, 3]]}))
  with pytest.raises(UserError, match='pair.json: not a list'):
    prepare_subway(subway_root, tmp_path, tmp_path / 'pair.json')


def test_subway_has_one_video(subway_root, tmp_path, rng):
  write_video(subway_root / 'second.avi', rng)
  with pytest.raises(UserError, match='one video .* found 2'):
    prepare_subway(subway_root, tmp_path)


def test_videos_of_the_user(tmp_path, rng):
  root = tmp_path / 'mine'
  write_video(root / 'training' / 'monday.avi', rng)
  write_frames(root / 'training' / 'tuesday', noise(rng, 5, VIDEO_SIZE))
  cache = prepare('video_folder', root, tmp_path)
  videos = [(video.name, video.num_frames) for video in cache.train.videos]
  assert videos == [('monday', 20), ('tuesday', 5)]
  assert not cache.test.videos
  write_video(root / 'testing' / 'wednesday.mp4', rng)
  (root / 'labels.csv').write_text('video,start,end\nwednesday,3,5\n')
  cache = prepare('video_folder', root, tmp_path, {'labels': str(root / 'labels.csv')})
  assert abnormal_frames(cache) == [3, 4]


def test_one_video_cut_in_two(tmp_path, rng):
  path = write_video(tmp_path / 'camera.avi', rng)
  cache = prepare('video_folder', path, tmp_path, {'train_fraction': 0.7})
  frames = np.stack(list(read_video(path)))
  np.testing.assert_array_equal(cache.train.frames, frames[:14])
  np.testing.assert_array_equal(cache.test.frames, frames[14:])
  assert cache.test.labels is None


def test_labels_of_a_video_cut_in_two_refer_to_the_whole_video(tmp_path, rng):
  path = write_video(tmp_path / 'camera.avi', rng)
  (tmp_path / 'labels.csv').write_text('video,start,end\ncamera,13,16\n')
  options = {'train_fraction': 0.7, 'labels': str(tmp_path / 'labels.csv')}
  assert abnormal_frames(prepare('video_folder', path, tmp_path, options)) == [0, 1]


@pytest.mark.parametrize('options', [None, {'train_fraction': 0.0, 'labels': ''}])
def test_a_video_is_not_cut_without_a_fraction(tmp_path, rng, options):
  path = write_video(tmp_path / 'camera.avi', rng)
  with pytest.raises(UserError, match='data.options.train_fraction'):
    prepare('video_folder', path, tmp_path, options)


@pytest.mark.parametrize('kind', ['a.mat', 'a.npy', 'a.csv'])
def test_subway_in_the_community_layout(tmp_path, rng, kind):
  root = tmp_path / 'exit'
  for split, names in (('training', ('01',)), ('testing', ('01', '02'))):
    for name in names:
      write_frames(root / split / 'frames' / name, noise(rng, 8))
  write_mat(tmp_path / 'a.mat', [[(2, 3)], [(8, 8)]])
  np.save(tmp_path / 'a.npy', np.isin(np.arange(16), (1, 2, 15))[None])
  (tmp_path / 'a.csv').write_text('video,start,end\n01,1,3\n02,7,8\n')
  cache = prepare('subway_exit', root, tmp_path, {'labels': str(tmp_path / kind)})
  assert cache.index['layout'].startswith('community')
  assert abnormal_frames(cache) == [1, 2, 15]


def test_avenue_in_the_community_layout(tmp_path, rng):
  root = tmp_path / 'avenue'
  write_frames(root / 'training' / 'frames' / '01', noise(rng, 4))
  write_frames(root / 'testing' / 'frames' / '08', noise(rng, 36))
  lengths = reader('avenue').TEST_FRAMES
  write_mat(root / 'avenue.mat', [[(2, min(11, length))] for length in lengths])
  cache = prepare('avenue', root, tmp_path)
  assert cache.index['layout'].startswith('community')
  assert cache.index['label_set'] == 'hasan'
  assert abnormal_frames(cache) == list(range(1, 11))


@pytest.fixture
def own_root(tmp_path, rng):
  """Videos of the user: training/a.avi and testing/b.avi."""
  write_video(tmp_path / 'mine' / 'training' / 'a.avi', rng)
  write_video(tmp_path / 'mine' / 'testing' / 'b.avi', rng)
  return tmp_path / 'mine'


@pytest.mark.parametrize(
  'text, message',
  [
    ('video,from,to\n', 'must name video,start,end'),
    ('video,start,end\nb,5,2\n', '5..2 is empty'),
    ('video,start,end\nb,x,2\n', 'must be whole numbers'),
    ('video,start,end\nbb,1,2\n', 'intervals of bb.* there are b'),
    ('video,start,end\nb,1,99\n', 'test video b .*1..99 .* 20 frames'),
  ],
)
def test_bad_intervals_are_named(own_root, tmp_path, text, message):
  (own_root / 'labels.csv').write_text(text)
  with pytest.raises(UserError, match=message):
    prepare('video_folder', own_root, tmp_path)


@pytest.mark.parametrize('with_file', [False, True])
def test_pixel_masks_of_the_users_videos(own_root, tmp_path, rng, with_file):
  masks = np.zeros((20, *VIDEO_SIZE), np.uint8)
  masks[5:8, 10:20, 10:30] = 255
  write_frames(own_root / 'testing' / 'masks' / 'b', masks)
  if with_file:
    (own_root / 'labels.csv').write_text('video,start,end\nb,4,9\n')
  cache = prepare('video_folder', own_root, tmp_path)
  assert names_of(cache.test) == ['b']
  assert abnormal_frames(cache) == (list(range(4, 9)) if with_file else [5, 6, 7])
  np.testing.assert_array_equal(cache.test.masks, masks > 0)


def test_masks_of_the_background_have_a_note(own_root, tmp_path):
  masks = np.full((20, *VIDEO_SIZE), 255, np.uint8)
  masks[5:8, 10:20, 10:30] = 0
  write_frames(own_root / 'testing' / 'masks' / 'b', masks)
  notes = prepare('video_folder', own_root, tmp_path).index['notes']
  assert 'masks that mark nearly all pixels; unmarked ones must be black: b' in notes


def test_masks_that_change_after_a_failed_ingest_are_read_anew(own_root, tmp_path):
  masks = np.zeros((20, *VIDEO_SIZE), np.uint8)
  write_frames(own_root / 'testing' / 'masks' / 'b', masks)
  (own_root / 'training' / 'broken.avi').write_text('no video')
  with pytest.raises(UserError, match='broken.avi'):
    prepare('video_folder', own_root, tmp_path)
  (own_root / 'training' / 'broken.avi').unlink()
  masks[4] = 255
  write_frames(own_root / 'testing' / 'masks' / 'b', masks)
  cache = prepare('video_folder', own_root, tmp_path)
  np.testing.assert_array_equal(cache.test.masks, masks > 0)
  assert abnormal_frames(cache) == [4]


def test_masks_of_another_size_are_stretched_with_a_note(own_root, tmp_path):
  masks = np.zeros((20, 16, 16), np.uint8)
  masks[3, :8] = 255
  write_frames(own_root / 'testing' / 'masks' / 'b', masks)
  cache = prepare('video_folder', own_root, tmp_path)
  assert cache.test.masks[3].sum() == cache.test.masks.sum() == 16 * 48
  text = 'masks of another size than the frames, to which they are stretched: b (16x16)'
  assert text in cache.index['notes']


def test_a_test_video_may_be_called_masks(own_root, tmp_path, rng):
  write_frames(own_root / 'testing' / 'masks', noise(rng, 5, VIDEO_SIZE))
  cache = prepare('video_folder', own_root, tmp_path)
  assert names_of(cache.test) == ['b', 'masks']
  assert cache.test.masks is None


def test_masks_that_belong_to_no_video_or_are_too_few_are_named(own_root, tmp_path):
  masks = np.zeros((19, *VIDEO_SIZE), np.uint8)
  write_frames(own_root / 'testing' / 'masks' / 'b', masks)
  with pytest.raises(UserError, match='test video b .*20 frames, but 19 masks'):
    prepare('video_folder', own_root, tmp_path)
  write_frames(own_root / 'testing' / 'masks' / 'c', masks)
  with pytest.raises(UserError, match='masks of c, which is not a test video; there are b'):
    prepare('video_folder', own_root, tmp_path)


def test_labelled_videos_are_decoded_once(own_root, subway_root, tmp_path, monkeypatch):
  decoded = []

  def counted(path):
    decoded.append(path.name)
    return read_video(path)

  monkeypatch.setattr('a3dcae_jax.data.layouts.media.read_video', counted)
  (own_root / 'labels.csv').write_text('video,start,end\nb,1,2\n')
  assert abnormal_frames(prepare('video_folder', own_root, tmp_path)) == [1]
  assert decoded == ['a.avi', 'b.avi']
  decoded.clear()
  write_truth(tmp_path / 'a.csv', [22])
  assert abnormal_frames(prepare_subway(subway_root, tmp_path, tmp_path / 'a.csv')) == [2]
  assert decoded == ['exit.avi'] * 2  # its training part and its test part


def test_a_name_that_is_not_utf_8_is_refused(own_root, tmp_path, rng):
  own_root.joinpath('testing', 'b.avi').rename(own_root / 'testing' / 'caf\udce9.avi')
  with pytest.raises(UserError, match='test video caf.* not UTF-8.*: rename it'):
    prepare('video_folder', own_root, tmp_path)


def test_broken_videos_are_named(tmp_path, rng):
  root = tmp_path / 'mine' / 'training'
  whole = write_video(root / 'a.avi', rng, frames=60)
  (root / 'copy.avi').write_bytes(whole.read_bytes())
  write_video(root / 'b.mp4', rng)
  damage(root / 'b.mp4', lambda content: content[:200])
  write_video(root / 'cut.avi', rng, frames=60, shade=90)
  damage(root / 'cut.avi', lambda content: content[: len(content) // 2])
  with pytest.raises(UserError) as error:
    prepare('video_folder', tmp_path / 'mine', tmp_path)
  b, copy, cut = str(error.value).splitlines()
  assert '3 faults' in b
  assert 'b.mp4): stops decoding at frame 0' in b
  assert 'the same frames as train video a' in copy
  assert 'cut.avi): is cut off' in cut
  for name in ('b.mp4', 'copy.avi', 'cut.avi'):
    (root / name).unlink()
  assert len(prepare('video_folder', tmp_path / 'mine', tmp_path).train.frames) == 60


def test_damage_in_the_middle_is_named(tmp_path, rng):
  path = write_video(tmp_path / 'mine' / 'training' / 'a.avi', rng, frames=60)

  def overwrite_middle(content):
    middle = len(content) // 2
    return content[:middle] + bytes(4000) + content[middle + 4000 :]

  damage(path, overwrite_middle)
  with pytest.raises(UserError, match=r'train video a .*is damaged at frame \d+'):
    prepare('video_folder', tmp_path / 'mine', tmp_path)


def test_faults_of_labels_and_frames_are_reported_together(avenue_root, tmp_path, rng):
  (avenue_root / 'training_videos' / '01.avi').write_text('not a video')
  write_video(avenue_root / 'testing_videos' / '09.avi', rng, frames=30)
  label_file(avenue_root, 9).write_text('no masks')
  write_video(avenue_root / 'testing_videos' / '10.avi', rng, frames=25)
  with pytest.raises(UserError) as error:
    prepare('avenue', avenue_root, tmp_path)
  training, ninth, tenth = str(error.value).splitlines()
  assert '3 faults' in training
  assert 'train video 01' in training and 'stops decoding at frame 0' in training
  assert 'test video 09' in ninth and '9_label.mat holds no masks' in ninth
  assert 'test video 10' in tenth and 'no labels (vollabel)' in tenth


def test_a_label_set_without_files_is_named(avenue_root, tmp_path):
  with pytest.raises(UserError, match="^data.label_set 'hasan': there are no such labels in"):
    prepare('avenue', avenue_root, tmp_path, label_set='hasan')


@pytest.mark.parametrize('name', ['avenue', 'shanghaitech', 'subway_entrance', 'video_folder'])
def test_the_error_for_an_empty_folder_names_the_expected_files(tmp_path, name):
  (tmp_path / 'empty').mkdir()
  with pytest.raises(UserError, match='looked for|must be one video|no training/ folder'):
    prepare(name, tmp_path / 'empty', tmp_path)


@pytest.mark.parametrize('name', builders.NAMES)
def test_builder_folders_are_complete(name):
  folder = pathlib.Path(builders.__file__).parent / name
  files = ['README.md', 'CITATIONS.bib', 'checksums.tsv', 'TAGS.txt', 'reader.py']
  for file in [*files, f'{name}_dataset_builder.py']:
    assert (folder / file).exists()


def test_all_builder_folders_are_named():
  folders = pathlib.Path(builders.__file__).parent.glob('*/reader.py')
  assert {path.parent.name for path in folders} == set(builders.NAMES)
