"""Speeds that are usual at the top and at the bottom: found, kept, and divided by."""

import json

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import CachedVideo
from a3dcae_jax.evaluation.perspective import LEAST, find_row_scale, speeds_of
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.run import session, workdir
from a3dcae_jax.run.networks import check_sizes, frame_options
from tests.evaluation.flow_test import FLOW_RUN
from tests.tiny_run import tiny


def footage(bands, size=64, frames=16):
  """uint8 [T, size, size]: a grating in each band (first row, last row, pixels a frame) that moves at the band's speed."""
  across, time = np.arange(size)[None, None], np.arange(frames)[:, None, None]
  pixels = np.full((frames, size, size), 128.0)
  for first, last, speed in bands:
    pixels[:, first:last] = 128 + 100 * np.sin(2 * np.pi * (across - speed * time) / 16)
  return pixels.round().astype(np.uint8)


def found(frames):
  return speeds_of(find_row_scale(frames, [CachedVideo('01', 0, len(frames), '')]))


def test_a_line_is_found_through_what_moves_and_what_stands_does_not_count():
  top, bottom = found(footage([(row, row + 8, 0.2 + row / 64) for row in range(0, 64, 8)]))
  assert bottom / top == pytest.approx(
    (0.2 + 60 / 64) / (0.2 + 4 / 64), rel=0.3
  )  # a window of 4 px blurs the bands
  half = found(
    footage([(row, row + 8, 0.2 + row / 64) for row in range(32, 64, 8)])
  )  # nothing above
  assert (
    half[0] < half[1] and 1 <= half[1] < bottom
  )  # by what is usual where things move: near the bottom


def test_nearer_is_never_slower_and_the_top_keeps_something():
  assert found(footage([(0, 32, 1.0), (32, 64, 0.4)])) == (1, 1)
  assert found(np.full((16, 32, 32), 77, np.uint8)) == (1, 1)
  assert found(footage([(40, 52, 0.5), (52, 64, 2.0)]))[0] == pytest.approx(LEAST)


def test_each_row_is_divided_by_its_usual_speed(rng):
  clips, mean = rng.integers(0, 256, (1, 4, 8, 8), np.uint8), np.full((8, 8), 0.1, np.float32)
  plain = np.asarray(network_input(clips, mean, images='flow'))
  divided = np.asarray(network_input(clips, mean, images='flow', row_scale=(0.5, 1.2)))
  np.testing.assert_allclose(
    divided * np.linspace(0.5, 1.2, 8)[:, None, None], plain, rtol=1e-5, atol=1e-7
  )


def test_what_a_run_found_when_it_began_stays(tmp_path, monkeypatch, capsys):
  config = tiny(tmp_path, **FLOW_RUN, **{'input.perspective': 'found'})
  monkeypatch.setattr(session, 'find_row_scale', lambda frames, videos: '0.500:1.300')
  session.train_and_evaluate(config, tmp_path / 'run')
  assert 'input.perspective): 0.500:1.300' in capsys.readouterr().out
  kept = workdir.read_config(tmp_path / 'run')
  assert frame_options(kept)['row_scale'] == (0.5, 1.3) and config.input.perspective == 'found'
  metrics = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
  assert (
    metrics['protocol']['error']
    == 'eq13 of optical flow by usual speed of the row, divided by position'
  )

  monkeypatch.setattr(session, 'find_row_scale', lambda frames, videos: pytest.fail('found again'))
  session.train_and_evaluate(config, tmp_path / 'run')  # done already: scored again
  session.evaluate_again(tmp_path / 'run')
  assert workdir.read_config(tmp_path / 'run') == kept
  other = tiny(tmp_path, **FLOW_RUN, **{'input.perspective': '0.4:1.3'})
  with pytest.raises(UserError, match=r"input.perspective is '0.500:1.300' there, '0.4:1.3' here"):
    session.train_and_evaluate(other, tmp_path / 'run')


@pytest.mark.parametrize(
  'name', ['near', '1', '0.5:', '0:1', '-1:1', '1:nan', '1:inf', '1:2:3', '']
)
def test_what_is_no_pair_of_speeds_is_refused(tmp_path, name):
  with pytest.raises(
    UserError, match=r'input.perspective .*: known are alike, found, and TOP:BOTTOM'
  ):
    check_sizes(tiny(tmp_path, **FLOW_RUN, **{'input.perspective': name}))


@pytest.mark.parametrize('name', ['found', '0.5:1.2'])
def test_frames_have_no_speeds(tmp_path, name):
  with pytest.raises(UserError, match=r'only flow has speeds'):
    check_sizes(tiny(tmp_path, **{'input.perspective': name}))
