"""A whole run on tiny synthetic videos: its files, resuming it, its errors."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_json, write_json
from a3dcae_jax.evaluation.calibrate import find_input_statistics
from a3dcae_jax.evaluation.calibration import Calibration, InputStatistics
from a3dcae_jax.evaluation.mean_images import mean_image_ids
from a3dcae_jax.run import evaluate as run_evaluate
from a3dcae_jax.run import export as run_export
from a3dcae_jax.run import session, train, workdir
from a3dcae_jax.run.clip_feed import TrainingData, clip_feed
from a3dcae_jax.run.datasets import open_cache
from a3dcae_jax.run.overrides import Changes
from a3dcae_jax.scoring.tables import read_scores
from a3dcae_jax.training.checkpoints import Checkpoints, restore_or_init
from a3dcae_jax.training.hooks import Hook, read_metrics
from tests.tiny_run import tiny


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('runs')


@pytest.fixture(scope='module')
def finished(folder):
  """Return settings and folder of a run of 6 updates without interruption."""
  settings = tiny(folder, **{'train.steps': 6})
  session.train_and_evaluate(settings, folder / 'whole')
  return settings, folder / 'whole'


@pytest.fixture
def copied(finished, tmp_path):
  """Copy the finished run, for tests that change it."""
  settings, run = finished
  shutil.copytree(run, tmp_path / 'run')
  return settings, tmp_path / 'run'


def training_feed(settings):
  """Return the training examples of a run as `session` makes them."""
  cache = open_cache(settings.data)
  inputs = find_input_statistics(settings.data.mean_image, settings.input, cache)
  ids = mean_image_ids(settings.data.mean_image, inputs.names, 'train', cache.train.videos)
  return clip_feed(settings, TrainingData(cache.train, inputs, ids))


def final_state(settings, run):
  """Return the state and the step of a run's newest checkpoint."""
  checkpoints = Checkpoints(run / 'checkpoints')
  state, step = restore_or_init(checkpoints, lambda: train.fresh_state(settings))
  checkpoints.close()
  return jax.device_get(state), step


def metrics_of(run):
  return json.loads((run / 'metrics.json').read_text())


def test_a_set_that_is_made_needs_no_download(folder, finished, capsys):
  session.prepare_and_show(finished[0], download=True)
  assert 'nothing to download' in capsys.readouterr().out


def test_a_run_writes_all_its_files(finished):
  settings, run = finished
  names = {
    'config.json',
    'checkpoints',
    'calibration',
    'metrics.jsonl',
    'tensorboard',
    'scores.csv',
    'metrics.json',
    'report.html',
    'provenance.json',
  }
  assert names <= {path.name for path in run.iterdir()}
  metrics = metrics_of(run)
  assert metrics['data']['frames'] == 80
  assert metrics['checkpoint_step'] == 6
  assert set(metrics['metrics']) == {'eq14', 'minmax', 'psnr', 'raw', 'zscore'}
  assert set(metrics['baselines']) == {'frame_difference', 'mean_image_distance'}
  weights = metrics['rank_regression']['weights']
  assert set(weights) == set(metrics['baselines'])
  names, errors, _, labels = read_scores(run / 'scores.csv')
  assert names == ['01', '02']
  assert [len(video) for video in errors] == [40, 40]
  assert labels is not None
  assert [row['step'] for row in read_metrics(run / 'metrics.jsonl')] == [1, 2, 3, 4, 5, 6]
  assert InputStatistics.load(run, settings.data).frame_means.shape == (1, 32, 32)


def test_strided_and_averaged_windows_score_every_frame(finished, copied):
  _, original = finished
  settings, run = copied
  options = dataclasses.replace(settings.eval, stride=3, window_step=8, per_position=True)
  settings = dataclasses.replace(settings, eval=options)
  metrics = run_evaluate.evaluate_run(settings, run, open_cache(settings.data))
  windows = metrics['protocol']['runs'][0]['windows']
  assert windows == {
    'frames': 16,
    'step_frames': 8,
    'stride': 3,
    'shorter_strides': {'01': 2, '02': 2},  # 40 frames allow stride 2
    'averaging': 'mean',
  }
  _, errors, _, _ = read_scores(run / 'scores.csv')
  _, plain, _, _ = read_scores(original / 'scores.csv')
  assert [len(video) for video in errors] == [40, 40]
  assert not np.allclose(errors[0], plain[0])
  assert metrics['metrics'] != metrics['other_calibration']['metrics']
  assert not metrics['other_calibration']['per_position']
  assert json.loads((run / 'calibration' / 'calibration.json').read_text())['stride'] == 2


def test_videos_too_short_for_the_windows_are_refused_before_training(folder, tmp_path):
  settings = tiny(folder, **{'clips.window': 48})
  with pytest.raises(UserError, match=r'clips.window=48.* scored: 01 \(40\), 02 \(40\);'):
    session.train_and_evaluate(settings, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_holding_out_every_video_is_refused_before_training(folder, tmp_path):
  settings = tiny(folder, **{'train.holdout_videos': 2})
  with pytest.raises(UserError, match='must leave some of the 2 training videos'):
    session.train_and_evaluate(settings, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


class Interrupt(Hook):
  """A hook that ends a run as Ctrl-C does."""

  def __init__(self, at):
    self.at = at

  def on_step(self, step, state):
    if step >= self.at:
      raise KeyboardInterrupt


def test_an_interrupted_run_ends_equal_to_the_bit(folder, finished):
  settings, whole = finished
  run = folder / 'interrupted'
  data = training_feed(settings)
  with pytest.raises(KeyboardInterrupt):
    train.train(settings, run, data, hooks=[Interrupt(4)])
  assert final_state(settings, run)[1] == 4
  assert train.train(settings, run, data) == 6
  expected, _ = final_state(settings, whole)
  got, step = final_state(settings, run)
  assert step == 6
  jax.tree.map(np.testing.assert_array_equal, expected, got)
  assert read_metrics(run / 'metrics.jsonl') == read_metrics(whole / 'metrics.jsonl')


def test_both_input_pipelines_train_the_same_parameters(folder, finished):
  settings, whole = finished
  streaming = tiny(folder, **{'train.steps': 6, 'train.input_pipeline': 'streaming'})
  train.train(streaming, folder / 'streaming', training_feed(settings))
  expected, _ = final_state(settings, whole)
  got, _ = final_state(settings, folder / 'streaming')
  jax.tree.map(np.testing.assert_array_equal, expected, got)


def test_evaluating_again_gives_the_same_files(copied):
  _, run = copied
  before = (run / 'scores.csv').read_bytes()
  run_evaluate.evaluate_again(run)
  assert (run / 'scores.csv').read_bytes() == before
  run_evaluate.evaluate_again(run, Changes(normalisation='zscore'))
  assert metrics_of(run)['protocol']['normalisation'] == 'zscore'


def test_evaluating_again_reads_no_training_frames(copied, tmp_path):
  settings, run = copied
  before = (run / 'scores.csv').read_bytes()
  cache = open_cache(settings.data)
  shutil.copytree(cache.folder, tmp_path / 'cache')
  (tmp_path / 'cache' / 'train.npy').unlink()
  data = dataclasses.replace(settings.data, cache=str(tmp_path / 'cache'))
  settings = dataclasses.replace(settings, data=data)
  run_evaluate.evaluate_run(settings, run, open_cache(settings.data, ('test',)))
  assert (run / 'scores.csv').read_bytes() == before


def test_an_override_changes_the_scores_and_not_the_config(copied):
  _, run = copied
  before = (run / 'config.json').read_bytes()
  metrics = run_evaluate.evaluate_again(
    run, Changes(overrides={'eval.smoothing_frames': '2', 'eval.per_position': 'true'})
  )
  assert metrics['protocol']['smoothing']['frames'] == 2
  assert metrics['protocol']['runs'][0]['per_position']
  assert (run / 'config.json').read_bytes() == before
  for overrides, message in (
    ({'train.steps': '3'}, 'train.steps cannot be changed'),
    ({'eval.foo': '3'}, 'no field eval.foo'),
    ({'eval.foo.bar': '1'}, 'no field eval.foo.bar'),
    ({'eval.stride.x': '1'}, 'no field eval.stride.x'),
    ({'eval.error': '{[]:1}'}, r"eval.error '{\[\]:1}': known are eq13"),
    ({'eval.smoothing_frames': '1e9'}, 'eval.smoothing_frames .* at most 1000'),
    ({'eval.stride': 'x'}, r'eval.stride \(=.x.\) must be of type int'),
  ):
    with pytest.raises(UserError, match=message):
      run_evaluate.evaluate_again(run, Changes(overrides=overrides))


def test_settings_of_the_evaluation_may_change_and_config_json_stays(copied, folder):
  _, run = copied
  before = (run / 'config.json').read_bytes()
  settings = tiny(
    folder, **{'train.steps': 6, 'eval.error': 'local', 'eval.calibration_windows': 4}
  )
  metrics = session.train_and_evaluate(settings, run)
  assert metrics['protocol']['runs'][0]['error']['kind'] == 'local'
  assert (run / 'config.json').read_bytes() == before
  calibration = read_json(run / 'calibration' / 'calibration.json')
  assert np.shape(calibration['motion_statistics']) == (2, 16, 16)
  assert 0.2 < metrics['calibration']['mean'] < 20  # errors are relative to reference ones


def test_a_workdir_of_another_config_is_refused(folder, finished):
  with pytest.raises(UserError, match='belongs to another config: seed is 0 there, 5 here'):
    session.train_and_evaluate(tiny(folder, seed=5), finished[1])


def test_a_workdir_that_checkpoints_cannot_be_read_from_is_refused(folder, tmp_path):
  with pytest.raises(UserError, match='has a backslash, which Orbax reads as a slash'):
    session.train_and_evaluate(tiny(folder), tmp_path / 'C:\\runs')
  assert not list(tmp_path.iterdir())


def begun(run, settings):
  """Make the folder of a run with a checkpoint."""
  workdir.init_or_check_workdir(run, settings)
  (run / 'checkpoints' / '1').mkdir(parents=True)


def test_a_folder_without_a_checkpoint_takes_another_config(tmp_path):
  workdir.init_or_check_workdir(tmp_path, tiny(tmp_path))
  other = tiny(tmp_path, **{'train.batch_size': 2})
  workdir.init_or_check_workdir(tmp_path, other)
  assert workdir.read_config(tmp_path) == other


def test_a_start_that_fails_leaves_nothing(folder, tmp_path):
  """The corrected command must not find a folder of another config."""
  for changes, message in (
    ({'clips.strides': (100,)}, r'no training clip.* at stride 100 .*needs 1501'),
    ({'train.batch_size': 3}, 'divisible by the number of devices'),
  ):
    if jax.device_count() == 1 and 'train.batch_size' in changes:
      continue
    with pytest.raises(UserError, match=message):
      session.train_and_evaluate(tiny(folder, **changes), tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_too_little_memory_is_reported_in_one_line(folder, tmp_path, monkeypatch):
  def fail(*_, **__):
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory')

  monkeypatch.setattr(train, 'fit', fail)
  settings = tiny(folder, **{'loss.adversarial_weight': 0.0})
  with pytest.raises(UserError, match=r'out of memory: lower train.batch_size \(=4\)'):
    train.train(settings, tmp_path / 'run', training_feed(settings))


def test_steps_may_grow_only_under_a_constant_rate(tmp_path):
  """The cosine schedule depends on the number of updates."""
  constant = tiny(tmp_path)
  begun(tmp_path / 'constant', constant)
  more = tiny(tmp_path, **{'train.steps': 8, 'data.label_set': 'other', 'eval.error': 'local'})
  workdir.init_or_check_workdir(tmp_path / 'constant', more)
  assert workdir.read_config(tmp_path / 'constant') == constant
  cosine = {'optimizer.schedule': 'cosine'}
  begun(tmp_path / 'cosine', tiny(tmp_path, **cosine))
  with pytest.raises(UserError, match='train.steps is 4 there, 8 here'):
    workdir.init_or_check_workdir(
      tmp_path / 'cosine', tiny(tmp_path, **cosine, **{'train.steps': 8})
    )


@pytest.mark.parametrize('name', ['labels', 'hasan_labels'])
def test_a_label_file_may_change(tmp_path, name):
  settings = tiny(tmp_path)

  def with_labels(path):
    data = dataclasses.replace(settings.data, options={name: path, 'frames': 1})
    return dataclasses.replace(settings, data=data)

  begun(tmp_path / 'run', with_labels(''))
  workdir.init_or_check_workdir(tmp_path / 'run', with_labels('labels.csv'))
  other = dataclasses.replace(settings.data, options={name: '', 'frames': 2})
  with pytest.raises(UserError, match='data.options.frames is 1 there, 2 here'):
    workdir.init_or_check_workdir(tmp_path / 'run', dataclasses.replace(settings, data=other))


def test_other_training_frames_are_refused(copied):
  settings, run = copied
  inputs = InputStatistics.load(run, settings.data)
  dataclasses.replace(inputs, train_sha256='0' * 64).save(run)
  with pytest.raises(UserError, match='other training frames'):
    session.train_and_evaluate(settings, run)


def test_a_damaged_calibration_is_refused_and_made_again_once_removed(copied):
  _, run = copied
  path = run / 'calibration' / 'calibration.json'
  expected = read_json(path)
  write_json(path, expected | {'stride': 2})
  with pytest.raises(UserError, match='calibration.json is damaged .*SHA-256 differs.*remove it'):
    run_evaluate.evaluate_again(run)
  path.unlink()
  run_evaluate.evaluate_again(run)
  assert read_json(path) == expected
  (run / 'calibration' / 'inputs.npz').write_bytes(b'nothing')
  with pytest.raises(UserError, match='inputs.npz'):
    run_evaluate.evaluate_again(run)
  (run / 'calibration' / 'inputs.npz').unlink()
  with pytest.raises(UserError, match='inputs.npz does not exist'):
    run_evaluate.evaluate_again(run)


def test_a_calibration_keeps_every_digit(finished):
  _, run = finished
  values = read_json(run / 'calibration' / 'calibration.json')
  del values['sha256']
  again = Calibration.from_json(values).to_json()
  assert json.loads(json.dumps(again)) == values


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_its_step_and_keeps_the_checkpoint(folder):
  settings = tiny(
    folder,
    **{
      'optimizer.learning_rate': 1e30,
      'train.steps': 8,
      'train.log_every_steps': 1,
      'train.checkpoint_every_steps': 1,
    },
  )
  message = r'training stopped: .* not finite at step \d+; .*(has no|keeps the) checkpoint'
  with pytest.raises(UserError, match=message):
    train.train(settings, folder / 'bad', training_feed(settings))


def test_held_out_videos_calibrate(folder):
  settings = tiny(
    folder,
    **{
      'train.holdout_videos': 1,
      'train.steps': 2,
      'eval.smoothing_frames': 2.0,
      'eval.smoothing_mode': 'causal',
      'events.threshold_rule': 'rate',
      'events.threshold_value': 100.0,
    },
  )
  metrics = session.train_and_evaluate(settings, folder / 'holdout')
  assert metrics['calibration']['frames'] == 40
  assert metrics['protocol']['runs'][0]['calibrated_on'] == 'held-out videos'
  assert metrics['protocol']['smoothing'] == {
    'frames': 2.0,
    'mode': 'causal',
    'of': 'scores',
  }


def test_a_set_without_test_videos_cannot_be_evaluated(finished):
  settings, run = finished
  cache = open_cache(settings.data)
  empty = dataclasses.replace(cache, test=dataclasses.replace(cache.test, videos=()))
  with pytest.raises(UserError, match='no test videos'):
    run_evaluate.evaluate_run(settings, run, empty)


def test_a_missing_provenance_is_named_before_anything_is_scored(copied, tmp_path, monkeypatch):
  _, run = copied
  (run / 'provenance.json').unlink()
  monkeypatch.setattr(run_evaluate, 'load_scorer', lambda *_: pytest.fail('scored'))
  monkeypatch.setattr(run_export, 'load_scorer', lambda *_: pytest.fail('scored'))
  for command in (
    lambda: run_evaluate.evaluate_again(run),
    lambda: run_evaluate.evaluate_sum([run, run], tmp_path / 'sum'),
    lambda: run_export.export_run(run, tmp_path / 'bundle'),
  ):
    with pytest.raises(UserError, match=r'provenance.json does not exist; main .* writes it anew'):
      command()


def test_a_folder_that_is_no_frame_cache_is_refused(tmp_path):
  settings = tiny(tmp_path, **{'data.cache': str(tmp_path)})
  with pytest.raises(UserError, match=r'^data.cache \(=.*\) is not a frame cache'):
    open_cache(settings.data)


def test_a_damaged_index_of_a_cache_is_named(tmp_path):
  cache = open_cache(tiny(tmp_path).data)
  path = cache.folder / 'index.json'
  whole = path.read_bytes()
  for harm in (lambda index: [], lambda index: index | {'splits': {'train': 3, 'test': 3}}):
    write_json(path, harm(json.loads(whole)))
    with pytest.raises(UserError, match='index.json is damaged'):
      open_cache(tiny(tmp_path).data)


def test_only_a_run_can_be_evaluated(tmp_path):
  with pytest.raises(UserError, match='is not a run'):
    run_evaluate.evaluate_again(tmp_path)
  (tmp_path / 'config.json').write_text('{"seed": 0}')
  with pytest.raises(UserError, match=r'config.json: .*missing'):
    run_evaluate.evaluate_again(tmp_path)
