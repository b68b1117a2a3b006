"""Named shapes of every operator, for the tests and the checks on devices."""

from typing import NamedTuple


class ConvCase(NamedTuple):
  """One convolution.

  Attributes:
    name: name of the test.
    shape: [B, T, H, W, Cin] of the input.
    kernel: size (kt, kh, kw).
    features: output channels.
  """

  name: str
  shape: tuple[int, ...]
  kernel: tuple[int, int, int]
  features: int


class StridedCase(NamedTuple):
  """One convolution with strides.

  Attributes:
    name: name of the test.
    shape: [B, T, H, W, Cin] of the input.
    kernel: size (kt, kh, kw).
    strides: (st, sh, sw); after un-pooling, its window.
    features: output channels.
  """

  name: str
  shape: tuple[int, ...]
  kernel: tuple[int, int, int]
  strides: tuple[int, int, int]
  features: int


class PoolCase(NamedTuple):
  """One pooling.

  Attributes:
    name: name of the test.
    shape: [B, T, H, W, C] of the input.
    window: (pt, ph, pw).
  """

  name: str
  shape: tuple[int, ...]
  window: tuple[int, int, int]


class PolyphaseCase(NamedTuple):
  """One polyphase layer.

  Attributes:
    shape: [B, T, H, W, 1] of the images.
    kernel: size (kh, kw).
    features: number of channels of the map at half resolution, F.
  """

  shape: tuple[int, ...]
  kernel: tuple[int, int]
  features: int


class CropCase(NamedTuple):
  """Crops of one clip.

  Attributes:
    name: name of the test.
    shape: [N, H, W] of the frames.
    box: x1, y1, x2, y2 in pixels.
    size: height and width of the crop.
  """

  name: str
  shape: tuple[int, ...]
  box: tuple[float, float, float, float]
  size: int


CONV_CASES = (
  ConvCase('square', (2, 4, 6, 6, 3), (3, 3, 3), 5),
  ConvCase('frame_kernel', (2, 3, 6, 8, 2), (1, 3, 3), 4),
  ConvCase('narrowing', (1, 4, 5, 7, 6), (3, 3, 3), 2),
  ConvCase('even_kernel', (1, 3, 4, 4, 2), (1, 2, 2), 3),
  ConvCase('wide_kernel', (1, 6, 7, 5, 1), (5, 3, 1), 2),
  ConvCase('one_frame', (2, 1, 4, 4, 2), (3, 3, 3), 2),
  ConvCase('two_tiles', (2, 8, 4, 6, 3), (3, 3, 3), 2),
  ConvCase('tiles_of_two', (1, 6, 4, 4, 2), (3, 3, 3), 3),
)

STRIDED_CASES = (
  StridedCase('conv_ae', (2, 1, 16, 24, 3), (1, 11, 11), (1, 4, 4), 2),
  StridedCase('convlstm_ae', (1, 3, 8, 6, 2), (1, 5, 5), (1, 2, 2), 3),
  StridedCase('plain_3d', (2, 4, 6, 8, 2), (3, 3, 3), (2, 2, 2), 3),
  StridedCase('frame_stride', (1, 4, 4, 6, 1), (3, 3, 3), (1, 2, 2), 2),
  StridedCase('no_stride', (1, 2, 4, 4, 2), (1, 3, 3), (1, 1, 1), 2),
  StridedCase('even_kernel', (1, 6, 4, 9, 2), (4, 2, 3), (2, 2, 3), 2),
)

POOL_CASES = (
  PoolCase('frame_window', (2, 3, 4, 6, 2), (1, 2, 2)),
  PoolCase('cube_window', (2, 4, 4, 4, 3), (2, 2, 2)),
  PoolCase('uneven_window', (1, 4, 6, 2, 2), (4, 3, 1)),
  PoolCase('sixteen_channels', (2, 4, 8, 12, 16), (2, 2, 2)),
)

POLYPHASE_CASES = (
  PolyphaseCase((2, 3, 6, 8, 1), (3, 3), 4),
  PolyphaseCase((1, 2, 4, 4, 1), (2, 2), 3),
  PolyphaseCase((1, 1, 8, 6, 1), (5, 3), 2),
  # A size that Triton's matrix products can take: 128 windows, 16 taps, 16 channels.
  PolyphaseCase((1, 2, 16, 16, 1), (3, 3), 16),
)

UPSAMPLED_CASES = (
  StridedCase('cube', (2, 2, 3, 4, 3), (3, 3, 3), (2, 2, 2), 5),
  StridedCase('frame_kernel', (1, 3, 2, 3, 2), (1, 3, 3), (1, 2, 2), 1),
  StridedCase('even_kernel', (1, 2, 3, 2, 2), (1, 2, 2), (2, 2, 3), 3),
  StridedCase('wide_kernel', (1, 2, 3, 2, 1), (5, 3, 1), (2, 4, 1), 2),
)

CROP_CASES = (
  CropCase('whole_frame', (3, 8, 12), (0, 0, 12, 8), 4),
  CropCase('enlarged', (2, 16, 16), (3.3, 4.7, 6.1, 9.2), 8),
  CropCase('one_pixel', (2, 6, 7), (2, 3, 3, 4), 4),
  CropCase('at_the_border', (3, 9, 10), (7.5, 0, 10, 2.5), 6),
  CropCase('beyond_the_border', (2, 9, 10), (-3, 5, 4, 12), 4),
  CropCase('reduced', (2, 64, 48), (1, 2, 45, 61), 8),
)
