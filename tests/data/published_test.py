"""Published counts: differences of a copy are named clip by clip.

Most copies are synthetic. With A3DCAE_DATA, a folder of real data sets, those are tested too.
"""

import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.builders import reader
from a3dcae_jax.data.ingest import prepare_cache
from a3dcae_jax.data.layouts.intervals import split_row
from a3dcae_jax.data.layouts.numpy_file import read_labels
from a3dcae_jax.data.published import Published, differences
from tests.data.dummy_sets import write_mat

REAL_DATA = pathlib.Path(os.environ.get('A3DCAE_DATA', 'no-data'))
needs_real_data = pytest.mark.skipif(
  not REAL_DATA.is_dir(), reason='A3DCAE_DATA names no folder of real data sets'
)
MASKED = (3, 4, 14, 18, 19, 21, 22, 23, 24, 32)  # clips of Ped1 with masks by its authors


def index_of(lengths, label_set='official', train=()):
  """Return the index of a cache; a clip of length 0 is missing."""

  def split(lengths):
    videos = []
    for number, length in enumerate(lengths, start=1):
      if length:
        videos.append({'name': f'{number:02d}', 'num_frames': length})
    return {'videos': videos}

  return {'label_set': label_set, 'splits': {'train': split(train), 'test': split(lengths)}}


def test_differences_by_hand():
  published = Published(test=(3, 4, 5), abnormal={'official': (1, 2, 0)}, totals={'other': 3})
  labels = np.asarray([1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0])
  assert differences(published, index_of((3, 4, 5)), labels) == [
    'a whole set with the published counts: 3 test clips, 12 frames, 3 abnormal (official)'
  ]
  assert differences(published, index_of((3, 3, 6)), labels) == [
    'test clip 02 has 3 frames, as published 4',
    'test clip 03 has 6 frames, as published 5',
  ]
  assert differences(published, index_of((3, 0, 5)), labels[:8]) == [
    'test: 2 of the 3 published clips are here; missing are 2',
    'test clip 03 has 2 abnormal frames (official), as published 0',
  ]
  assert differences(published, index_of((3, 4, 5), 'other'), labels * 0) == [
    '0 abnormal test frames (other), as published 3'
  ]
  assert differences(Published(whole=9), index_of((4,), train=(4,)), None) == [
    '8 frames in both parts, as published 9'
  ]
  assert differences(Published(test=(3, 4), by_position=True), index_of((3,)), None) == [
    'test: 1 of the 2 published clips are here'
  ]


def test_differences_of_totals_by_hand():
  published = Published(
    videos={'train': 1, 'test': 2}, frames={'test': 7}, totals={'official': 2}, tracks=2
  )
  index = index_of((3, 4), train=(9,))
  tracks = {'01': [[0, 1, 0, 0, 1, 1], [0, 2, 0, 0, 1, 1]], '02': [[0, 1, 0, 0, 1, 1]]}
  index['splits']['test']['tracks'] = tracks
  labels = np.asarray([1, 0, 0, 1, 0, 0, 0])
  assert differences(published, index, labels) == [
    'a whole set with the published counts: 2 test videos, 7 frames, 2 abnormal (official)'
  ]
  tracks['02'] = []
  index['splits']['test']['videos'][0]['num_frames'] = 2
  assert differences(published, index, labels[1:]) == [
    '6 test frames, as published 7',
    '1 tracks in the test videos, as published 2',
    '1 abnormal test frames (official), as published 2',
  ]
  assert differences(published, index_of((3,), train=(9, 9)), labels[:3]) == [
    'train: 2 videos are here, as published 1',
    'test: 1 of the 2 published videos are here',
  ]


@pytest.mark.parametrize(
  'name, videos, frames',
  [
    ('ubnormal', (186, 211), 92_640),
    ('street_scene', (46, 35), 203_257),
    ('nwpu_campus', (305, 242), 1_466_073),
    ('iitb_corridor', (208, 150), 483_566),
  ],
)
def test_published_totals_add_up(name, videos, frames):
  counts = reader(name).PUBLISHED
  assert (counts.videos['train'], counts.videos['test']) == videos
  assert sum(counts.frames.values()) == frames


@pytest.mark.parametrize(
  'name, label_set, test, abnormal, train',
  [
    ('ucsd_ped1', 'official', 7200, 4045, 6800),
    ('ucsd_ped2', 'official', 2010, 1648, 2550),
    ('avenue', 'hasan', 15324, 3867, 0),
    ('shanghaitech', 'official', 40791, 17326, 0),
  ],
)
def test_published_counts_add_up(name, label_set, test, abnormal, train):
  counts = reader(name).PUBLISHED
  assert sum(counts.test) == test
  assert sum(counts.train) == train
  assert sum(counts.abnormal[label_set]) == abnormal
  assert len(counts.abnormal[label_set]) == len(counts.test)


def write_clip(folder, count, shade, first=0, name='{:03d}.png'):
  """Write a clip of `count` images: one image and links to it."""
  folder.mkdir(parents=True)
  paths = [folder / name.format(index) for index in range(first, first + count)]
  Image.fromarray(np.full((16, 24), shade, np.uint8)).save(paths[0])
  for path in paths[1:]:
    os.link(paths[0], path)


def write_script(path, counts):
  """Write a label script in which the first `count` frames of clips are abnormal."""
  lines = [f'TestVideoFile{{end+1}}.gt_frame = [1:{count}];\n' for count in counts]
  path.write_text(''.join(lines))


def prepare(name, root, cache_dir, **changes):
  return prepare_cache(name, root=root, cache_dir=cache_dir, height=8, width=8, **changes)


@pytest.mark.slow
def test_a_complete_ped1_in_the_community_layout(tmp_path):
  root = tmp_path / 'ped1'
  counts = reader('ucsd_ped1').PUBLISHED
  for split, lengths, shade in (('training', counts.train, 50), ('testing', counts.test, 100)):
    for number, length in enumerate(lengths, start=1):
      write_clip(root / split / 'frames' / f'{number:02d}', length, shade + number)
  write_script(root / 'UCSDped1.m', counts.abnormal['official'])
  cache = prepare('ucsd_ped1', root, tmp_path / 'caches')
  assert len(cache.train.videos) == 34
  assert len(cache.test.videos) == 36
  assert len(cache.test.frames) == 7200
  assert cache.test.labels.sum() == 4045
  assert cache.index['notes'] == [
    'a whole set with the published counts: 36 test clips, 7,200 frames, 4,045 abnormal (official)'
  ]


@pytest.mark.slow
def test_the_official_ped1_with_its_ten_masks(tmp_path):
  archive = tmp_path / 'UCSD_Anomaly_Dataset.v1p2'
  root = archive / 'UCSDped1'
  write_clip(archive / 'UCSDped2' / 'Train' / 'Train001', 2, 9)  # not read
  write_clip(root / 'Train' / 'Train001', 200, 1, first=1, name='{:03d}.tif')
  for number in range(1, 37):
    clip = root / 'Test' / f'Test{number:03d}'
    write_clip(clip, 200, 100 + number, first=1, name='{:03d}.tif')
    if number in MASKED:
      name = 'frame{:03d}.bmp' if number % 2 else '{:03d}.bmp'
      write_clip(clip.with_name(f'{clip.name}_gt'), 200, 255, first=1, name=name)
  (root / 'Test' / 'Test001_gt').mkdir()  # without images: no masks
  write_script(root / 'Test' / 'UCSDped1.m', reader('ucsd_ped1').PUBLISHED.abnormal['official'])
  cache = prepare('ucsd_ped1', tmp_path, tmp_path / 'caches')
  assert cache.index['layout'].startswith('official')
  assert cache.test.labels.sum() == 4045
  has_masks = [video.has_masks for video in cache.test.videos]
  assert tuple(np.flatnonzero(has_masks) + 1) == MASKED
  of_frame = np.repeat(has_masks, 200)
  np.testing.assert_array_equal(cache.test.masks.all((1, 2)), of_frame)
  np.testing.assert_array_equal(cache.test.masks.any((1, 2)), of_frame)
  missing = 'train: 1 of the 34 published clips are here; missing are 2-34'
  assert missing in cache.index['notes']


@pytest.fixture
def ped2_root(tmp_path):
  """Clip 01 of Ped2 with all label files; the `.mat` differs in clips 3 and 11."""
  root = tmp_path / 'ped2'
  for split, shade in (('training', 0), ('testing', 100)):
    write_clip(root / split / 'frames' / '01', 180, shade)
  counts = reader('ucsd_ped2').PUBLISHED.abnormal['official']
  write_script(root / 'UCSDped2.m', counts)
  intervals = []
  rows = []
  for number, (length, count) in enumerate(zip(lengths_of_ped2(), counts, strict=True), start=1):
    intervals.append([(5 if number in (3, 11) else 1, count)])
    rows.append(np.arange(length) < count)
  write_mat(root / 'ped2.mat', intervals)
  np.save(root / 'frame_labels_ped2.npy', np.concatenate(rows)[None].astype(np.int8))
  return root


def lengths_of_ped2():
  return reader('ucsd_ped2').TEST_FRAMES


def test_label_files_that_differ_are_named_over_all_clips(ped2_root, tmp_path):
  official = prepare('ucsd_ped2', ped2_root, tmp_path / 'caches')
  row = prepare('ucsd_ped2', ped2_root, tmp_path / 'caches', label_set='row')
  assert official.index['label_set'] == 'official'
  np.testing.assert_array_equal(official.test.labels, row.test.labels)
  (note,) = [note for note in official.index['notes'] if 'differs' in note]
  assert note.startswith('ped2.mat (label set community) differs from UCSDped2.m')
  assert note.endswith('03 (4 frames), 11 (4 frames)')


def test_the_default_label_set_is_an_existing_one(ped2_root, tmp_path):
  (ped2_root / 'UCSDped2.m').unlink()
  assert prepare('ucsd_ped2', ped2_root, tmp_path).index['label_set'] == 'community'


def test_shanghaitech_in_the_community_layout(tmp_path):
  root = tmp_path / 'shanghaitech'
  lengths = reader('shanghaitech').TEST_FRAMES
  names = [f'{1 + index // 10:02d}_{index:04d}' for index in range(107)]
  frames = root / 'testing' / 'frames'
  write_clip(root / 'training' / 'frames' / '01_001', 3, 1)
  for index in (0, 1, 106):
    write_clip(frames / names[index], lengths[index], 10 + index)
  row = np.arange(sum(lengths)) % 7 == 0
  np.save(root / 'frame_labels_shanghai.npy', row)
  with pytest.raises(UserError, match='107 test videos.* 3 are here'):
    prepare('shanghaitech', root, tmp_path / 'caches')
  for name in names:
    (frames / name).mkdir(exist_ok=True)
  videos = reader('shanghaitech').videos(root, 'test')
  np.testing.assert_array_equal(videos[1].labels['community'], row[265 : 265 + 433])
  np.testing.assert_array_equal(videos[106].labels['community'], row[-265:])
  assert reader('shanghaitech').layout(root).startswith('community (training/frames')


def prepare_real(name, tmp_path, options=None, label_set=''):
  return prepare_cache(
    name,
    root=REAL_DATA / name.removeprefix('ucsd_'),
    cache_dir=tmp_path,
    height=32,
    width=32,
    label_set=label_set,
    options=options,
  )


def abnormal_counts(cache):
  """Return the number of abnormal frames of each test video."""
  counts = []
  for video in cache.test.videos:
    labels = cache.test.labels[video.first : video.first + video.num_frames]
    counts.append(int(labels.sum()))
  return counts


@needs_real_data
@pytest.mark.slow
@pytest.mark.parametrize(
  'name, label_set, frames, abnormal',
  [
    ('ucsd_ped2', '', [180, 180, 150, 180, 150, 180], [120, 86, 146, 150, 129, 159]),
    ('avenue', '', [426, 248, 76], [384, 140, 53]),
    ('avenue', 'hasan', [426, 248, 76], [358, 132, 53]),
    ('shanghaitech', '', [265, 433], [76, 288]),
  ],
)
def test_real_videos_have_the_measured_counts(tmp_path, name, label_set, frames, abnormal):
  options = {}
  if label_set == 'hasan':
    options['hasan_labels'] = str(REAL_DATA / 'labels' / 'frame_labels_avenue.npy')
  cache = prepare_real(name, tmp_path, options, label_set)
  assert [video.num_frames for video in cache.test.videos] == frames
  assert abnormal_counts(cache) == abnormal


@needs_real_data
@pytest.mark.slow
def test_the_real_avenue_has_the_measured_training_videos(tmp_path):
  videos = prepare_real('avenue', tmp_path).train.videos
  assert [video.num_frames for video in videos] == [1223, 781, 145, 244]


@needs_real_data
@pytest.mark.slow
def test_the_real_ped2_has_masks_that_fit_its_labels(tmp_path):
  cache = prepare_real('ucsd_ped2', tmp_path)
  assert len(cache.train.frames) == 2550
  # At full size, because the smallest masks vanish at 32x32.
  videos = reader('ucsd_ped2').videos(REAL_DATA / 'ped2', 'test')
  masked = [mask.any() for video in videos for mask in video.masks()]
  np.testing.assert_array_equal(masked, cache.test.labels)
  (note,) = [note for note in cache.index['notes'] if 'differs' in note]
  late = [f'{clip:02d} (4 frames)' for clip in (3, 5, 8, 9, 10, 11)]
  assert note.endswith(', '.join(late))


@needs_real_data
@pytest.mark.parametrize(
  'file, name, label_set, runs',
  [
    ('frame_labels_ped2.npy', 'ucsd_ped2', 'row', None),
    ('frame_labels_avenue.npy', 'avenue', 'hasan', 47),
    ('frame_labels_shanghai.npy', 'shanghaitech', 'community', None),
  ],
)
def test_real_rows_of_labels_have_the_published_counts(file, name, label_set, runs):
  counts = reader(name).PUBLISHED
  path = REAL_DATA / 'labels' / file
  clips = split_row(read_labels(path), counts.test, source=path)
  assert tuple(int(labels.sum()) for labels in clips) == counts.abnormal[label_set]
  if runs:
    starts = [np.diff(np.r_[0, labels.astype(int)]) == 1 for labels in clips]
    assert sum(int(start.sum()) for start in starts) == runs
