"""Named shapes of every operator, read by the tests and by the benchmark."""

from typing import NamedTuple


class ConvCase(NamedTuple):
  """One convolution: `shape` [B, T, H, W, Cin], `kernel` (kt, kh, kw), `features` out."""

  name: str
  shape: tuple
  kernel: tuple
  features: int


class PoolCase(NamedTuple):
  """One pooling: `shape` [B, T, H, W, C], `window` (pt, ph, pw)."""

  name: str
  shape: tuple
  window: tuple


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

POOL_CASES = (
  PoolCase('frame_window', (2, 3, 4, 6, 2), (1, 2, 2)),
  PoolCase('cube_window', (2, 4, 4, 4, 3), (2, 2, 2)),
  PoolCase('uneven_window', (1, 4, 6, 2, 2), (4, 3, 1)),
  PoolCase('sixteen_channels', (2, 4, 8, 12, 16), (2, 2, 2)),
)

# (shape [B, T, H, W, 1], kernel (kh, kw), features) of the phase-split outer layers.
OUTER_CASES = (
  ((2, 3, 6, 8, 1), (3, 3), 4),
  ((1, 2, 4, 4, 1), (2, 2), 3),
  ((1, 1, 8, 6, 1), (5, 3), 2),
  (
    (1, 2, 16, 16, 1),
    (3, 3),
    16,
  ),  # of a size that Triton's products take: 128 windows, 16 taps, 16 channels
)
