"""RBDC, TBDC and pixel AUC: by hand, and against brute force."""

import numpy as np
import pytest

from a3dcae_jax.scoring.metrics import auc
from a3dcae_jax.scoring.regions import (
  PixelAuc,
  area_to_one,
  detection_curve,
  reduce_map,
  regions_of_masks,
)


def test_areas_by_hand():
  rate, detected = np.asarray([0.0, 0.5]), np.asarray([0.2, 0.6])
  assert area_to_one(rate, detected, end='flat') == pytest.approx(0.2 + 0.3)
  assert area_to_one(rate, detected, end='point') == pytest.approx(0.2 + 0.4)
  beyond = np.asarray([0.0, 2.0]), np.asarray([0.0, 1.0])
  assert (
    area_to_one(*beyond, end='flat') == area_to_one(*beyond, end='point') == pytest.approx(0.25)
  )
  with pytest.raises(ValueError, match='end must be'):
    area_to_one(rate, detected, end='up')


def test_a_perfect_and_a_blind_detector():
  truth = [(0, 0, 4, 4, 8, 8), (0, 1, 4, 4, 8, 8), (1, 2, 0, 0, 4, 4)]
  maps = np.full((4, 8, 8), 0.01)
  for _, frame, x1, y1, x2, y2 in truth:
    maps[frame, y1:y2, x1:x2] = 1.0
  curve = detection_curve(maps, truth, scale=1.0)
  at_zero = curve.rate == 0
  assert curve.region[at_zero].max() == curve.track[at_zero].max() == 1
  wrong = np.full(
    (4, 16, 16), 0.01
  )  # a whole frame of 16 x 16 reaches 16 / 256 with a true region of 16: under a tenth
  wrong[:, 12:16, 12:16] = 1.0
  blind = detection_curve(wrong, truth, scale=1.0)
  assert blind.region.max() == blind.track.max() == 0 and blind.rate.max() == 1


def test_track_needs_a_tenth_of_its_regions():
  truth = [(0, frame, 0, 0, 4, 4) for frame in range(11)]
  maps = np.full((11, 8, 8), 0.01)
  maps[3, :4, :4] = 1.0
  curve = detection_curve(maps, truth, scale=1.0, min_area=2)
  strict = (curve.rate == 0) & (curve.region < 0.5)
  assert (
    curve.region[strict].max() == pytest.approx(1 / 11) and curve.track[strict].max() == 0
  )  # 1 of 11 is under a tenth
  curve = detection_curve(maps[:10], truth[:10], scale=1.0, min_area=2)
  assert curve.track[(curve.rate == 0) & (curve.region < 0.5)].max() == 1  # 1 of 10 is a tenth


def test_false_positives_are_counted_per_frame():
  maps = np.full((4, 8, 8), 0.01)
  maps[:, 6:8, 6:8] = 1.0  # one wrong region in each of 4 frames
  maps[1, 0:4, 0:4] = 2.0
  curve = detection_curve(maps, [(0, 1, 0, 0, 4, 4)], scale=1.0, min_area=2)
  assert curve.rate[0] == 0 and 1.0 in curve.rate and curve.region[curve.rate == 0].max() == 1


def test_regions_of_masks_follow_tracks():
  masks = np.zeros((3, 8, 8), np.uint8)
  masks[0, 1:3, 1:3] = masks[1, 2:4, 2:4] = 1
  masks[1:, 6:8, 6:8] = 1
  assert regions_of_masks(masks) == [
    (0, 0, 1, 1, 3, 3),
    (0, 1, 2, 2, 4, 4),
    (1, 1, 6, 6, 8, 8),
    (1, 2, 6, 6, 8, 8),
  ]
  assert regions_of_masks(np.zeros((2, 4, 4))) == []


def test_reduce_map_keeps_the_mean(rng):
  maps = rng.random((2, 16, 16))
  assert reduce_map(maps, 4, sigma_px=0.0).shape == (2, 4, 4)
  np.testing.assert_allclose(reduce_map(maps, 4, sigma_px=0.0).mean(), maps.mean(), rtol=1e-5)


def test_pixel_auc_against_all_pixels(rng):
  masks = rng.integers(0, 2, (3, 10, 10))
  maps = rng.random((3, 10, 10)) * 1e-3 * (1 + masks)
  pixel = PixelAuc()
  pixel.add(maps[:1], masks[:1])
  pixel.add(maps[1:], masks[1:])
  assert pixel.value() == pytest.approx(auc(maps.ravel(), masks.ravel()), abs=2e-3)
  assert PixelAuc().value() is None
