"""Small ONNX files with the layers of YOLOX and random weights, written without `onnx`.

The layers are written as the authors' PyTorch code applies them, and not by `models.yolox`.
"""

import struct

import numpy as np

FLOAT, INT64 = 1, 7


def varint(value):
  parts = bytearray()
  while value > 127:
    parts.append(value & 127 | 128)
    value >>= 7
  return bytes([*parts, value])


def field(number, value):
  """Return one field: an integer, text, bytes, or a float."""
  if isinstance(value, int):
    return varint(number << 3) + varint(value % 2**64)
  if isinstance(value, float):
    return varint(number << 3 | 5) + struct.pack('<f', value)
  content = value.encode() if isinstance(value, str) else value
  return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(array, name=''):
  kind = FLOAT if array.dtype == np.float32 else INT64
  dims = b''.join(field(1, size) for size in array.shape)
  return dims + field(2, kind) + field(8, name) + field(9, array.tobytes())


def attribute(name, value):
  if isinstance(value, np.ndarray):
    return field(1, name) + field(5, tensor(value)) + field(20, 4)
  if isinstance(value, str):
    return field(1, name) + field(4, value) + field(20, 3)
  if isinstance(value, int):
    return field(1, name) + field(3, value) + field(20, 2)
  return field(1, name) + b''.join(field(8, number) for number in value) + field(20, 7)


def value_info(name, shape):
  dims = b''.join(field(1, field(1, size)) for size in shape)
  return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, dims)))


class Network:
  """Writes the layers of YOLOX.

  Args:
    width: channels of the first layer.
    depth: bottlenecks of the shortest stage.
    depthwise: whether 3x3 convolutions have one kernel for each channel.
    classes: number of classes.
    size: height and width of the input.
    seed: of the weights.
  """

  def __init__(self, width=4, depth=1, depthwise=True, classes=3, size=(64, 96), seed=0):
    self.width = width
    self.depth = depth
    self.depthwise = depthwise
    self.classes = classes
    self.size = size
    self.rng = np.random.default_rng(seed)
    self.nodes = []
    self.arrays = []
    self.channels = {'images': 3}

  def node(self, kind, inputs, channels=None, **attributes):
    """Add an operation and return the name of its output."""
    name = f'{kind}_{len(self.nodes)}'
    content = b''.join(field(1, each) for each in inputs) + field(2, name) + field(4, kind)
    content += b''.join(field(5, attribute(*item)) for item in attributes.items())
    self.nodes.append(content)
    self.channels[name] = channels or self.channels.get(inputs[0] if inputs else '', 0)
    return name

  def constant(self, *values, dtype=np.int64):
    return self.node('Constant', [], value=np.asarray(values, dtype))

  def array(self, array):
    name = f'array_{len(self.arrays)}'
    self.arrays.append(tensor(array.astype(np.float32), name))
    return name

  def conv(self, x, features, side=1, stride=1, groups=1):
    shape = (features, self.channels[x] // groups, side, side)
    scale = (2.0 / np.prod(shape[1:])) ** 0.5
    kernel = self.array(self.rng.normal(0, scale, shape))
    bias = self.array(self.rng.normal(0, 0.2, features))
    return self.node(
      'Conv',
      [x, kernel, bias],
      features,
      dilations=[1, 1],
      group=groups,
      kernel_shape=[side, side],
      pads=[side // 2] * 4,
      strides=[stride, stride],
    )

  def base(self, x, features, side=1, stride=1, groups=1):
    y = self.conv(x, features, side, stride, groups)
    return self.node('Mul', [y, self.node('Sigmoid', [y])])

  def square(self, x, features, stride=1):
    if not self.depthwise:
      return self.base(x, features, 3, stride)
    return self.base(self.base(x, self.channels[x], 3, stride, self.channels[x]), features)

  def concat(self, *parts):
    return self.node('Concat', parts, sum(self.channels[part] for part in parts), axis=1)

  def csp(self, x, features, depth, shortcut):
    first = self.base(x, features // 2)
    second = self.base(x, features // 2)
    for _ in range(depth):
      inner = self.square(self.base(first, features // 2), features // 2)
      first = self.node('Add', [inner, first]) if shortcut else inner
    return self.base(self.concat(first, second), features)

  def focus(self, x):
    parts = []
    for row, column in ((0, 0), (1, 0), (0, 1), (1, 1)):
      ends = [self.constant(number) for number in (row, 2**62, 2, 2)]
      rows = self.node('Slice', [x, ends[0], ends[1], ends[2], ends[3]], 3)
      ends = [self.constant(number) for number in (column, 2**62, 3, 2)]
      parts.append(self.node('Slice', [rows, ends[0], ends[1], ends[2], ends[3]], 3))
    return self.concat(*parts)

  def spp(self, x, features):
    x = self.base(x, features // 2)
    pools = [
      self.node('MaxPool', [x], kernel_shape=[side] * 2, pads=[side // 2] * 4, strides=[1, 1])
      for side in (5, 9, 13)
    ]
    return self.base(self.concat(x, *pools), features)

  def up(self, x):
    scales = self.constant(1, 1, 2, 2, dtype=np.float32)
    return self.node(
      'Resize',
      [x, '', scales],
      coordinate_transformation_mode='asymmetric',
      mode='nearest',
      nearest_mode='floor',
    )

  def head(self, x):
    features = 4 * self.width
    x = self.base(x, features)
    classes = self.conv(self.square(self.square(x, features), features), self.classes)
    regression = self.square(self.square(x, features), features)
    boxes = self.conv(regression, 4)
    objectness = self.node('Sigmoid', [self.conv(regression, 1)])
    return self.concat(boxes, objectness, self.node('Sigmoid', [classes]))

  def layers(self):
    """Write all layers; return the name of the output."""
    width, depth = self.width, self.depth
    x = self.base(self.focus('images'), width, 3)
    x = self.csp(self.square(x, 2 * width, 2), 2 * width, depth, True)
    third = self.csp(self.square(x, 4 * width, 2), 4 * width, 3 * depth, True)
    fourth = self.csp(self.square(third, 8 * width, 2), 8 * width, 3 * depth, True)
    x = self.spp(self.square(fourth, 16 * width, 2), 16 * width)
    fifth = self.csp(x, 16 * width, depth, False)
    fpn_out0 = self.base(fifth, 8 * width)
    f_out0 = self.csp(self.concat(self.up(fpn_out0), fourth), 8 * width, depth, False)
    fpn_out1 = self.base(f_out0, 4 * width)
    pan_out2 = self.csp(self.concat(self.up(fpn_out1), third), 4 * width, depth, False)
    down = self.square(pan_out2, 4 * width, 2)
    pan_out1 = self.csp(self.concat(down, fpn_out1), 8 * width, depth, False)
    down = self.square(pan_out1, 8 * width, 2)
    pan_out0 = self.csp(self.concat(down, fpn_out0), 16 * width, depth, False)
    rows = [self.head(level) for level in (pan_out2, pan_out1, pan_out0)]
    shape = [1, 5 + self.classes, -1]
    flat = [self.node('Reshape', [each, self.constant(*shape)]) for each in rows]
    joined = self.node('Concat', flat, axis=2)
    return self.node('Transpose', [joined], perm=[0, 2, 1])

  def content(self):
    """Return the bytes of a file."""
    output = self.layers()
    places = sum(self.size[0] * self.size[1] // stride**2 for stride in (8, 16, 32))
    graph = b''.join(field(1, node) for node in self.nodes) + field(2, 'yolox')
    graph += b''.join(field(5, array) for array in self.arrays)
    graph += field(11, value_info('images', (1, 3, *self.size)))
    graph += field(12, value_info(output, (1, places, 5 + self.classes)))
    return field(1, 8) + field(7, graph) + field(8, field(1, '') + field(2, 13))
