"""Detectors by name; downloads from file:// addresses."""

import hashlib

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.objects.detectors import ForegroundVideos, address, fetch_model, make_detector
from a3dcae_jax.objects.foreground import ForegroundModel
from tests.objects.footage import split_of, walking


def test_the_foreground_needs_no_file():
  detector = make_detector('foreground')
  assert detector.path is None
  assert 'weak' in detector.identity['parameters']


@pytest.mark.parametrize('name, kind', [('a.onnx', 'yolox'), ('a.csv', 'csv')])
def test_files_are_known_by_their_content(tmp_path, name, kind):
  (tmp_path / name).write_text('content')
  detector = make_detector(str(tmp_path / name))
  assert (detector.name, detector.kind) == (name, kind)
  assert detector.sha256 == hashlib.sha256(b'content').hexdigest()
  assert str(tmp_path) not in str(detector.identity)  # a copy elsewhere gives the same boxes


@pytest.mark.parametrize('name', ['yolo', 'a.pt', '', 'yolox_nano.xml'])
def test_unknown_names_show_the_choices(name):
  with pytest.raises(UserError, match='foreground, yolox_nano, yolox_tiny, yolox_s, a file'):
    make_detector(name)


def test_absent_files_are_named(tmp_path):
  with pytest.raises(UserError, match="absent.onnx': there is no such file"):
    make_detector(str(tmp_path / 'absent.onnx'))
  with pytest.raises(UserError, match='fetches it from https://github.com'):
    make_detector('yolox_s', folder=tmp_path)


def test_a_known_model_is_downloaded_once(tmp_path, capsys):
  (tmp_path / 'source').write_bytes(b'model')
  sha256 = hashlib.sha256(b'model').hexdigest()
  url = (tmp_path / 'source').as_uri()
  assert fetch_model('yolox_nano', tmp_path / 'models', url=url) == sha256
  assert sha256 in capsys.readouterr().out
  assert make_detector('yolox_nano', folder=tmp_path / 'models', download=True).sha256 == sha256


def test_a_wrong_download_leaves_nothing(tmp_path):
  (tmp_path / 'source').write_bytes(b'model')
  url = (tmp_path / 'source').as_uri()
  with pytest.raises(UserError, match='known is 0000'):
    fetch_model('yolox_nano', tmp_path / 'models', url=url, sha256='0' * 64)
  with pytest.raises(UserError, match='cannot be fetched'):
    fetch_model('yolox_nano', tmp_path / 'models', url='file:///no/such/file')
  assert not list((tmp_path / 'models').iterdir())


def test_addresses_are_those_of_the_release():
  assert address('yolox_nano').endswith('/releases/download/0.1.1rc0/yolox_nano.onnx')


def test_boxes_of_a_video_count_frames_from_its_start():
  split = split_of(walking(60), [50, 10])
  boxes = ForegroundVideos(ForegroundModel.fit(split)).detect_video(split, split.videos[1])
  assert set(boxes.frame) == set(range(10))
  assert np.all(np.diff(boxes.frame) >= 0)
  assert set(boxes.label) == {-1}
