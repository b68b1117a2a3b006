"""Corruptions: each changes frames as its name says."""

import numpy as np
import pytest

from tools.validation.corruptions import NOISE_STD, SHIFT_PX, corrupted

MEAN = np.full((64, 64), 100.0)


@pytest.fixture(scope='module')
def still_scene():
  """A scene of random pixels, 40 to 199, that does not move."""
  image = np.random.default_rng(0).integers(40, 200, (64, 64), dtype=np.uint8)
  return np.broadcast_to(image, (30, 64, 64))


def test_light_changes_gain_and_offset(still_scene):
  made = corrupted(still_scene, MEAN, 'light', np.random.default_rng(1)).astype(float)
  inside = (made > 0) & (made < 255)
  before = still_scene[inside]
  after = made[inside]
  gain, offset = np.polyfit(before, after, 1)
  assert 0.85 <= gain <= 1.15
  assert abs(gain - 1) > 0.001
  assert abs(offset) < 12.5
  # Grey levels were rounded, and the line was fitted to rounded values.
  np.testing.assert_allclose(after, gain * before + offset, atol=1.0)


@pytest.mark.parametrize('seed', range(4))
def test_shift_moves_the_whole_camera(still_scene, seed):
  made = corrupted(still_scene, MEAN, 'shift', np.random.default_rng(seed))
  assert made.shape == still_scene.shape
  inner = made[:, SHIFT_PX:-SHIFT_PX, SHIFT_PX:-SHIFT_PX]
  height, width = inner.shape[1:]
  shifts = []
  for top in range(2 * SHIFT_PX + 1):
    for left in range(2 * SHIFT_PX + 1):
      window = still_scene[:, top : top + height, left : left + width]
      if np.array_equal(inner, window):
        shifts.append((top, left))
  assert len(shifts) == 1
  assert shifts != [(SHIFT_PX, SHIFT_PX)]


def test_noise_has_the_given_strength_and_differs_between_frames(still_scene):
  made = corrupted(still_scene, MEAN, 'noise', np.random.default_rng(0))
  difference = made.astype(float) - still_scene
  rounding_std = 12**-0.5
  np.testing.assert_allclose(difference.std(), np.hypot(NOISE_STD, rounding_std), rtol=0.02)
  correlation = np.corrcoef(difference[0].ravel(), difference[1].ravel())[0, 1]
  assert abs(correlation) < 0.1
