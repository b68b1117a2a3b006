"""The weights of YOLOX from an ONNX file.

The convolutions of a file are assigned to those of `models.yolox` by their order. Their shapes,
strides and groups, and the number of all other operations, must be those of a published model.
"""

import functools
import pathlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.models.yolox import (
  BOX_COLUMNS,
  POOL_SIDES,
  STRIDES,
  Conv,
  Yolox,
  YoloxSize,
  conv_name,
)
from a3dcae_jax.objects.onnx_file import Graph, Node, read_onnx

_PREDICTIONS = 3 * len(STRIDES)  # convolutions without an activation
_LEAST = 16  # convolutions that any model has
_SHORTCUTS = 7  # additions of a model of depth 1
_LARGEST_DEPTH = 4  # of the published model x
_LARGEST_SIDE_PX = 4096
_COLOURS = 3
# Operations that are not counted: they move values, or are the product in an activation. The order
# of convolutions says what they do in YOLOX.
_UNCOUNTED = frozenset(
  [
    'Cast',
    'Concat',
    'Constant',
    'Flatten',
    'Floor',
    'Gather',
    'Identity',
    'Mul',
    'Reshape',
    'Resize',
    'Shape',
    'Slice',
    'Squeeze',
    'Transpose',
    'Unsqueeze',
    'Upsample',
  ]
)


class YoloxModel(NamedTuple):
  """A model that was read.

  Attributes:
    size: of the network.
    input_px: height and width of its input.
    variables: of `models.yolox.Yolox`, NumPy arrays.
  """

  size: YoloxSize
  input_px: tuple[int, int]
  variables: dict[str, dict[str, dict[str, np.ndarray]]]


class OtherNetwork(UserError):
  """An ONNX file whose network is not YOLOX."""


def read_yolox(path: str | pathlib.Path) -> YoloxModel:
  """Return the model in an ONNX file.

  Raises:
    UserError: if the file cannot be read or is not an ONNX file.
    OtherNetwork: if its network is not YOLOX.
  """
  graph = read_onnx(path)
  try:
    return _model(graph)
  except ValueError as error:
    raise OtherNetwork(
      f'{path}: the network is not YOLOX as published, with folded batch normalisations and an '
      f'output that is not decoded: {error}; onnxruntime may run it: pip install '
      "'a3dcae_jax[objects]'"
    ) from None


def _model(graph: Graph) -> YoloxModel:
  input_px = _input_px(graph)
  convolutions = [node for node in graph.nodes if node.kind == 'Conv']
  kernels = [_array(graph, node, 1, 4) for node in convolutions]
  biases = [_array(graph, node, 2, 1) for node in convolutions]
  if len(kernels) < _LEAST:
    raise ValueError(f'it has {len(kernels)} convolutions')
  size, layers = _size(convolutions, kernels)
  for index, (layer, node, kernel) in enumerate(zip(layers, convolutions, kernels, strict=True)):
    _check_convolution(index, layer, node, kernel)
  _check_operations(graph.nodes, size)
  _check_outputs(graph, input_px, size)
  return YoloxModel(size, input_px, {'params': _parameters(kernels, biases)})


def _input_px(graph: Graph) -> tuple[int, int]:
  if len(graph.inputs) != 1:
    raise ValueError(f'it has {len(graph.inputs)} inputs')
  shape = graph.inputs[0]
  if len(shape) != 4 or shape[1] != _COLOURS or not all(_is_side(side) for side in shape[2:]):
    raise ValueError(f'its input has the shape {list(shape)}')
  return shape[2], shape[3]


def _is_side(side: int | None) -> bool:
  return side is not None and 0 < side <= _LARGEST_SIDE_PX and side % STRIDES[-1] == 0


def _array(graph: Graph, node: Node, place: int, axes: int) -> np.ndarray:
  name = node.inputs[place] if len(node.inputs) > place else ''
  array = graph.arrays.get(name)
  if array is None or array.ndim != axes or not array.size:
    raise ValueError(f'a convolution has no float32 array with {axes} axes as input {place}')
  return array


def _size(
  convolutions: Sequence[Node], kernels: Sequence[np.ndarray]
) -> tuple[YoloxSize, tuple['_Layer', ...]]:
  """Return the size of the model that has so many convolutions, and these."""
  depthwise = convolutions[1].integers.get('group', (1,)) != (1,)
  regression = 4 if depthwise else 2  # convolutions between the two predictions
  classes = kernels[-3 - regression].shape[0]
  for depth in range(1, _LARGEST_DEPTH + 1):
    size = YoloxSize(kernels[0].shape[0], depth, depthwise, classes)
    layers = _layers(size)
    if len(layers) == len(kernels):
      return size, layers
  raise ValueError(f'it has {len(kernels)} convolutions')


class _Layer(NamedTuple):
  """One convolution of the module: its arguments and its input channels."""

  conv: Conv
  channels: int


@functools.cache
def _layers(size: YoloxSize) -> tuple[_Layer, ...]:
  """Return the convolutions of a model in their order."""
  layers = []

  def note(call, arguments, keywords, context):
    if isinstance(context.module, Conv):
      layers.append(_Layer(context.module, arguments[0].shape[-1]))
    return call(*arguments, **keywords)

  frames = jax.ShapeDtypeStruct((1, STRIDES[-1], STRIDES[-1]), jnp.float32)
  with nn.intercept_methods(note):
    jax.eval_shape(Yolox(size).init, jax.random.key(0), frames)
  return tuple(layers)


def _check_convolution(index: int, layer: _Layer, node: Node, kernel: np.ndarray) -> None:
  conv = layer.conv
  channels = layer.channels * (_COLOURS if index == 0 else 1)
  groups = channels if conv.depthwise else 1
  expected = {
    'shape': (conv.features, channels // groups, conv.side, conv.side),
    'strides': (conv.stride,) * 2,
    'pads': (conv.side // 2,) * 4,
    'group': (groups,),
    'dilations': (1, 1),
  }
  defaults = {'strides': (1, 1), 'pads': (0,) * 4, 'group': (1,), 'dilations': (1, 1)}
  found = {'shape': kernel.shape, **defaults, **node.integers}
  for name, value in expected.items():
    if found[name] != value:
      raise ValueError(f'convolution {index} has {name} {list(found[name])}, not {list(value)}')


def _check_operations(nodes: Sequence[Node], size: YoloxSize) -> None:
  """Check how often each operation occurs, but for those in `_UNCOUNTED`."""
  found = Counter(node.kind for node in nodes if node.kind not in _UNCOUNTED)
  convolutions = found['Conv']
  expected = {
    'Conv': convolutions,
    'Sigmoid': convolutions - _PREDICTIONS + 2 * len(STRIDES),
    'MaxPool': len(POOL_SIDES),
    'Add': _SHORTCUTS * size.depth,
  }
  for kind in sorted({*found, *expected}):
    if found[kind] != expected.get(kind, 0):
      raise ValueError(f'it has {found[kind]} operations {kind}, not {expected.get(kind, 0)}')
  sides = sorted(node.integers.get('kernel_shape', ()) for node in nodes if node.kind == 'MaxPool')
  if sides != [(side, side) for side in POOL_SIDES]:
    raise ValueError(f'its pools have the sides {sides}')


def _check_outputs(graph: Graph, input_px: tuple[int, int], size: YoloxSize) -> None:
  places = sum(input_px[0] * input_px[1] // stride**2 for stride in STRIDES)
  expected = (1, places, BOX_COLUMNS + size.classes)
  if len(graph.outputs) != 1 or len(graph.outputs[0]) != len(expected):
    raise ValueError(f'its outputs have the shapes {graph.outputs}')
  for found, value in zip(graph.outputs[0], expected, strict=True):
    if found not in (None, value):
      raise ValueError(f'its output has the shape {list(graph.outputs[0])}, not {list(expected)}')


def _parameters(
  kernels: Sequence[np.ndarray], biases: Sequence[np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
  parameters = {}
  for index, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
    kernel = kernel.transpose(2, 3, 1, 0)
    if bias.shape != kernel.shape[-1:]:
      raise ValueError(f'convolution {index} has {bias.shape[0]} biases')
    if index == 0:  # grey frames: equal colours, which are the last of the input's two axes
      height, width, channels, features = kernel.shape
      kernel = kernel.reshape(height, width, channels // _COLOURS, _COLOURS, features).sum(3)
    parameters[conv_name(index)] = {'kernel': kernel.copy(), 'bias': bias.copy()}
  return parameters
