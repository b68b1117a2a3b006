"""Runs on optical flow, and the sum of a run on frames and one on flow."""

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_json, write_json
from a3dcae_jax.common.optical_flow import flow_images
from a3dcae_jax.data.windows import test_windows as cut_windows
from a3dcae_jax.evaluation import calibrate
from a3dcae_jax.evaluation.baselines import FLOW_BASELINE, flow_baseline
from a3dcae_jax.evaluation.calibration import InputStatistics
from a3dcae_jax.evaluation.program import make_recipe
from a3dcae_jax.run import evaluate as run_evaluate
from a3dcae_jax.run import session, workdir
from a3dcae_jax.run.datasets import open_cache
from a3dcae_jax.run.overrides import Changes
from a3dcae_jax.scoring.tables import read_scores
from tests.tiny_run import tiny

pytestmark = pytest.mark.slow

RUN = {  # quick to compile
  'model.widths': (4, 4),
  'eval.per_position': True,
  'train.steps': 2,
  'loss.adversarial_weight': 0.0,
}
FLOW_RUN = RUN | {'input.kind': 'flow'}


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """Train a run on frames, scored at stride 2, and a run on flow of the same videos."""
  folder = tmp_path_factory.mktemp('flow')
  session.train_and_evaluate(tiny(folder, **RUN, **{'eval.stride': 2}), folder / 'frames')
  session.train_and_evaluate(tiny(folder, **FLOW_RUN), folder / 'flow')
  return folder


def flow_of(frames):
  return np.asarray(flow_images(jnp.asarray(frames[None] / np.float32(255))))[0]


def test_a_run_on_flow_has_a_baseline_on_flow(runs):
  metrics = read_json(runs / 'flow' / 'metrics.json')
  assert metrics['protocol']['runs'][0]['input']['kind'] == 'flow'
  frames = read_json(runs / 'frames' / 'metrics.json')
  assert set(metrics['baselines']) == {*frames['baselines'], FLOW_BASELINE}
  # Baselines on frames do not depend on the input of the networks.
  for name, figures in frames['baselines'].items():
    assert metrics['baselines'][name] == figures


def test_the_mean_image_and_the_baseline_are_computed_from_flow(runs):
  settings = tiny(runs, **FLOW_RUN)
  cache = open_cache(settings.data)
  inputs = InputStatistics.load(runs / 'flow', settings.data)
  blocks = [
    np.asarray(cache.train.frames[video.first + start : video.first + start + 16])
    for video in cache.train.videos
    for start in (0, 16)
  ]
  expected = np.mean([flow_of(block).mean(0) for block in blocks], 0)
  mean = inputs.input_means[0]
  np.testing.assert_allclose(mean, expected, atol=1e-6)
  assert not np.allclose(inputs.frame_means[0], mean)
  windows = cut_windows(cache.test.videos, window=16)
  recipe = make_recipe(settings, inputs.row_scale)
  baseline = flow_baseline(recipe, inputs, cache.test, windows, np.zeros(2, np.int32))
  first = flow_of(cache.test.frames[windows.rows[0]])
  expected = np.square(first - mean).mean((1, 2))
  np.testing.assert_allclose(baseline[FLOW_BASELINE][:16], expected, rtol=1e-4)


def test_a_sum_adds_errors_divided_by_their_training_means(runs):
  folders = [runs / 'frames', runs / 'flow']
  metrics = run_evaluate.evaluate_sum(folders, runs / 'both', Changes(normalisation='minmax'))
  assert metrics['protocol']['normalisation'] == 'minmax'
  kinds = [run['input']['kind'] for run in metrics['protocol']['runs']]
  strides = [run['windows']['stride'] for run in metrics['protocol']['runs']]
  assert (kinds, strides) == (['frames', 'flow'], [2, 1])
  assert metrics['calibration']['mean'] == pytest.approx(2, rel=0.1)
  assert metrics['regions'] is None
  assert FLOW_BASELINE in metrics['baselines']
  each = [
    np.concatenate(read_scores(runs / name / 'scores.csv')[1])
    for name in ('frames', 'flow', 'both')
  ]
  parts = np.stack(each[:2], 1)
  weights, *_ = np.linalg.lstsq(parts, each[2], rcond=None)
  np.testing.assert_allclose(weights, 1, rtol=0.1)  # the training means are about 1
  np.testing.assert_allclose(parts @ weights, each[2], rtol=1e-5)
  assert (runs / 'both' / 'report.html').exists()
  assert set(read_json(runs / 'both' / 'config.json')) == {'sum'}
  with pytest.raises(UserError, match='is not a run but the sum of .*frames, .*flow'):
    run_evaluate.evaluate_again(runs / 'both')


def test_sums_of_unlike_runs_are_refused(runs, tmp_path):
  with pytest.raises(UserError, match='--sum takes two or more'):
    run_evaluate.evaluate_sum([runs / 'frames'], tmp_path / 'x')
  with pytest.raises(UserError, match='is a training run'):
    run_evaluate.evaluate_sum([runs / 'frames', runs / 'flow'], runs / 'flow')
  other = read_json(runs / 'flow' / 'config.json')
  other['data']['options']['frames_per_video'] = 32
  write_json(tmp_path / 'other' / 'config.json', other)
  with pytest.raises(UserError, match='--sum: frames or labels of .*other'):
    run_evaluate.evaluate_sum([runs / 'frames', tmp_path / 'other'], tmp_path / 'x')
  assert not (tmp_path / 'x').exists()


def test_the_perspective_of_a_run_is_fitted_once(tmp_path, monkeypatch):
  settings = tiny(tmp_path, **FLOW_RUN, **{'input.perspective': 'auto'})
  monkeypatch.setattr(calibrate, 'find_row_scale', lambda frames, videos: (0.5, 1.3))
  session.train_and_evaluate(settings, tmp_path / 'run')
  assert InputStatistics.load(tmp_path / 'run', settings.data).row_scale == (0.5, 1.3)
  assert workdir.read_config(tmp_path / 'run') == settings
  monkeypatch.setattr(
    calibrate, 'find_row_scale', lambda frames, videos: pytest.fail('found again')
  )
  session.train_and_evaluate(settings, tmp_path / 'run')  # already trained: only scored again
  run_evaluate.evaluate_again(tmp_path / 'run')
  assert InputStatistics.load(tmp_path / 'run', settings.data).row_scale == (0.5, 1.3)
