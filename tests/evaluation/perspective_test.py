"""Perspective: the fit of reference speeds, and the division of flow by them."""

import numpy as np
import pytest

from a3dcae_jax.data.frame_cache import CachedVideo
from a3dcae_jax.evaluation.perspective import MIN_TOP_SCALE, find_row_scale
from a3dcae_jax.models.inputs import UNIFORM_ROWS, network_input


def gratings(bands, size=64, frames=16):
  """Make a moving grating in each band of rows, uint8 [T, H, W].

  Args:
    bands: (first row, last row, pixels per frame) of each band; the last row is exclusive.
    size: height and width of the frames.
    frames: number of frames.
  """
  across = np.arange(size)[None, None]
  time = np.arange(frames)[:, None, None]
  pixels = np.full((frames, size, size), 128.0)
  for first, last, speed in bands:
    pixels[:, first:last] = 128 + 100 * np.sin(2 * np.pi * (across - speed * time) / 16)
  return pixels.round().astype(np.uint8)


def found(frames):
  return find_row_scale(frames, [CachedVideo('01', 0, len(frames), '')])


def rising(first_row):
  return gratings([(row, row + 8, 0.2 + row / 64) for row in range(first_row, 64, 8)])


def test_a_line_is_fitted_to_the_rows_that_move():
  top, bottom = found(rising(0))
  expected = (0.2 + 60 / 64) / (0.2 + 4 / 64)
  assert bottom / top == pytest.approx(expected, rel=0.3)  # windows of 4 px blur the bands
  half = found(rising(32))  # nothing moves above
  assert half[0] < half[1]
  assert 1 <= half[1] < bottom  # the reference speed is 1 near the bottom, where things move


def test_lower_rows_are_never_slower_and_the_top_keeps_a_minimum():
  assert found(gratings([(0, 32, 1.0), (32, 64, 0.4)])) == UNIFORM_ROWS
  assert found(np.full((16, 32, 32), 77, np.uint8)) == UNIFORM_ROWS
  top, _ = found(gratings([(40, 52, 0.5), (52, 64, 2.0)]))
  assert top == pytest.approx(MIN_TOP_SCALE)


def test_each_row_is_divided_by_its_reference_speed(rng):
  clips = rng.integers(0, 256, (1, 4, 8, 8), np.uint8)
  mean = np.full((8, 8), 0.1, np.float32)
  plain = np.asarray(network_input(clips, mean, kind='flow'))
  divided = np.asarray(network_input(clips, mean, kind='flow', row_scale=(0.5, 1.2)))
  rows = np.linspace(0.5, 1.2, 8)[:, None, None]
  np.testing.assert_allclose(divided * rows, plain, rtol=1e-5, atol=1e-7)
