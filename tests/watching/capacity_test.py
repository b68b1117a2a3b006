"""How many cameras are carried: the search, and trials through `detect` itself."""

import importlib.resources
import itertools
import re

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.video_file import read_video
from a3dcae_jax.serving.bundle import load_bundle
from a3dcae_jax.watching import capacity
from a3dcae_jax.watching.detector import make_box_finder
from a3dcae_jax.watching.page import browser
from tests.watching.toy import camera, write_toy_bundle, write_video


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('capacity')


@pytest.fixture(scope='module')
def detector(folder):
  bundle = load_bundle(write_toy_bundle(folder / 'toy.bundle'))
  return capacity.Detector(bundle, make_box_finder(bundle, ''))


@pytest.mark.parametrize('most', [0, 1, 2, 7, 13, 200, 5000])
def test_the_largest_number_is_found_to_a_sixteenth(most):
  tried = []

  def trial(count):
    tried.append(count)
    return {'cameras': count, 'is_carried': count <= most}

  found = capacity.most_carried(trial)['cameras']
  expected = min(max(most, 1), capacity.MOST_CAMERAS)
  assert expected - expected // 16 <= found <= expected
  assert len(tried) == len(set(tried)) < 20


@pytest.mark.slow
def test_cameras_are_watched_and_every_score_is_timed(detector, folder, monkeypatch):
  monkeypatch.setattr(capacity, '_SETTLE_S', 0.2)
  monkeypatch.setattr(capacity, 'SLACK_S', 60.0)  # the machine of the tests may be slow
  monkeypatch.setattr(capacity, '_VIDEO_S', 1)
  video = capacity.write_video(folder / 'camera.mp4', capacity.scene_of(detector.bundle))
  assert len(next(read_video(video))) == 360
  for camera_of in (
    capacity.memory_camera(detector.bundle),
    capacity.video_camera(detector.bundle, video),
  ):
    row = capacity.try_cameras(detector, camera_of, 1.5, 2)
    assert row['is_carried']
    assert row['frames_per_s'] > 0
    assert 0 < row['latency_median_s'] <= row['latency_99_s'] < 60
    assert row['floor_s'] == 3 / 25
    assert 'carried' in capacity.describe({'kind': 'scoring', **row})


def test_a_browser_shows_the_pictures_of_all_cameras_meanwhile(detector, monkeypatch):
  monkeypatch.setattr(capacity, '_SETTLE_S', 0.2)
  monkeypatch.setattr(capacity, 'SLACK_S', 60.0)
  monkeypatch.setattr(browser, 'STATE_S', 0.1)
  asked = set()
  answer_of = browser._answer

  def answer(connection, path):
    content = answer_of(connection, path)
    if content:
      asked.add(path.partition('?')[0])
    return content

  monkeypatch.setattr(browser, '_answer', answer)
  camera_of = capacity.memory_camera(detector.bundle)
  row = capacity.try_cameras(detector, camera_of, 1.5, 2, has_page=True)
  assert row['is_carried']
  assert row['pictures_per_s'] > 0
  assert asked >= {'/api/state', '/pictures/0', '/pictures/1'}
  assert 'pictures/s shown' in capacity.describe({'kind': 'page', **row})


def test_the_browser_asks_as_often_as_the_script_of_the_page():
  script = (importlib.resources.files('a3dcae_jax.watching.page') / 'page.js').read_text()
  times = dict(re.findall(r'const (\w+)_MS = (\d+);', script))
  for name in ('STATE', 'TIMELINE', 'PICTURE', 'TURN'):
    assert getattr(browser, f'{name}_S') == int(times[name]) / 1000
  assert f'const PICTURES_AT_ONCE = {browser.PICTURES_AT_ONCE};' in script


def test_without_the_packages_of_the_page_it_is_not_measured(detector, monkeypatch):
  monkeypatch.setattr(capacity, 'missing_package', lambda: 'uvicorn')
  monkeypatch.setattr(capacity, 'try_cameras', lambda *_, **__: {'floor_s': 0.1})
  monkeypatch.setattr(capacity, 'first_score_s', lambda *_: 1.0)
  rows = list(capacity.measure_cameras(str(detector.bundle.folder), cameras=1))
  assert [row['kind'] for row in rows] == ['scoring', 'decoding', 'page', 'start']
  assert 'not measured, since uvicorn is not installed' in capacity.describe(rows[2])


def test_dropped_frames_end_a_trial_that_is_not_carried(detector, monkeypatch):
  monkeypatch.setattr(capacity, '_wait_for', lambda begin_s, index: None)  # infinitely fast
  row = capacity.try_cameras(detector, capacity.memory_camera(detector.bundle), 60.0, 1)
  assert row['dropped']
  assert not row['is_carried']


def test_a_video_is_played_again_and_again(detector, folder):
  video = write_video(folder / 'short.avi', camera(5))
  open_camera = capacity.video_camera(detector.bundle, video)
  played = list(itertools.islice(open_camera(0.0), 12))  # begun long ago: no frame waits
  assert [each.time_s for each in played] == [index / 25 for index in range(12)]
  assert played[0].checksum == played[5].checksum != played[6].checksum


@pytest.mark.slow
def test_the_first_score_is_awaited(detector, folder):
  video = write_video(folder / 'first.avi', camera(20))
  assert capacity.first_score_s(str(detector.bundle.folder), video) > 0
  (folder / 'no.avi').write_text('no video')
  with pytest.raises(UserError, match='has no score: .*no.avi'):
    capacity.first_score_s(str(detector.bundle.folder), folder / 'no.avi')
