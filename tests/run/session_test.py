"""A whole run on tiny synthetic footage: what it leaves, how it resumes, what it refuses."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import CachedVideo
from a3dcae_jax.evaluation.calibrate import calibrated_stride, calibration_videos
from a3dcae_jax.evaluation.evaluate import error_name, evaluate_run
from a3dcae_jax.evaluation.summary import summary
from a3dcae_jax.run import session, train, workdir
from a3dcae_jax.run.datasets import prepare_data
from a3dcae_jax.scoring.schema import describe_follows
from a3dcae_jax.scoring.tables import read_scores
from a3dcae_jax.training.checkpoints import Checkpoints
from a3dcae_jax.training.hooks import Hook, read_metrics
from tests.tiny_run import tiny


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('runs')


@pytest.fixture(scope='module')
def finished(folder):
  """One run of 6 updates, never interrupted."""
  config = tiny(folder, **{'train.steps': 6})
  session.train_and_evaluate(config, folder / 'whole')
  return config, folder / 'whole'


def final_state(config, workdir_):
  checkpoints = Checkpoints(workdir_ / 'checkpoints')
  state, step = train.restore_or_init(config, checkpoints)
  checkpoints.close()
  return jax.device_get(state), step


def test_a_run_leaves_everything(finished):
  _, run = finished
  names = {
    'config.json',
    'checkpoints',
    'metrics.jsonl',
    'tensorboard',
    'mean_image.npy',
    'scores.csv',
    'metrics.json',
    'report.html',
    'provenance.json',
  }
  assert names <= {path.name for path in run.iterdir()}
  metrics = json.loads((run / 'metrics.json').read_text())
  assert (
    metrics['data']['frames'] == 80
    and metrics['checkpoint_step'] == 6
    and set(metrics['metrics']) == {'eq14', 'minmax', 'psnr', 'none', 'train'}
  )
  assert set(metrics['baselines']) == {'frame_difference', 'mean_image_distance'}
  follows = metrics['follows']
  assert set(follows['weights']) == set(metrics['baselines']) and 0 <= follows['r2'] <= 1
  assert all(
    describe_follows(metrics) in text
    for text in (
      summary(metrics),
      (run / 'report.html').read_text().replace('The error', 'the error'),
    )
  )
  names, errors, _, labels = read_scores(run / 'scores.csv')
  assert names == ['01', '02'] and [len(e) for e in errors] == [40, 40] and labels is not None
  assert f'{metrics["data"]["label_set"]}\n' in (run / 'scores.csv').read_text()
  assert [row['step'] for row in read_metrics(run / 'metrics.jsonl')] == [1, 2, 3, 4, 5, 6]
  assert np.load(run / 'mean_image.npy').shape == (32, 32)


def test_strided_and_averaged_windows_score_every_frame(folder, finished, tmp_path):
  config, run = finished
  for name in ('checkpoints', 'config.json', 'mean_image.npy', 'metrics.jsonl', 'provenance.json'):
    (tmp_path / name).symlink_to(run / name)
  config = tiny(
    folder,
    **{
      'train.steps': 6,
      'eval.stride': 3,
      'eval.every_frames': 8,  # 40 frames have room for 2
      'eval.divide_by_position': True,
    },
  )
  cache = prepare_data(**config.data)
  metrics = evaluate_run(config, tmp_path, cache)
  assert (
    calibrated_stride(config, cache) == 2
  )  # what a bundle says: by it the camera's windows must be cut
  assert metrics['protocol']['stride'] == 3 and metrics['protocol']['every_frames'] == 8
  _, errors, _, _ = read_scores(tmp_path / 'scores.csv')
  _, plain, _, _ = read_scores(run / 'scores.csv')
  assert [len(e) for e in errors] == [40, 40] and not np.allclose(errors[0], plain[0])
  assert (
    'windows of 16 frames, 3 apart (2 in 01, 2 in 02), one every 8, averaged'
    in (tmp_path / 'report.html').read_text()
  )
  assert metrics['metrics'] == metrics['by_position'] != metrics['undivided']
  assert 'not divided by position' in summary(metrics)


def test_what_calibrates_is_cut_as_what_is_scored():
  videos = [CachedVideo('a', 0, 40, ''), CachedVideo('b', 40, 20, ''), CachedVideo('c', 60, 90, '')]
  chosen = calibration_videos(videos, max_windows=100, window=16, stride=2)
  assert [video.name for video in chosen] == ['a', 'c']  # b has fewer than 32 frames
  chosen = calibration_videos(videos, max_windows=10, window=16, every_frames=4, stride=2)
  assert [(video.name, video.num_frames) for video in chosen] == [('a', 40)]
  assert [
    video.name for video in calibration_videos(videos, max_windows=100, window=16, stride=6)
  ] == ['c']  # at stride 5
  with pytest.raises(UserError, match=r'the longest has 0 frames, fewer than the window \(=16\)'):
    calibration_videos([], max_windows=10, window=16)
  with pytest.raises(UserError, match=r'the longest has 90 frames, fewer than the window \(=91\)'):
    calibration_videos(videos, max_windows=100, window=91)


def test_videos_too_short_for_the_windows_are_refused_before_training(folder, tmp_path):
  with pytest.raises(
    UserError, match=r'test video 01 has 40 frames, fewer than the window \(=48\)'
  ):
    session.train_and_evaluate(tiny(folder, **{'clips.window': 48}), tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


class Interrupt(Hook):
  def __init__(self, at):
    self.at = at

  def on_step(self, step, state):
    if step >= self.at:
      raise KeyboardInterrupt


def test_an_interrupted_run_ends_bit_equal(folder, finished):
  config, whole = finished
  run = folder / 'interrupted'
  cache = prepare_data(**config.data)
  workdir.claim(run, config)
  with pytest.raises(KeyboardInterrupt):
    train.train(config, run, cache, hooks=[Interrupt(4)])
  assert final_state(config, run)[1] == 4
  assert train.train(config, run, cache) == 6
  (expected, _), (got, step) = final_state(config, whole), final_state(config, run)
  assert step == 6
  jax.tree.map(np.testing.assert_array_equal, expected, got)
  assert read_metrics(run / 'metrics.jsonl') == read_metrics(whole / 'metrics.jsonl')


def test_a_run_from_before_a_field_was_there_goes_on(folder):
  config, run = tiny(folder), folder / 'older'
  workdir.claim(run, config)
  older = json.loads((run / 'config.json').read_text())
  del (
    older['optimizer']['schedule'],
    older['data']['mean_image'],
    older['model']['output_gain'],
    older['model']['bn_scale_init'],
    older['frames'],
  )
  (run / 'config.json').write_text(json.dumps(older))
  with pytest.raises(UserError, match="optimizer.schedule is 'constant' there, 'cosine' here"):
    workdir.claim(run, tiny(folder, **{'optimizer.schedule': 'cosine'}))
  with pytest.raises(UserError, match='model.bn_scale_init is 1.0 there, 0.2 here'):
    workdir.claim(run, tiny(folder, **{'model.bn_scale_init': 0.2}))
  with pytest.raises(UserError, match='frames.target_rms is 0.0 there, 0.04 here'):
    workdir.claim(run, tiny(folder, **{'frames.target_rms': 0.04}))
  with pytest.raises(UserError, match='model.output_gain is 1.0 there, 0.04 here'):
    workdir.claim(run, tiny(folder, **{'model.output_gain': 0.04}))
  workdir.claim(run, config)


def test_streamed_feeding_trains_the_same_parameters(folder, finished):
  config, whole = finished
  streamed = tiny(folder, **{'train.steps': 6, 'train.input_pipeline': 'streaming'})
  train.train(streamed, folder / 'streaming', prepare_data(**config.data))
  jax.tree.map(
    np.testing.assert_array_equal,
    final_state(config, whole)[0],
    final_state(config, folder / 'streaming')[0],
  )


def test_evaluating_again_gives_the_same_files(finished):
  _, run = finished
  before = (run / 'scores.csv').read_bytes()
  session.evaluate_again(run)
  assert (run / 'scores.csv').read_bytes() == before
  session.evaluate_again(run, normalisation='train')
  assert json.loads((run / 'metrics.json').read_text())['protocol']['normalisation'] == 'train'


def test_a_foreign_workdir_is_refused_by_field(folder, finished):
  with pytest.raises(UserError, match=r'belongs to another config: seed is 0 there, 5 here'):
    session.train_and_evaluate(tiny(folder, seed=5), finished[1])


def test_a_run_may_be_scored_by_other_labels(tmp_path):
  """Labels train nothing: the same workdir takes another set of them, and errors computed otherwise."""
  workdir.claim(tmp_path, tiny(tmp_path))
  workdir.claim(tmp_path, tiny(tmp_path, **{'data.label_set': 'other', 'eval.error': 'local'}))
  assert workdir.read_config(tmp_path).data.label_set == 'other'


def test_a_bad_loss_names_its_step_and_keeps_the_checkpoint(folder, finished):
  config = tiny(
    folder,
    **{
      'optimizer.learning_rate': 1e30,
      'train.steps': 8,
      'train.log_every_steps': 1,
      'train.checkpoint_every_steps': 1,
    },
  )
  with pytest.raises(
    UserError, match=r'training stopped: .* not finite at step \d+; the last good checkpoint'
  ):
    train.train(config, folder / 'bad', prepare_data(**config.data))


@pytest.mark.parametrize(
  'field, value, message',
  [
    ('data.height', 50, r'data.height \(=50\) must be a multiple of 16'),
    ('clips.window', 12, r'clips.window \(=12\) must be a multiple of 8'),
    ('frames.target_rms', -0.1, r'frames.target_rms \(=-0.1\) must be between 0 and 1'),
    ('train.batch_size', 0, r'train.batch_size \(=0\) must be positive'),
  ],
)
def test_impossible_sizes_are_named(folder, field, value, message):
  with pytest.raises(UserError, match=message):
    session.train_and_evaluate(tiny(folder, **{field: value}), folder / 'never')
  assert not (folder / 'never').exists()


def test_a_protocol_names_what_its_errors_are_of(folder):
  """Two runs whose errors are in different units do not stand under one name."""
  assert error_name(tiny(folder)) == 'eq13'
  assert (
    error_name(tiny(folder, **{'frames.target_rms': 0.04}))
    == 'eq13, frames normalised to target_rms 0.04'
  )


def test_held_out_videos_calibrate(folder, finished):
  config = tiny(
    folder,
    **{
      'train.holdout_videos': 1,
      'train.steps': 2,
      'eval.error': 'smoothed',
      'eval.smoothing_frames': 2.0,
      'eval.smoothing_mode': 'causal',
      'eval.threshold_rule': 'rate',
      'eval.threshold_value': 100.0,
    },
  )
  session.train_and_evaluate(config, folder / 'holdout')
  metrics = json.loads((folder / 'holdout' / 'metrics.json').read_text())
  assert (
    metrics['train_errors']['held_out']
    and metrics['train_errors']['frames'] == 40
    and metrics['protocol']['smoothing_mode'] == 'causal'
  )
  config.eval.error = 'local'  # the same checkpoint by another error
  evaluate_run(config, folder / 'holdout', prepare_data(**config.data))
  metrics = json.loads((folder / 'holdout' / 'metrics.json').read_text())
  assert metrics['protocol']['error'] == 'local, surprise 0.25 of what moves' and np.load(
    folder / 'holdout' / 'usual.npy'
  ).shape == (2, 16, 16)
  assert 0.2 < metrics['train_errors']['mean'] < 20  # about 1 is usual
  with pytest.raises(UserError, match='must leave some of the 2 training videos'):
    train.trained_on(('a', 'b'), 2)


def test_no_test_videos_is_said(folder, finished):
  config, _ = finished
  cache = prepare_data(**config.data)
  empty = dataclasses.replace(cache, test=dataclasses.replace(cache.test, videos=()))
  with pytest.raises(UserError, match='no test videos'):
    evaluate_run(config, folder / 'whole', empty)


def test_evaluating_what_is_no_run(tmp_path):
  with pytest.raises(UserError, match='is no run'):
    session.evaluate_again(tmp_path)
