"""Boxes kept beside the frames: found once, continued after a kill, checked by their hash."""

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_json
from a3dcae_jax.data.frame_cache import FrameCache, write_index
from a3dcae_jax.objects import box_cache
from a3dcae_jax.objects.box_cache import boxes_folder, open_boxes
from a3dcae_jax.objects.detectors import make_detector
from tests.objects.footage import HEIGHT, WIDTH, walking

LENGTHS = {'train': (30, 20), 'test': (10, 12)}


@pytest.fixture
def cache(tmp_path):
  splits = {}
  for split, lengths in LENGTHS.items():
    np.save(tmp_path / f'{split}.npy', walking(sum(lengths), first=sum(lengths)))
    videos = []
    for number, length in enumerate(lengths):
      video = {'name': f'0{number}', 'num_frames': length, 'scene': '', 'masks': False}
      videos.append(video | {'source_size': [2 * HEIGHT, 2 * WIDTH]})
    splits[split] = {'videos': videos, 'labels': False, 'masks': False, 'tracks': None}
  index = {'name': 'made', 'height': HEIGHT, 'width': WIDTH, 'splits': splits}
  write_index(tmp_path, index | {'files': ['train.npy', 'test.npy']})
  return FrameCache.open(tmp_path)


@pytest.fixture
def detector():
  return make_detector('foreground')


def assert_equal(first, second):
  for a, b in zip(first, second, strict=True):
    np.testing.assert_array_equal(a, b)


def test_boxes_are_found_once_and_kept(cache, detector, monkeypatch):
  boxes = open_boxes(cache, detector, 'test', processes=1)
  assert set(boxes.frame) == set(range(22))
  assert np.all(np.diff(boxes.frame) >= 0)
  folder = boxes_folder(cache, detector)
  index = read_json(folder / 'index.json')
  assert index['splits']['test']['boxes'] == len(boxes.frame)
  assert index['detector']['name'] == 'foreground'
  assert not (folder / 'parts').exists()
  monkeypatch.setattr(box_cache, '_find_boxes', None)
  assert_equal(open_boxes(cache, detector, 'test'), boxes)


@pytest.mark.slow
def test_several_processes_find_the_same(cache, detector):
  boxes = open_boxes(cache, detector, 'test', processes=2)
  (boxes_folder(cache, detector) / 'index.json').unlink()
  assert_equal(open_boxes(cache, detector, 'test', processes=1), boxes)


def test_a_run_that_was_stopped_continues_with_the_next_video(cache, detector, monkeypatch):
  write_part = box_cache._write_part
  written = []

  def stop_at_second(worker, number, path):
    if written:
      raise KeyboardInterrupt
    written.append(number)
    return write_part(worker, number, path)

  monkeypatch.setattr(box_cache, '_write_part', stop_at_second)
  with pytest.raises(KeyboardInterrupt):
    open_boxes(cache, detector, 'test', processes=1)

  def only_others(worker, number, path):
    assert number not in written
    return write_part(worker, number, path)

  monkeypatch.setattr(box_cache, '_write_part', only_others)
  boxes = open_boxes(cache, detector, 'test', processes=1)
  assert set(boxes.frame) == set(range(22))


def test_damaged_files_are_found(cache, detector):
  open_boxes(cache, detector, 'test', processes=1)
  folder = boxes_folder(cache, detector)
  path = folder / 'test.npz'
  path.write_bytes(path.read_bytes()[:-1] + b'x')
  with pytest.raises(UserError, match=r'test.npz is absent or its SHA-256 differs.*remove'):
    open_boxes(cache, detector, 'test')
  (folder / 'index.json').write_text('{}')
  with pytest.raises(UserError, match='index.json is damaged'):
    open_boxes(cache, detector, 'test')


def test_a_damaged_part_is_named(tmp_path):
  path = tmp_path / 'part.npz'
  np.savez_compressed(path, frame=np.arange(500))
  content = path.read_bytes()
  for at in range(0, len(content), 7):
    harmed = bytearray(content)
    harmed[at] ^= 0x10
    path.write_bytes(harmed)
    try:
      box_cache._read_arrays(path)
    except UserError as error:
      assert 'part.npz cannot be read' in str(error)


def test_the_folder_depends_on_frames_and_detector(cache, detector, tmp_path):
  (tmp_path / 'a.csv').write_text('a')
  folders = {boxes_folder(cache, detector), boxes_folder(cache, make_detector(f'{tmp_path}/a.csv'))}
  (tmp_path / 'a.csv').write_text('b')
  folders.add(boxes_folder(cache, make_detector(f'{tmp_path}/a.csv')))
  files = cache.index['files'] | {'train.npy': '0'}
  other = FrameCache(cache.folder, dict(cache.index) | {'files': files})
  folders.add(boxes_folder(other, detector))
  assert len(folders) == 4


def test_boxes_of_a_csv_file_are_kept(cache, tmp_path):
  path = tmp_path / 'a.csv'
  path.write_text('video,frame,x1,y1,x2,y2,score,class\ntest/01,1,0,0,20,20,1,0\n')
  boxes = open_boxes(cache, make_detector(str(path)), 'test')
  assert boxes.frame.tolist() == [11]
  np.testing.assert_array_equal(boxes.corners, [[0, 0, 10, 10]])
  assert len(open_boxes(cache, make_detector(str(path)), 'train').frame) == 0
