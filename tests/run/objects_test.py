"""A whole run on objects: training, resuming, evaluating, its report."""

import csv
import dataclasses
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.run import evaluate as run_evaluate
from a3dcae_jax.run import export as run_export
from a3dcae_jax.run import session, train
from a3dcae_jax.run.datasets import open_cache
from a3dcae_jax.run.object_feed import object_batches, object_feed, training_objects
from a3dcae_jax.run.objects import parts_of, selected_boxes
from a3dcae_jax.run.overrides import Changes
from a3dcae_jax.scoring.tables import read_scores
from a3dcae_jax.serving.bundle import load_bundle
from a3dcae_jax.serving.stream import StreamScorer
from a3dcae_jax.training import parallel
from a3dcae_jax.training.checkpoints import Checkpoints, restore_or_init
from tests.tiny_run import tiny

FRAMES = 40


def write_boxes(path):
  """Write two moving boxes per frame, and none in every tenth frame."""
  with open(path, 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['video', 'frame', 'x1', 'y1', 'x2', 'y2', 'score', 'class'])
    for split in ('train', 'test'):
      for video in ('01', '02'):
        for frame in range(FRAMES):
          if frame % 10:
            shift = frame / 4
            writer.writerow([f'{split}/{video}', frame, shift, 4, shift + 10, 20, 0.9, 0])
            writer.writerow([f'{split}/{video}', frame, 20 - shift / 2, 10, 31, 30, 0.8, 0])


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('objects')
  write_boxes(folder / 'boxes.csv')
  return folder


def settings_in(folder, **changes):
  values = {
    'clips.window': 4,
    'clips.strides': (1,),
    'objects.detector': str(folder / 'boxes.csv'),
    'objects.crop_px': 8,
    'model.widths': (2, 3, 4),
    'model.discriminator_widths': (2, 2),
    'input.kind': 'frames_and_differences',
    'loss.adversarial_weight': 0.0,
    'eval.object_weights': (0.5, 0.25, 1.0),
    'eval.smoothing_frames': 2.0,
  }
  return tiny(folder, **(values | changes))


@pytest.fixture(scope='module')
def finished(folder):
  settings = settings_in(folder)
  session.train_and_evaluate(settings, folder / 'whole')
  return settings, folder / 'whole'


def feed_of(settings):
  cache = open_cache(settings.data)
  return object_feed(settings, cache.train, selected_boxes(settings.objects, cache, 'train'))


def final_state(settings, run):
  checkpoints = Checkpoints(run / 'checkpoints')
  state, step = restore_or_init(checkpoints, lambda: train.fresh_state(settings))
  checkpoints.close()
  return jax.device_get(state), step


def test_a_run_scores_every_frame_and_reports_its_parts(finished):
  _, run = finished
  names, errors, _, _ = read_scores(run / 'scores.csv')
  assert names == ['01', '02']
  assert [len(video) for video in errors] == [FRAMES, FRAMES]
  for video in errors:
    assert (video[::10] == 0).all()  # frames without objects
    assert video.min() == 0
  metrics = json.loads((run / 'metrics.json').read_text())
  assert metrics['other_calibration'] is None
  assert set(metrics['parts']) == {
    'appearance alone',
    'motion alone',
    'speed alone',
    'without appearance',
    'without motion',
    'without speed',
  }
  objects = metrics['protocol']['runs'][0]['objects']
  assert objects['weights'] == {'appearance': 0.5, 'motion': 0.25, 'speed': 1.0}
  assert 'Most abnormal objects' in (run / 'report.html').read_text()


@pytest.mark.slow
def test_a_run_that_resumes_ends_equal_to_the_bit(folder, finished):
  settings, whole = finished
  run = folder / 'resumed'
  first_half = dataclasses.replace(settings, train=dataclasses.replace(settings.train, steps=2))
  train.train(first_half, run, feed_of(settings))
  train.train(settings, run, feed_of(settings))
  expected, _ = final_state(settings, whole)
  state, step = final_state(settings, run)
  assert step == settings.train.steps
  jax.tree.map(np.testing.assert_array_equal, state, expected)


@pytest.mark.slow
def test_streamed_batches_train_to_the_same_bits(folder, finished):
  settings, whole = finished
  streaming = settings_in(folder, **{'train.input_pipeline': 'streaming'})
  train.train(streaming, folder / 'streaming', feed_of(streaming))
  expected, _ = final_state(settings, whole)
  state, _ = final_state(settings, folder / 'streaming')
  jax.tree.map(np.testing.assert_array_equal, state, expected)


def test_batches_depend_on_seed_and_step_alone(finished):
  settings, _ = finished
  split = open_cache(settings.data).train
  boxes = selected_boxes(settings.objects, open_cache(settings.data), 'train')
  table = training_objects(settings, split, boxes)
  drawn = object_batches(settings, split, 'device_cached', table, 0)
  batches = [jax.device_get(next(drawn)) for _ in range(3)]
  third = jax.device_get(next(object_batches(settings, split, 'device_cached', table, 2)))
  jax.tree.map(np.testing.assert_array_equal, third, batches[2])
  mirrored = np.concatenate([batch[2].ravel() for batch in batches])
  assert 0 < mirrored.mean() < 1
  assert len(mirrored) == 3 * settings.train.batch_size
  assert parallel.num_replicas() >= 1


def test_other_weights_need_no_training_frames(folder, finished):
  settings, run = finished
  changed = Changes(overrides={'eval.object_weights': '(0.0, 0.0, 1.0)'})
  before = json.loads((run / 'metrics.json').read_text())
  train_frames = open_cache(settings.data).folder / 'train.npy'
  hidden = train_frames.with_suffix('.hidden')
  train_frames.rename(hidden)
  try:
    after = run_evaluate.evaluate_again(run, changed)
  finally:
    hidden.rename(train_frames)
  assert after['metrics'] == before['parts']['speed alone']
  assert after['parts'] is None


def test_without_boxes_there_is_nothing_to_train_on(folder):
  settings = settings_in(folder, **{'objects.min_score': 0.95})
  with pytest.raises(UserError, match='finds no object in the training videos'):
    session.train_and_evaluate(settings, folder / 'none')


def test_a_run_added_to_itself_has_its_own_figures(folder, finished):
  _, run = finished
  alone = run_evaluate.evaluate_again(run)
  both = run_evaluate.evaluate_sum([run, run], folder / 'twice')
  for how, figures in alone['metrics'].items():
    assert both['metrics'][how]['auc'] == pytest.approx(figures['auc'])
  own, added = (concatenated_errors(path) for path in (run, folder / 'twice'))
  np.testing.assert_allclose(added, 2 * own / alone['calibration']['mean'], rtol=1e-5)


@pytest.mark.slow
def test_objects_are_added_to_whole_frames(folder, finished):
  _, run = finished
  session.train_and_evaluate(tiny(folder, **{'eval.per_position': False}), folder / 'frames')
  figures = run_evaluate.evaluate_sum([run, folder / 'frames'], folder / 'both')
  assert [each['windows']['frames'] for each in figures['protocol']['runs']] == [4, 16]
  expected = 0
  for path in (run, folder / 'frames'):
    mean = json.loads((path / 'metrics.json').read_text())['calibration']['mean']
    expected = expected + concatenated_errors(path) / mean
  np.testing.assert_allclose(concatenated_errors(folder / 'both'), expected, rtol=1e-5)


@pytest.mark.parametrize(
  ('change', 'is_same'),
  [
    ({}, True),
    ({'size': 16}, True),
    ({'data_hash': 'b'}, False),
    ({'size': 16, 'label': 1}, False),
  ],
  ids=['equal', 'other size', 'other frames', 'other labels'],
)
def test_frames_of_other_sizes_are_added_if_videos_and_labels_agree(change, is_same):
  def cache(size=32, data_hash='a', label=0):
    split = SimpleNamespace(
      frames=np.zeros((2, size, size)),
      videos=[SimpleNamespace(name='01', num_frames=2)],
      labels=np.asarray([0, label]),
    )
    hashed = f'{data_hash}{size}{label}'
    return SimpleNamespace(data_hash=hashed, test=split, index={'label_set': 'official'})

  assert run_evaluate.have_same_videos(cache(), cache(**change)) == is_same


def concatenated_errors(run):
  _, errors, _, _ = read_scores(run / 'scores.csv')
  return np.concatenate(errors)


@pytest.fixture(scope='module')
def exported(folder, finished):
  _, run = finished
  bundle = folder / 'whole.bundle'
  # Flax's normalisation promotes its float32 statistics in the accelerators' bfloat16.
  with jax.numpy_dtype_promotion('standard'):
    run_export.export_run(run, bundle)
  return bundle


def test_a_bundle_scores_as_its_checkpoint_does(folder, finished, exported, capsys):
  _, run = finished
  own = run_evaluate.evaluate_again(run)
  capsys.readouterr()
  ours = run_export.evaluate_bundle(exported, folder / 'scored')
  assert 'note:' not in capsys.readouterr().out
  # The exported program is compiled anew, so on some CPUs the last bits of an error differ.
  _, _, expected, _ = read_scores(run / 'scores.csv')
  _, _, got, _ = read_scores(folder / 'scored' / 'scores.csv')
  for one, other in zip(got, expected, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
  assert ours.keys() == own.keys()
  for field in own.keys() - {'seconds'}:
    values, structure = jax.tree.flatten(ours[field])
    own_values, own_structure = jax.tree.flatten(own[field])
    assert structure == own_structure, field
    for value, own_value in zip(values, own_values, strict=True):
      if isinstance(own_value, float):
        own_value = pytest.approx(own_value, rel=1e-5, abs=1e-5)
      assert value == own_value, field
  bundle = load_bundle(exported)
  assert bundle.threshold == pytest.approx(own['events']['threshold'], rel=1e-5)
  assert bundle.manifest['check']['max_difference'] < 1e-5
  assert bundle.manifest['boxes']['detector']['name'] == 'boxes.csv'


def test_a_video_has_the_scores_of_the_evaluation(finished, exported):
  settings, run = finished
  cache = open_cache(settings.data)
  boxes = selected_boxes(settings.objects, cache, 'test')
  bundle = load_bundle(exported)
  zscores = run_evaluate.evaluate_again(run, Changes(normalisation='zscore'))
  assert zscores['events']['threshold'] == bundle.threshold
  _, _, expected, _ = read_scores(run / 'scores.csv')
  for video, scores in zip(cache.test.videos, expected, strict=True):
    end = video.first + video.num_frames
    own = boxes.take((video.first <= boxes.frame) & (boxes.frame < end))
    own = own.take(np.random.default_rng(0).permutation(len(own.frame)))  # in any order
    frames = cache.test.frames[video.first : end]
    got = bundle.score_video(frames, (own.frame - video.first, own.corners))
    np.testing.assert_allclose(got, scores, rtol=1e-5, atol=1e-5)


def test_a_stream_has_the_scores_of_the_causal_evaluation(finished, exported):
  settings, run = finished
  cache = open_cache(settings.data)
  boxes = selected_boxes(settings.objects, cache, 'test')
  causal = {'eval.smoothing_mode': 'causal'}
  run_evaluate.evaluate_again(run, Changes(normalisation='zscore', overrides=causal))
  _, _, expected, _ = read_scores(run / 'scores.csv')
  scorer = StreamScorer(load_bundle(exported))
  for video, scores in zip(cache.test.videos, expected, strict=True):
    streamed = []
    for frame in range(video.first, video.first + video.num_frames):
      scorer.add(cache.test.frames[frame], boxes.corners[boxes.frame == frame])
      streamed += scorer.scores()
    streamed += scorer.flush()
    got = [each.score for each in streamed]
    np.testing.assert_allclose(got, scores, rtol=1e-5, atol=1e-5)


def test_other_boxes_than_those_of_the_run_are_noted(folder, finished, exported, capsys):
  path = folder / 'boxes.csv'
  before = path.read_text()
  path.write_text(before + 'test/01,0,1,1,9,9,0.9,0\n')
  try:
    run_export.evaluate_bundle(exported, folder / 'other_boxes')
  finally:
    path.write_text(before)
  assert 'note: boxes are found by boxes.csv with SHA-256' in capsys.readouterr().out


def test_parts_leave_each_measurement_out():
  assert parts_of((1.0, 0.0, 0.0)) == {}
  assert set(parts_of((1.0, 0.0, 2.0))) == {'appearance alone', 'speed alone'}
  parts = parts_of((0.5, 0.25, 1.0))
  assert parts['without speed'] == (0.5, 0.25, 0.0)
  assert parts['motion alone'] == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(
  'detector, words',
  [
    ('yolo', "objects.detector 'yolo' is unknown; it must be foreground"),
    ('missing.onnx', "objects.detector 'missing.onnx': there is no such file"),
    ('yolox_tiny', '`prepare --download` fetches it from https://'),
  ],
)
def test_a_wrong_detector_is_refused_before_anything_is_written(
  folder, tmp_path, monkeypatch, detector, words
):
  monkeypatch.chdir(tmp_path)
  settings = settings_in(folder, **{'objects.detector': detector})
  with pytest.raises(UserError, match=words):
    session.train_and_evaluate(settings, tmp_path / 'run')
  assert not list(tmp_path.iterdir())
