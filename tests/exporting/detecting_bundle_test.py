"""An exported run on objects that YOLOX finds: the bundle finds them, too."""

import sys

import jax
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.evaluation.scored_objects import found_by
from a3dcae_jax.exporting.detection_check import compare_objects
from a3dcae_jax.objects.boxes import select_boxes
from a3dcae_jax.objects.detectors import found_boxes
from a3dcae_jax.objects.yolox_jax import JaxYolox
from a3dcae_jax.run import export as run_export
from a3dcae_jax.run.datasets import open_cache
from a3dcae_jax.run.evaluate import evaluate_run
from a3dcae_jax.scoring.tables import read_scores
from a3dcae_jax.serving.bundle import load_bundle
from a3dcae_jax.serving.stream import StreamScorer
from a3dcae_jax.watching.detector import make_box_finder
from a3dcae_jax.watching.session import Options, detect
from a3dcae_jax.watching.sources import find_sources
from tests.exporting.runs import write_untrained_run
from tests.objects.yolox_onnx import Network
from tests.tiny_run import tiny
from tests.watching.toy import write_video


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
  """Return settings, detector and bundle of an untrained run."""
  folder = tmp_path_factory.mktemp('detecting')
  path = folder / 'm.onnx'
  path.write_bytes(Network(width=2, size=(64, 64), seed=3).content())
  changes = {
    'clips.window': 4,
    'clips.strides': (1,),
    'objects.detector': str(path),
    'objects.crop_px': 8,
    'objects.max_per_frame': 6,
    'objects.min_score': 0.2,
    'model.widths': (2, 3, 4),
    'input.kind': 'frames_and_differences',
    'loss.adversarial_weight': 0.0,
    'eval.window_step': 2,
    'eval.object_weights': (0.5, 0.25, 1.0),
  }
  settings = tiny(folder, **changes)
  run = write_untrained_run(settings, folder / 'run')
  with jax.numpy_dtype_promotion('standard'):
    run_export.export_run(run, folder / 'b.bundle')
  return settings, JaxYolox(path), load_bundle(folder / 'b.bundle')


@pytest.mark.slow
def test_a_stream_has_the_scores_of_its_boxes(exported, monkeypatch):
  settings, detector, bundle = exported
  monkeypatch.setitem(sys.modules, 'onnxruntime', None)
  assert bundle.finds_boxes
  frames = open_cache(settings.data).test.frames[:11]
  by_itself, given = StreamScorer(bundle), StreamScorer(bundle)
  found, expected = [], []
  for frame in frames:
    boxes = select_boxes(found_boxes(detector.detect(frame)), settings.objects)
    by_itself.add(frame)
    given.add(frame, boxes.corners)
    found += by_itself.scores()
    expected += given.scores()
  found += by_itself.flush()
  expected += given.flush()
  assert len(found) == len(expected) == len(frames)
  assert max(len(score.objects) for score in expected) > 1
  for score, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(score.objects, other.objects, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(score.error, other.error, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(score.score, other.score, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_the_program_that_finds_objects_is_checked(exported):
  check = exported[2].manifest['check']['detection']
  assert check['clips'] == 4
  assert check['objects'] > 4
  assert check['max_difference'] < 1e-3


def test_programs_that_find_or_score_objects_differently_are_refused(rng):
  upper = rng.uniform(0, 40, (3, 8, 2))
  corners = np.concatenate([upper, upper + 10], -1)
  valid = np.arange(8) < np.asarray([[8], [5], [0]])
  errors = np.where(valid, rng.uniform(0, 5, valid.shape), 0)
  found = corners, valid, errors, errors.max(1)
  expected = [
    (boxes[is_one][::-1], own[is_one][::-1])
    for boxes, is_one, own in zip(corners, valid, errors, strict=True)
  ]
  assert compare_objects(found, expected) == {'clips': 3, 'objects': 13, 'max_difference': 0}
  for wrong, words in (
    ((corners + 3, *found[1:]), 'objects are found by one of them alone'),
    ((corners, valid & (np.arange(8) < 7), errors, found[3]), 'alone|errors'),
    ((corners, valid, 2 * errors, 2 * found[3]), 'errors'),
    ((corners, valid, errors, found[3] + 1), 'errors'),
  ):
    with pytest.raises(RuntimeError, match=words):
      compare_objects(wrong, expected)


@pytest.mark.slow
def test_the_evaluation_of_a_bundle_finds_the_boxes_of_the_run(
  exported, tmp_path, monkeypatch, use_devices
):
  """It needs no file of the detector."""
  settings, _, bundle = exported
  run = bundle.folder.parent / 'run'
  by_boxes = evaluate_run(settings, run, open_cache(settings.data))
  _, expected, _, _ = read_scores(run / 'scores.csv')
  monkeypatch.setattr(run_export, 'make_detector', None)
  use_devices(2)
  metrics = run_export.evaluate_bundle(bundle.folder, tmp_path / 'scored')
  assert metrics['parts'].keys() == by_boxes['parts'].keys()
  _, errors, _, _ = read_scores(tmp_path / 'scored' / 'scores.csv')
  for found, wanted in zip(errors, expected, strict=True):
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)
    assert found.max() > 0


@pytest.mark.slow
def test_objects_do_not_depend_on_the_number_of_devices(exported, use_devices):
  settings, _, bundle = exported
  split = open_cache(settings.data).test
  found = []
  for count in (1, 2):
    use_devices(count)
    found.append(found_by(bundle, split, step=10, batch_size=4))
  jax.tree.map(np.testing.assert_array_equal, *found)
  assert len(found[0].table.frame) > 8


@pytest.mark.slow
def test_ignored_objects_do_not_count(exported):
  settings, _, bundle = exported
  scorer = StreamScorer(bundle)
  for frame in open_cache(settings.data).test.frames[:5]:
    scorer.add(frame, kept=lambda boxes: np.zeros(len(boxes), bool))
  assert all(len(score.objects) == 0 and score.error == 0 for score in scorer.flush())


@pytest.mark.slow
def test_cpus_search_no_clip_twice(exported, monkeypatch):
  settings, _, bundle = exported
  score_clips = bundle.score_clips
  searched = []

  def counted(frames, rows):
    searched.append(len(rows))
    return score_clips(frames, rows)

  monkeypatch.setattr(bundle, 'score_clips', counted)
  scorer = StreamScorer(bundle)
  for frame in open_cache(settings.data).test.frames[:5]:
    scorer.add(frame)
  assert len(scorer.flush()) == 5
  assert sum(searched) == 3  # frames 0, 2 and 4


@pytest.mark.slow
def test_detect_needs_no_file_of_the_detector(exported, tmp_path):
  settings, _, bundle = exported
  frames = open_cache(settings.data).test.frames[:20]
  video = write_video(tmp_path / 'day.avi', list(frames))
  out = tmp_path / 'out'
  assert detect(str(bundle.folder), find_sources([str(video)]), Options(out)) == 0
  lines = (out / 'day.avi' / 'scores.csv').read_text().splitlines()
  assert len(lines) == 1 + len(frames)
  assert len({line.split(',')[2] for line in lines[1:]}) > 1


@pytest.mark.slow
def test_it_needs_no_detector(exported):
  _, _, bundle = exported
  assert make_box_finder(bundle, '') is None
  with pytest.raises(UserError, match='finds boxes itself'):
    make_box_finder(bundle, 'm.onnx')
  with pytest.raises(UserError, match='an empty batch'):
    bundle.score_clips(
      np.zeros((0, bundle.height, bundle.width), np.uint8), np.zeros((0, 4), np.int32)
    )
