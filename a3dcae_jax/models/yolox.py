"""YOLOX: a network that detects objects in single frames (Ge et al. 2021).

The layers are those of the published models nano to x, after their batch normalisations were folded
into the convolutions. Frames are grey. The published networks take three equal channels for them,
so the kernels of their first layer are summed over these channels.

Source: Ge et al., YOLOX: Exceeding YOLO Series in 2021, arXiv:2107.08430; CSPDarknet with PAFPN and
a decoupled head.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from a3dcae_jax.ops.conv_algorithm import materialise

STRIDES = (8, 16, 32)
"""Pixels of the input between two places of each output level."""

BOX_COLUMNS = 5
"""x, y, log width, log height and objectness; then comes one column for each class."""

POOL_SIDES = (5, 9, 13)
"""Sides of the windows of spatial pyramid pooling."""


def conv_name(index: int) -> str:
  """Return the name of a convolution in the variables, by its number in their order."""
  return f'conv_{index:03}'


@dataclasses.dataclass(frozen=True)
class YoloxSize:
  """The size of a model.

  Attributes:
    width: channels of the first layer: 16 for nano, 24 for tiny, 32 for s.
    depth: bottlenecks of the shortest stage: 1 for nano, tiny and s.
    depthwise: whether 3x3 convolutions have one kernel for each channel, as in nano.
    classes: number of classes.
  """

  width: int
  depth: int
  depthwise: bool
  classes: int


class Conv(nn.Module):
  """A convolution with a bias, as in an ONNX file.

  Attributes:
    features: channels of the output.
    side: height and width of the kernel; 1 or 3.
    stride: of the convolution.
    depthwise: whether there is one kernel for each channel.
  """

  features: int
  side: int = 1
  stride: int = 1
  depthwise: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Convolve [B, H, W, C]."""
    channels = 1 if self.depthwise else x.shape[-1]
    shape = (self.side, self.side, channels, self.features)
    kernel = self.param('kernel', nn.initializers.lecun_normal(), shape)
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    if self.depthwise:
      return _shifted_products(x, kernel[:, :, 0], self.stride) + bias
    if self.side == 1:
      return jnp.einsum('bhwc,cd->bhwd', x, kernel[0, 0]) + bias
    padding = [(self.side // 2, self.side // 2)] * 2
    dimensions = ('NHWC', 'HWIO', 'NHWC')
    strides = (self.stride, self.stride)
    convolved = jax.lax.conv_general_dilated(
      x, kernel, strides, padding, dimension_numbers=dimensions
    )
    return convolved + bias


class Yolox(nn.Module):
  """The network: grey frames -> rows for all places.

  Its convolutions are `conv_000`, `conv_001`, ... in the order in which they are applied, which is
  the order of the nodes in an ONNX file.

  Attributes:
    size: of the model.
  """

  size: YoloxSize

  @nn.compact
  def __call__(self, frames: jax.Array) -> jax.Array:
    """Return the output of the network.

    Args:
      frames: float [B, H, W], grey levels from 0 to 255; H and W are multiples of 32.

    Returns:
      float [B, P, 5 + classes]: columns and rows of centres relative to their place, in strides;
      logarithms of widths and heights in strides; objectness and scores of classes in [0, 1]. The
      P places are those of stride 8, row by row, then those of 16 and 32.
    """
    return _Layers(self.size)(frames)


class _Layers:
  """Applies the layers and counts the convolutions."""

  def __init__(self, size: YoloxSize):
    self._size = size
    self._count = 0

  def __call__(self, frames: jax.Array) -> jax.Array:
    levels = self._pyramid(*self._backbone(frames))
    rows = [self._head(level) for level in levels]
    return jnp.concatenate([each.reshape(each.shape[0], -1, each.shape[-1]) for each in rows], 1)

  def _backbone(self, frames):
    width = self._size.width
    depth = self._size.depth
    x = self._active(_pixel_phases(frames), width, 3)
    x = self._stage(self._square(x, 2 * width, 2), depth)
    third = self._stage(self._square(x, 4 * width, 2), 3 * depth)
    fourth = self._stage(self._square(third, 8 * width, 2), 3 * depth)
    x = self._pooled(self._square(fourth, 16 * width, 2))
    return third, fourth, self._stage(x, depth, shortcut=False)

  def _pyramid(self, third, fourth, fifth):
    """Mix the levels, from the coarsest to the finest and back."""
    width = self._size.width

    def mix(x, features):
      return self._stage(x, self._size.depth, features, shortcut=False)

    coarse = self._active(fifth, 8 * width)
    middle = mix(jnp.concatenate([_doubled(coarse), fourth], -1), 8 * width)
    middle = self._active(middle, 4 * width)
    fine = mix(jnp.concatenate([_doubled(middle), third], -1), 4 * width)
    down = self._square(fine, 4 * width, 2)
    next_level = mix(jnp.concatenate([down, middle], -1), 8 * width)
    down = self._square(next_level, 8 * width, 2)
    return fine, next_level, mix(jnp.concatenate([down, coarse], -1), 16 * width)

  def _head(self, x):
    """Return the rows of one level, [B, H, W, 5 + classes]."""
    features = 4 * self._size.width
    x = self._active(x, features)
    classes = self._square(self._square(x, features), features)
    classes = self._conv(classes, self._size.classes)
    regression = self._square(self._square(x, features), features)
    boxes = self._conv(regression, 4)
    objectness = self._conv(regression, 1)
    return jnp.concatenate([boxes, jax.nn.sigmoid(objectness), jax.nn.sigmoid(classes)], -1)

  def _stage(self, x, depth, features=None, shortcut=True):
    """Apply a cross-stage partial block of `depth` bottlenecks."""
    features = features or x.shape[-1]
    half = features // 2
    first = self._active(x, half)
    second = self._active(x, half)
    for _ in range(depth):
      inner = self._square(self._active(first, half), half)
      first = inner + first if shortcut else inner
    return self._active(jnp.concatenate([first, second], -1), features)

  def _pooled(self, x):
    """Apply spatial pyramid pooling."""
    features = x.shape[-1]
    x = self._active(x, features // 2)
    pooled = [x]
    for _ in POOL_SIDES:  # two windows of 5 in a row equal one of 9, three equal one of 13
      pooled.append(nn.max_pool(pooled[-1], (POOL_SIDES[0],) * 2, padding='SAME'))
    return self._active(jnp.concatenate(pooled, -1), features)

  def _square(self, x, features, stride=1):
    """Apply a 3x3 convolution, or a depthwise and a 1x1 one."""
    if not self._size.depthwise:
      return self._active(x, features, 3, stride)
    x = _silu(self._conv(x, x.shape[-1], 3, stride, depthwise=True))
    return self._active(x, features)

  def _active(self, x, features, side=1, stride=1):
    return _silu(self._conv(x, features, side, stride))

  def _conv(self, x, features, side=1, stride=1, depthwise=False):
    name = conv_name(self._count)
    self._count += 1
    return Conv(features, side, stride, depthwise, name=name)(x)


def _silu(x: jax.Array) -> jax.Array:
  """Return x sigmoid(x)."""
  # Without this, XLA on CPUs computes it again for each operation that reads it.
  return materialise(nn.silu(x))


def _pixel_phases(frames: jax.Array) -> jax.Array:
  """Return the pixels of each 2x2 square, column by column, as channels."""
  phases = [frames[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
  return jnp.stack(phases, -1)


def _doubled(x: jax.Array) -> jax.Array:
  """Repeat each place twice in both directions."""
  return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)


def _shifted_products(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
  """Convolve each channel with its own kernel [k, k, C]: shifted products."""
  side = kernel.shape[0]
  margin = side // 2
  height, width = x.shape[1] // stride, x.shape[2] // stride
  # Without this, XLA on CPUs checks for the border of the map in each product.
  padded = materialise(jnp.pad(x, [(0, 0), (margin, margin), (margin, margin), (0, 0)]))
  total = 0
  for row in range(side):
    for column in range(side):
      rows = slice(row, row + stride * (height - 1) + 1, stride)
      columns = slice(column, column + stride * (width - 1) + 1, stride)
      total += padded[:, rows, columns] * kernel[row, column]
  return total
