"""From frames to errors in one program: equal to boxes, measurements and NumPy."""

import jax
import numpy as np
import pytest

from a3dcae_jax.evaluation.detected_program import (
  DetectedRecipe,
  detected_program,
  detector_arrays,
)
from a3dcae_jax.evaluation.object_scorer import ObjectCheckpointScorer, make_object_recipe
from a3dcae_jax.objects.boxes import select_boxes
from a3dcae_jax.objects.clips import object_rows
from a3dcae_jax.objects.detectors import found_boxes
from a3dcae_jax.objects.yolox_file import read_yolox
from a3dcae_jax.objects.yolox_jax import JaxYolox
from a3dcae_jax.run import train
from a3dcae_jax.serving.object_statistics import (
  ObjectStatistics,
  object_errors,
  vertical_edges,
  worst_objects,
)
from tests.objects.yolox_onnx import Network
from tests.tiny_run import tiny

HEIGHT, WIDTH, WINDOW = 40, 56, 4
FRAMES = 6


def statistics_of(rng):
  upper = rng.uniform(0, 0.5, 200)
  edges = np.stack([upper, upper + rng.uniform(0.1, 0.5, 200)], 1)
  return ObjectStatistics.fit(edges, rng.uniform(1e-4, 0.1, (200, 5)))


@pytest.mark.slow
@pytest.mark.parametrize('platform', ['cpu', 'accelerator'])
def test_errors_equal_those_of_single_steps(tmp_path, rng, platform):
  settings = tiny(
    tmp_path,
    **{
      'clips.window': WINDOW,
      'clips.strides': (1,),
      'objects.detector': 'foreground',
      'objects.crop_px': 8,
      'objects.max_per_frame': 5,
      'objects.min_score': 0.2,
      'model.widths': (2, 3, 4),
      'model.dtype': 'float32',
      'input.kind': 'frames_and_differences',
      'loss.adversarial_weight': 0.0,
    },
  )
  (tmp_path / 'm.onnx').write_bytes(Network(width=2, size=(64, 96), seed=3).content())
  model = read_yolox(tmp_path / 'm.onnx')
  detector = JaxYolox(tmp_path / 'm.onnx')
  scorer = ObjectCheckpointScorer(make_object_recipe(settings), train.fresh_state(settings))
  statistics = statistics_of(rng)
  weights = (0.25, 0.5, 1.0)
  frames = rng.integers(0, 256, (FRAMES, HEIGHT, WIDTH), dtype=np.uint8)
  frames[2] = 114  # so that frames have different numbers of objects
  scored = np.asarray([0, 2, 5])
  ends = np.zeros(3, int), np.full(3, FRAMES - 1)
  rows = object_rows(scored, *ends, window=WINDOW).astype(np.int32)

  recipe = DetectedRecipe(scorer.recipe, model, settings.objects, weights)
  arrays = scorer.weights | detector_arrays(model) | statistics.program_arrays()
  program = jax.jit(detected_program(recipe, platform))
  corners, valid, errors, worst, found = map(np.asarray, program(arrays, frames, rows))
  assert corners.shape == (3, 5, 4)

  counts = []
  for index, frame in enumerate(scored):
    boxes = select_boxes(found_boxes(detector.detect(frames[frame])), settings.objects)
    count = len(boxes.frame)
    counts.append(count)
    assert valid[index].tolist() == [True] * count + [False] * (5 - count)
    np.testing.assert_allclose(corners[index][valid[index]], boxes.corners, atol=1e-3)
    if not count:
      assert worst[index] == 0
      continue
    own = np.repeat(rows[index : index + 1], count, axis=0)
    raw = np.asarray(scorer.measure(frames, own, boxes.corners))
    zscores = statistics.zscores(vertical_edges(boxes.corners, HEIGHT), raw)
    expected = object_errors(zscores, weights)
    np.testing.assert_allclose(errors[index][valid[index]], expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found[index][valid[index]], zscores, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
      worst[index], worst_objects(expected, np.zeros(count, int), 1)[0], rtol=1e-3, atol=1e-3
    )
  assert (errors[~valid] == 0).all()
  assert len(set(counts)) > 1 and max(counts) > 1
