"""The weights of YOLOX from ONNX files: other networks and damaged files are named."""

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.models.yolox import YoloxSize
from a3dcae_jax.objects import detectors
from a3dcae_jax.objects.yolox_file import OtherNetwork, read_yolox
from tests.objects.yolox_onnx import Network, field


def read(tmp_path, content):
  path = tmp_path / 'm.onnx'
  path.write_bytes(content)
  return read_yolox(path)


@pytest.mark.parametrize('depth, depthwise', [(1, True), (1, False), (2, False)])
def test_the_size_follows_from_the_convolutions(tmp_path, depth, depthwise):
  model = read(tmp_path, Network(depth=depth, depthwise=depthwise, classes=5).content())
  assert model.size == YoloxSize(width=4, depth=depth, depthwise=depthwise, classes=5)
  assert model.input_px == (64, 96)


class Relu(Network):
  def base(self, x, features, side=1, stride=1, groups=1):
    return self.node('Relu', [self.conv(x, features, side, stride, groups)])


class OtherStride(Network):
  def base(self, x, features, side=1, stride=1, groups=1):
    return super().base(x, features, side, 1, groups)


class OtherPools(Network):
  def spp(self, x, features):
    x = self.base(x, features // 2)
    pools = [
      self.node('MaxPool', [x], kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1]) for _ in range(3)
    ]
    return self.base(self.concat(x, *pools), features)


class Decoded(Network):
  def layers(self):
    return self.node('Exp', [super().layers()])


class OneMore(Network):
  def focus(self, x):
    return self.base(super().focus(x), 12)


class Shallow(Network):
  def layers(self):
    return self.conv('images', 3)


@pytest.mark.parametrize(
  'network, message',
  [
    (Relu(), 'operations Relu, not 0'),
    (OtherStride(), r'convolution 1 has strides \[1, 1\], not \[2, 2\]'),
    (OtherPools(), 'pools'),
    (Decoded(), 'operations Exp, not 0'),
    (OneMore(), 'it has 114 convolutions'),
    (Shallow(), 'it has 1 convolutions'),
    (Network(size=(60, 64)), r'input has the shape \[1, 3, 60, 64\]'),
  ],
)
def test_other_networks_are_named(tmp_path, network, message):
  with pytest.raises(OtherNetwork, match=f'm.onnx: the network is not YOLOX.*{message}') as error:
    read(tmp_path, network.content())
  assert '\n' not in str(error.value)


def test_a_file_that_is_no_model_is_named(tmp_path):
  with pytest.raises(UserError, match='absent.onnx cannot be read'):
    read_yolox(tmp_path / 'absent.onnx')
  for content in (b'', b'<html>moved</html>', field(7, 3), bytes([0xFF] * 40)):
    with pytest.raises(UserError, match='m.onnx is not an ONNX file') as error:
      read(tmp_path, content)
    assert '\n' not in str(error.value)


def test_damaged_files_give_one_line_or_a_graph(tmp_path):
  content = Network(width=2, size=(32, 32)).content()
  rng = np.random.default_rng(0)
  refused = 0
  for number in range(60):
    damaged = bytearray(content)
    for place in rng.integers(0, len(content), 3):
      damaged[place] = rng.integers(256)
    if number % 3 == 0:
      del damaged[rng.integers(len(content)) :]
    try:
      read(tmp_path, bytes(damaged))
    except UserError as error:
      assert '\n' not in str(error)
      refused += 1
  assert refused >= 20


def test_other_networks_need_onnxruntime(tmp_path, monkeypatch):
  path = tmp_path / 'm.onnx'
  path.write_bytes(Relu().content())
  monkeypatch.setattr(detectors.importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(UserError, match=r'm.onnx: .*not YOLOX.*a3dcae_jax\[objects\]'):
    detectors.open_yolox(path)


def test_other_networks_with_the_same_output_run_by_onnxruntime(tmp_path):
  pytest.importorskip('onnxruntime')
  path = tmp_path / 'm.onnx'
  path.write_bytes(Relu().content())
  corners, score, label = detectors.open_yolox(path).detect(np.zeros((30, 40), np.uint8))
  assert len(corners) == len(score) == len(label)
