"""Runs on optical flow, and the sum of a run on frames and one on flow."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_json, write_json
from a3dcae_jax.common.optical_flow import flow_images
from a3dcae_jax.data.windows import test_windows as cut_windows
from a3dcae_jax.evaluation import combine
from a3dcae_jax.evaluation.baselines import FLOW, flow_baseline
from a3dcae_jax.evaluation.calibrate import load_calibrated
from a3dcae_jax.evaluation.mean_images import mean_flow, network_mean
from a3dcae_jax.run import session
from a3dcae_jax.run.networks import check_sizes
from a3dcae_jax.scoring.tables import read_scores
from tests.tiny_run import tiny

RUN = {
  'model.widths': (4, 4),
  'eval.divide_by_position': True,
  'train.steps': 2,
  'objective.adversarial_weight': 0.0,
}  # quick to compile
FLOW_RUN = RUN | {'frames.images': 'flow'}


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """A run on frames read at stride 2 and one on flow, of the same footage."""
  folder = tmp_path_factory.mktemp('flow')
  session.train_and_evaluate(tiny(folder, **RUN, **{'eval.stride': 2}), folder / 'frames')
  session.train_and_evaluate(tiny(folder, **FLOW_RUN), folder / 'flow')
  return folder


def test_a_run_on_flow_says_so_and_has_its_floor(runs):
  metrics = json.loads((runs / 'flow' / 'metrics.json').read_text())
  assert metrics['protocol']['error'] == 'eq13 of optical flow, divided by position'
  assert set(metrics['baselines']) == {'frame_difference', 'mean_image_distance', FLOW}
  frames = json.loads((runs / 'frames' / 'metrics.json').read_text())
  assert all(
    metrics['baselines'][name] == frames['baselines'][name] for name in frames['baselines']
  )  # they are of frames, whatever is reconstructed


def test_the_mean_image_and_the_floor_are_of_flow(runs):
  config = tiny(runs, **FLOW_RUN)
  cache = session.open_cache(config)
  saved = np.load(runs / 'flow' / 'mean_image.npy')
  np.testing.assert_array_equal(saved, network_mean(config, cache))
  blocks = [
    np.asarray(cache.train.frames[video.first + start : video.first + start + 16])
    for video in cache.train.videos
    for start in (0, 16)
  ]
  expected = np.mean(
    [
      np.asarray(flow_images(jnp.asarray(block[None] / np.float32(255))))[0].mean(0)
      for block in blocks
    ],
    0,
  )
  np.testing.assert_allclose(saved, expected, atol=1e-6)
  assert cache.mean_image(mean_flow) is cache.mean_image(mean_flow) and not np.allclose(
    cache.mean_image(), saved
  )

  windows = cut_windows(cache.test.videos, window=16)
  first = np.asarray(
    flow_images(jnp.asarray(cache.test.frames[windows.rows[0]][None] / np.float32(255)))
  )[0]
  baseline = flow_baseline(config, load_calibrated(config, runs / 'flow', cache), cache, windows)[
    FLOW
  ]
  np.testing.assert_allclose(baseline[:16], np.square(first - saved).mean((1, 2)), rtol=1e-4)


def test_the_sum_is_that_of_the_errors_by_their_training_means(runs):
  metrics = combine.evaluate_sum(
    [runs / 'frames', runs / 'flow'], runs / 'both', normalisation='minmax'
  )
  assert metrics['protocol']['normalisation'] == 'minmax'
  assert (
    metrics['protocol']['error']
    == 'sum of eq13 (stride 2) and eq13 of optical flow (stride 1), divided by position'
  )
  assert (
    metrics['train_errors']['mean'] == pytest.approx(2, rel=0.1)
    and metrics['regions'] is None
    and FLOW in metrics['baselines']
  )
  each = [
    np.concatenate(read_scores(runs / name / 'scores.csv')[1])
    for name in ('frames', 'flow', 'both')
  ]
  weights, residual, *_ = np.linalg.lstsq(np.stack(each[:2], 1), each[2], rcond=None)
  np.testing.assert_allclose(
    weights, 1, rtol=0.1
  )  # divided by place, each has a training mean of about 1
  np.testing.assert_allclose(np.stack(each[:2], 1) @ weights, each[2], rtol=1e-5)
  assert (runs / 'both' / 'report.html').exists() and set(
    json.loads((runs / 'both' / 'config.json').read_text())
  ) == {'sum'}
  with pytest.raises(
    UserError,
    match=r'both is no run but the sum of .*frames, .*flow: score it again by evaluate --sum',
  ):
    session.evaluate_again(runs / 'both')


def test_sums_that_mean_nothing_are_refused(runs, tmp_path):
  with pytest.raises(UserError, match='--sum takes two or more'):
    combine.evaluate_sum([runs / 'frames'], tmp_path / 'x')
  with pytest.raises(UserError, match='is a training run'):
    combine.evaluate_sum([runs / 'frames', runs / 'flow'], runs / 'flow')
  other = read_json(runs / 'flow' / 'config.json')
  other['data']['options']['frames_per_video'] = 32
  write_json(tmp_path / 'other' / 'config.json', other)
  with pytest.raises(UserError, match=r'--sum: frames and labels of .*other are'):
    combine.evaluate_sum([runs / 'frames', tmp_path / 'other'], tmp_path / 'x')
  assert not (tmp_path / 'x').exists()


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'frames.images': 'edges'}, "frames.images 'edges': known are frames, flow"),
    ({'frames.images': 'flow', 'eval.error': 'local'}, "eval.error 'local' finds motion in frames"),
  ],
)
def test_images_that_cannot_be_are_refused(tmp_path, changes, message):
  with pytest.raises(UserError, match=message):
    check_sizes(tiny(tmp_path, **changes))
