"""YOLOX in JAX: equal to onnxruntime, and to NumPy after the network."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.models.yolox import Yolox
from a3dcae_jax.objects import box_program
from a3dcae_jax.objects.boxes import make_boxes, select_boxes, suppress
from a3dcae_jax.objects.yolox import YoloxDetector
from a3dcae_jax.objects.yolox_file import read_yolox
from a3dcae_jax.objects.yolox_jax import JaxYolox
from tests.objects.yolox_onnx import Network


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def write(tmp_path, **options):
  path = tmp_path / 'm.onnx'
  path.write_bytes(Network(**options).content())
  return path


@pytest.mark.parametrize(
  'options', [{}, {'depthwise': False, 'depth': 2, 'size': (32, 64)}], ids=['nano', 's']
)
def test_the_network_equals_onnxruntime(tmp_path, rng, options):
  onnxruntime = pytest.importorskip('onnxruntime')
  path = write(tmp_path, **options)
  model = read_yolox(path)
  frames = rng.integers(0, 256, (2, *model.input_px)).astype(np.float32)
  rows = jax.jit(Yolox(model.size).apply)(model.variables, frames)
  session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
  for frame, found in zip(frames, rows, strict=True):
    expected = session.run(None, {'images': np.repeat(frame[None, None], 3, 1)})[0][0]
    assert expected[:, :4].std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_boxes_equal_those_of_onnxruntime(tmp_path, rng):
  pytest.importorskip('onnxruntime')
  path = write(tmp_path)
  frames = rng.integers(0, 256, (5, 40, 50), dtype=np.uint8)
  found = list(JaxYolox(path).detect_frames(frames))
  assert len(found) == 5
  for frame, boxes in zip(frames, found, strict=True):
    expected = YoloxDetector(path).detect(frame)
    assert len(expected[0]) > 2
    np.testing.assert_allclose(boxes[0], expected[0], atol=1e-2)
    np.testing.assert_allclose(boxes[1], expected[1], atol=1e-4)
    np.testing.assert_array_equal(boxes[2], expected[2])
    assert [column.dtype for column in boxes] == [np.float32, np.float32, np.int32]


def test_one_frame_has_the_boxes_of_many(tmp_path, rng):
  detector = JaxYolox(write(tmp_path))
  frames = rng.integers(0, 256, (3, 40, 50), dtype=np.uint8)
  together = list(detector.detect_frames(frames))
  for frame, expected in zip(frames, together, strict=True):
    for column, other in zip(detector.detect(frame), expected, strict=True):
      np.testing.assert_allclose(column, other, atol=1e-3)


def made_boxes(rng, count, seed_size=(64, 48)):
  upper = rng.uniform(0, 1, (count, 2)) * seed_size
  corners = np.concatenate([upper, upper + rng.uniform(4, 20, (count, 2))], 1)
  return corners.astype(np.float32), rng.uniform(0, 1, count).astype(np.float32)


def test_suppression_equals_numpy(rng):
  made = [made_boxes(rng, 60) for _ in range(3)]
  made[1][1][:] = 0.05  # a frame without boxes
  made[2][1][10:20] = 0.5  # ties
  corners, score = (np.stack(column) for column in zip(*made, strict=True))
  place, valid = jax.jit(lambda c, s: box_program.suppressed(c, s, 60))(corners, score)
  for index, (each, own) in enumerate(made):
    candidates = np.flatnonzero(own >= 0.1)
    expected = candidates[suppress(each[candidates], own[candidates])]
    np.testing.assert_array_equal(place[index][valid[index]], expected)


def test_the_best_boxes_are_taken_where_there_are_too_many(rng):
  corners, score = made_boxes(rng, 60)
  place, valid = box_program.suppressed(jnp.asarray(corners)[None], jnp.asarray(score)[None], 4)
  candidates = np.flatnonzero(score >= 0.1)
  expected = candidates[suppress(corners[candidates], score[candidates])][:4]
  assert valid.all()
  np.testing.assert_array_equal(place[0], expected)


@pytest.mark.parametrize('classes', [(), (0, 2)])
def test_selection_equals_numpy(rng, classes):
  corners, score = made_boxes(rng, 40)
  score = -np.sort(-score)
  label = rng.integers(0, 3, 40).astype(np.int32)
  valid = rng.uniform(size=40) < 0.8
  options = SimpleNamespace(min_score=0.3, classes=classes, min_size_px=6, max_per_frame=5)
  found = box_program.FoundBoxes(*(column[None] for column in (corners, score, label, valid)))
  kept = jax.jit(lambda boxes: box_program.selected(boxes, options))(found)
  frame = np.zeros(valid.sum(), int)
  expected = select_boxes(make_boxes(frame, corners[valid], score[valid], label[valid]), options)
  assert 0 < len(expected.frame) <= 5
  for column, other in zip(kept, expected[1:], strict=False):
    np.testing.assert_array_equal(column[0][kept.valid[0]], other)
  assert kept.valid.shape == (1, 5)
