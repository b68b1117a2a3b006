"""YOLOX: decoding of its output, errors for other files, a missing onnxruntime."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.objects.yolox import YoloxDetector

SIZE = 64
PLACES = 8 * 8 + 4 * 4 + 2 * 2


class FakeSession:
  """A model that gives the same output for every frame."""

  def __init__(self, rows, shape=(1, 3, SIZE, SIZE), outputs=1):
    self._rows = rows
    self._shape = shape
    self._outputs = outputs
    self.fed = None

  def get_inputs(self):
    return [SimpleNamespace(name='images', shape=list(self._shape))]

  def get_outputs(self):
    return [SimpleNamespace(name='output')] * self._outputs

  def run(self, names, feed):
    del names
    self.fed = feed['images']
    return [self._rows[None]]


def output(*found):
  """Return an output with objects as (place, x, y, log size, objectness, scores of 2 classes)."""
  rows = np.zeros((PLACES, 7), np.float32)
  for place, x, y, size, *scores in found:
    rows[place] = [x, y, size, size, *scores]
  return rows


def test_boxes_are_decoded_in_pixels_of_the_frame():
  # Place 8 + 2 of stride 8 is row 1, column 2: centre (20, 12), side 16.
  session = FakeSession(output((10, 0.5, 0.5, np.log(2), 0.8, 0.25, 1.0)))
  corners, score, label = YoloxDetector('m.onnx', session).detect(np.zeros((32, 128), np.uint8))
  np.testing.assert_allclose(corners, [[24, 8, 56, 32]], rtol=1e-5)  # clipped to the frame
  np.testing.assert_allclose(score, [0.8], rtol=1e-6)
  assert label.tolist() == [1]
  assert corners.dtype == score.dtype == np.float32
  assert label.dtype == np.int32


def test_the_frame_is_fed_at_the_size_of_the_model_three_times():
  session = FakeSession(output())
  YoloxDetector('m.onnx', session).detect(np.full((32, 128), 7, np.uint8))
  assert session.fed.shape == (1, 3, SIZE, SIZE)
  assert session.fed.dtype == np.float32
  np.testing.assert_array_equal(session.fed[0, :, :16], 7)
  np.testing.assert_array_equal(session.fed[0, :, 16:], 114)


def test_low_scores_and_worse_overlapping_boxes_are_left_out():
  session = FakeSession(
    output(
      (10, 0.5, 0.5, np.log(2), 0.6, 1.0, 0.0),
      (11, -0.5, 0.5, np.log(2), 0.9, 1.0, 0.0),  # the same box
      (50, 0.5, 0.5, np.log(2), 0.09, 1.0, 0.0),
    )
  )
  _, score, _ = YoloxDetector('m.onnx', session).detect(np.zeros((64, 64), np.uint8))
  np.testing.assert_allclose(score, [0.9], rtol=1e-6)


def test_a_frame_without_objects_has_no_boxes():
  corners, score, _ = YoloxDetector('m.onnx', FakeSession(output())).detect(
    np.zeros((64, 64), np.uint8)
  )
  assert corners.shape == (0, 4)
  assert score.shape == (0,)


@pytest.mark.parametrize(
  'session, message',
  [
    (FakeSession(output(), shape=(1, 1, 64, 64)), r'm.onnx: .*input of shape \[1, 1, 64, 64\]'),
    (FakeSession(output(), shape=('b', 3, 'h', 'w')), 'm.onnx: .*input of shape'),
    (FakeSession(output(), shape=(1, 3, 60, 64)), 'multiples of 32'),
    (FakeSession(output(), outputs=3), '3 outputs'),
  ],
)
def test_other_models_are_named(session, message):
  with pytest.raises(UserError, match=message):
    YoloxDetector('m.onnx', session)


def test_another_output_is_named():
  detector = YoloxDetector('m.onnx', FakeSession(np.zeros((5, 7), np.float32)))
  with pytest.raises(UserError, match=r'm.onnx: .*output of shape \[1, 5, 7\]'):
    detector.detect(np.zeros((64, 64), np.uint8))


def test_a_missing_onnxruntime_names_the_extra(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'onnxruntime', None)
  (tmp_path / 'm.onnx').write_bytes(b'')
  with pytest.raises(UserError, match=r'm.onnx: .*a3dcae_jax\[objects\]'):
    YoloxDetector(tmp_path / 'm.onnx')


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(UserError, match='absent.onnx does not exist'):
    YoloxDetector(tmp_path / 'absent.onnx')


def test_a_file_that_is_no_model_is_named(tmp_path):
  pytest.importorskip('onnxruntime')
  (tmp_path / 'm.onnx').write_text('<html>moved</html>')
  with pytest.raises(UserError, match='m.onnx is not an ONNX model') as error:
    YoloxDetector(tmp_path / 'm.onnx')
  assert len(str(error.value).splitlines()) == 1


def test_a_model_runs_under_onnxruntime(tmp_path):
  pytest.importorskip('onnxruntime')
  onnx = pytest.importorskip('onnx')
  rows = output((10, 0.5, 0.5, np.log(2), 0.8, 0.25, 1.0))
  constant = onnx.helper.make_node(
    'Constant', [], ['output'], value=onnx.numpy_helper.from_array(rows[None])
  )
  kind = onnx.TensorProto.FLOAT
  graph = onnx.helper.make_graph(
    [constant],
    'constant',
    [onnx.helper.make_tensor_value_info('images', kind, [1, 3, SIZE, SIZE])],
    [onnx.helper.make_tensor_value_info('output', kind, [1, PLACES, 7])],
  )
  opsets = [onnx.helper.make_opsetid('', 17)]
  onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / 'm.onnx')
  _, score, _ = YoloxDetector(tmp_path / 'm.onnx').detect(np.zeros((64, 64), np.uint8))
  np.testing.assert_allclose(score, [0.8], rtol=1e-6)
