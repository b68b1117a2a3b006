"""Whole copies of the sets and copies that differ: counts as published, or named clip by clip. Look-alikes made here; real footage where it is."""

import os
import pathlib

import numpy as np
import pytest
import scipy.io
from PIL import Image

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.builders import reader
from a3dcae_jax.data.ingest import prepare_cache
from a3dcae_jax.data.published import Published, differences
from a3dcae_jax.run.datasets import ingest_table

FOOTAGE = pathlib.Path(os.environ.get('A3DCAE_FOOTAGE', 'no-footage'))
needs_footage = pytest.mark.skipif(
  not FOOTAGE.is_dir(), reason='A3DCAE_FOOTAGE names no folder of real footage'
)
MASKED = (3, 4, 14, 18, 19, 21, 22, 23, 24, 32)  # the clips of Ped1 that its authors drew masks of


def index_of(lengths, label_set='official', train=()):
  def videos(counts):
    return [{'name': f'{i:02d}', 'num_frames': n} for i, n in enumerate(counts, start=1) if n]

  return {
    'label_set': label_set,
    'splits': {'train': {'videos': videos(train)}, 'test': {'videos': videos(lengths)}},
  }


def test_differences_by_hand():
  published = Published(test=(3, 4, 5), abnormal={'official': (1, 2, 0)}, totals={'other': 3})
  labels = np.asarray([1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0])
  assert differences(published, index_of((3, 4, 5)), labels) == [
    'a whole set with the counts published: 3 test clips, 12 frames, 3 abnormal (official)'
  ]
  assert differences(published, index_of((3, 3, 6)), labels) == [
    'test clip 02 has 3 frames, as published 4',
    'test clip 03 has 6 frames, as published 5',
  ]
  assert differences(published, index_of((3, 0, 5)), labels[:8]) == [
    'test: 2 of the 3 clips published are here; missing are 2',
    'test clip 03 has 2 abnormal frames (official), as published 0',
  ]
  assert differences(published, index_of((3, 4, 5), 'other'), labels * 0) == [
    '0 abnormal test frames (other), as published 3'
  ]
  assert differences(Published(whole=9), index_of((4,), train=(4,)), None) == [
    '8 frames in both parts, as published 9'
  ]
  assert differences(Published(test=(3, 4), by_position=True), index_of((3,)), None) == [
    'test: 1 of the 2 clips published are here'
  ]


def test_published_tables_add_up():
  of = {
    name: reader(name).PUBLISHED for name in ('ucsd_ped1', 'ucsd_ped2', 'avenue', 'shanghaitech')
  }
  assert {name: sum(counts.test) for name, counts in of.items()} == {
    'ucsd_ped1': 7200,
    'ucsd_ped2': 2010,
    'avenue': 15324,
    'shanghaitech': 40791,
  }
  assert (sum(of['ucsd_ped1'].train), sum(of['ucsd_ped2'].train)) == (6800, 2550)
  sets = {
    'ucsd_ped1': 'official',
    'ucsd_ped2': 'official',
    'avenue': 'hasan',
    'shanghaitech': 'official',
  }
  assert {name: sum(of[name].abnormal[label_set]) for name, label_set in sets.items()} == {
    'ucsd_ped1': 4045,
    'ucsd_ped2': 1648,
    'avenue': 3867,
    'shanghaitech': 17326,
  }
  assert all(
    len(counts.test) == len(next(iter(counts.abnormal.values()))) for counts in of.values()
  )


def clip(folder, count, shade, first=0, name='{:03d}.png', size=(16, 24)):
  """A clip of `count` images: one of its own, and links to it."""
  folder.mkdir(parents=True)
  paths = [folder / name.format(index) for index in range(first, first + count)]
  Image.fromarray(np.full(size, shade, np.uint8)).save(paths[0])
  for path in paths[1:]:
    os.link(paths[0], path)


def write_script(path, counts):
  path.write_text(''.join(f'TestVideoFile{{end+1}}.gt_frame = [1:{count}];\n' for count in counts))


@pytest.mark.slow
def test_a_whole_ped1_in_the_community_layout(tmp_path):
  counts = reader('ucsd_ped1').PUBLISHED
  for split, lengths, shade in (('training', counts.train, 0), ('testing', counts.test, 100)):
    for number, length in enumerate(lengths, start=1):
      clip(tmp_path / 'ped1' / split / 'frames' / f'{number:02d}', length, shade + number)
  write_script(tmp_path / 'ped1' / 'UCSDped1.m', counts.abnormal['official'])
  cache = prepare_cache(
    'ucsd_ped1', root=tmp_path / 'ped1', cache_dir=tmp_path / 'caches', height=8, width=8
  )
  assert (
    len(cache.train.videos),
    len(cache.test.videos),
    len(cache.test.frames),
    int(cache.test.labels.sum()),
  ) == (34, 36, 7200, 4045)
  assert cache.index['notes'] == [
    'a whole set with the counts published: 36 test clips, 7,200 frames, 4,045 abnormal (official)'
  ]


@pytest.mark.slow
def test_the_official_ped1_with_its_ten_masks(tmp_path):
  counts, root = reader('ucsd_ped1').PUBLISHED, tmp_path / 'UCSD_Anomaly_Dataset.v1p2' / 'UCSDped1'
  clip(
    tmp_path / 'UCSD_Anomaly_Dataset.v1p2' / 'UCSDped2' / 'Train' / 'Train001', 2, 9
  )  # its sister beside it is not read
  clip(root / 'Train' / 'Train001', 200, 1, first=1, name='{:03d}.tif')
  for number in range(1, 37):
    clip(root / 'Test' / f'Test{number:03d}', 200, 100 + number, first=1, name='{:03d}.tif')
    if number in MASKED:
      clip(
        root / 'Test' / f'Test{number:03d}_gt',
        200,
        255,
        first=1,
        name='frame{:03d}.bmp' if number % 2 else '{:03d}.bmp',
      )
  (root / 'Test' / 'Test001_gt').mkdir()  # an empty one says nothing
  write_script(root / 'Test' / 'UCSDped1.m', counts.abnormal['official'])
  cache = prepare_cache(
    'ucsd_ped1', root=tmp_path, cache_dir=tmp_path / 'caches', height=8, width=8
  )
  assert cache.index['layout'].startswith('official') and cache.test.labels.sum() == 4045
  assert (
    tuple(number for number, video in enumerate(cache.test.videos, start=1) if video.has_masks)
    == MASKED
  )
  of_frame = np.repeat([video.has_masks for video in cache.test.videos], 200)
  np.testing.assert_array_equal(cache.test.masks.all((1, 2)), of_frame)
  np.testing.assert_array_equal(cache.test.masks.any((1, 2)), of_frame)
  assert 'train: 1 of the 34 clips published are here; missing are 2-34' in ingest_table(cache)


def test_a_mat_that_differs_is_named_over_all_its_clips(tmp_path):
  for split, shade in (('training', 0), ('testing', 100)):
    clip(tmp_path / 'ped2' / split / 'frames' / '01', 180, shade)
  counts = reader('ucsd_ped2').PUBLISHED.abnormal['official']
  write_script(tmp_path / 'ped2' / 'UCSDped2.m', counts)
  cells = np.empty((1, 12), object)
  for index, count in enumerate(counts):
    cells[0, index] = np.asarray([[5 if index in (2, 10) else 1], [count]])
  scipy.io.savemat(tmp_path / 'ped2' / 'ped2.mat', {'gt': cells})
  np.save(
    tmp_path / 'ped2' / 'frame_labels_ped2.npy',
    np.concatenate(
      [
        np.arange(length) < count
        for length, count in zip(reader('ucsd_ped2').TEST_FRAMES, counts, strict=True)
      ]
    )[None].astype(np.int8),
  )
  caches = {
    label_set: prepare_cache(
      'ucsd_ped2',
      root=tmp_path / 'ped2',
      cache_dir=tmp_path,
      height=8,
      width=8,
      label_set=label_set,
    )
    for label_set in ('', 'row')
  }
  assert caches[''].index['label_set'] == 'official'
  np.testing.assert_array_equal(caches[''].test.labels, caches['row'].test.labels)
  assert (
    'ped2.mat (label set community) differs from UCSDped2.m in test clips 03 (4 frames), 11 (4 frames)'
    in caches[''].index['notes']
  )
  (tmp_path / 'ped2' / 'UCSDped2.m').unlink()
  only = prepare_cache(
    'ucsd_ped2', root=tmp_path / 'ped2', cache_dir=tmp_path / 'others', height=8, width=8
  )
  assert only.index['label_set'] == 'community'  # what is at hand


def test_shanghaitech_as_the_community_keeps_it(tmp_path):
  lengths = reader('shanghaitech').TEST_FRAMES
  clip(tmp_path / 'sh' / 'training' / 'frames' / '01_001', 3, 1)
  names = [f'{1 + index // 10:02d}_{index:04d}' for index in range(107)]
  for index in (0, 1, 106):
    clip(tmp_path / 'sh' / 'testing' / 'frames' / names[index], lengths[index], 10 + index)
  row = np.arange(sum(lengths)) % 7 == 0
  np.save(tmp_path / 'sh' / 'frame_labels_shanghai.npy', row)
  with pytest.raises(
    UserError, match='lists the 107 test videos in the order of their names; 3 are here'
  ):
    prepare_cache(
      'shanghaitech', root=tmp_path / 'sh', cache_dir=tmp_path / 'caches', height=8, width=8
    )
  for index in set(range(107)) - {0, 1, 106}:
    (tmp_path / 'sh' / 'testing' / 'frames' / names[index]).mkdir()
  videos = reader('shanghaitech').videos(tmp_path / 'sh', 'test')
  np.testing.assert_array_equal(videos[1].labels['community'], row[265 : 265 + 433])
  np.testing.assert_array_equal(videos[106].labels['community'], row[-265:])
  assert reader('shanghaitech').layout(tmp_path / 'sh').startswith('community (training/frames')


@needs_footage
@pytest.mark.slow
@pytest.mark.parametrize(
  'name, options, frames, abnormal',
  [
    ('ucsd_ped2', {}, [180, 180, 150, 180, 150, 180], [120, 86, 146, 150, 129, 159]),
    ('avenue', {}, [426, 248, 76], [384, 140, 53]),
    ('avenue', {'hasan_labels': 'labels/frame_labels_avenue.npy'}, [426, 248, 76], [358, 132, 53]),
    ('shanghaitech', {}, [265, 433], [76, 288]),
  ],
)
def test_real_footage_has_the_counts_measured(tmp_path, name, options, frames, abnormal):
  label_set = 'hasan' if options else ''
  options = {key: str(FOOTAGE / value) for key, value in options.items()}
  cache = prepare_cache(
    name,
    root=FOOTAGE / name.removeprefix('ucsd_'),
    cache_dir=tmp_path,
    height=32,
    width=32,
    label_set=label_set,
    options=options,
  )
  assert [video.num_frames for video in cache.test.videos] == frames
  assert [
    int(cache.test.labels[v.first : v.first + v.num_frames].sum()) for v in cache.test.videos
  ] == abnormal
  if name == 'ucsd_ped2':
    assert len(cache.train.frames) == 2550
    masks = [
      mask.any()
      for video in reader(name).videos(FOOTAGE / 'ped2', 'test')
      for mask in video.masks()
    ]
    np.testing.assert_array_equal(
      masks, cache.test.labels
    )  # at their own size: the smallest ones vanish at 32x32
    assert any(
      'ped2.mat (label set community) differs from UCSDped2.m in test clips 03 (4 frames), 05 (4 frames), 08 (4 frames), 09 (4 frames), '
      '10 (4 frames), 11 (4 frames)' in note
      for note in cache.index['notes']
    )
  if name == 'avenue':
    assert [video.num_frames for video in cache.train.videos] == [1223, 781, 145, 244]


@needs_footage
@pytest.mark.parametrize(
  'file, name, total, abnormal, runs',
  [
    ('frame_labels_ped2.npy', 'ucsd_ped2', 2010, 1648, None),
    ('frame_labels_avenue.npy', 'avenue', 15324, 3867, 47),
    ('frame_labels_shanghai.npy', 'shanghaitech', 40791, 17326, None),
  ],
)
def test_real_rows_of_labels(file, name, total, abnormal, runs):
  from a3dcae_jax.data.layouts.rows import read_rows

  clips = read_rows(FOOTAGE / 'labels' / file, reader(name).TEST_FRAMES)
  counts = {'ucsd_ped2': 'row', 'avenue': 'hasan', 'shanghaitech': 'community'}
  assert [int(labels.sum()) for labels in clips] == list(
    reader(name).PUBLISHED.abnormal[counts[name]]
  )
  assert (sum(map(len, clips)), sum(int(labels.sum()) for labels in clips)) == (total, abnormal)
  if runs:
    assert sum(int((np.diff(np.r_[0, labels.astype(int)]) == 1).sum()) for labels in clips) == runs
