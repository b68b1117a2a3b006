"""RBDC, TBDC and pixel AUC, in small examples and against brute force."""

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
  rate = np.asarray([0.0, 0.5])
  detected = np.asarray([0.2, 0.6])
  assert area_to_one(rate, detected, end='flat') == pytest.approx(0.2 + 0.3)
  assert area_to_one(rate, detected, end='point') == pytest.approx(0.2 + 0.4)
  with pytest.raises(ValueError, match='end must be'):
    area_to_one(rate, detected, end='up')


@pytest.mark.parametrize('end', ['flat', 'point'])
def test_areas_stop_at_a_rate_of_one(end):
  rate = np.asarray([0.0, 2.0])
  detected = np.asarray([0.0, 1.0])
  assert area_to_one(rate, detected, end=end) == pytest.approx(0.25)


def test_a_perfect_detector_finds_all_without_false_positives():
  truth = [(0, 0, 4, 4, 8, 8), (0, 1, 4, 4, 8, 8), (1, 2, 0, 0, 4, 4)]
  maps = np.full((4, 8, 8), 0.01)
  for _, frame, x1, y1, x2, y2 in truth:
    maps[frame, y1:y2, x1:x2] = 1.0
  curve = detection_curve(maps, truth, scale=1.0)
  assert curve.region[curve.rate == 0].max() == 1
  assert curve.track[curve.rate == 0].max() == 1


def test_a_blind_detector_finds_nothing():
  """A detection of the whole frame overlaps a true region by 16 / 256, below `BETA`."""
  truth = [(0, 0, 4, 4, 8, 8), (0, 1, 4, 4, 8, 8), (1, 2, 0, 0, 4, 4)]
  maps = np.full((4, 16, 16), 0.01)
  maps[:, 12:16, 12:16] = 1.0
  curve = detection_curve(maps, truth, scale=1.0)
  assert curve.region.max() == 0
  assert curve.track.max() == 0
  assert curve.rate.max() == 1


def test_a_track_needs_a_tenth_of_its_regions():
  truth = [(0, frame, 0, 0, 4, 4) for frame in range(11)]
  maps = np.full((11, 8, 8), 0.01)
  maps[3, :4, :4] = 1.0
  curve = detection_curve(maps, truth, scale=1.0)
  strict = (curve.rate == 0) & (curve.region < 0.5)
  assert curve.region[strict].max() == pytest.approx(1 / 11)
  assert curve.track[strict].max() == 0  # 1 of 11 is under a tenth
  curve = detection_curve(maps[:10], truth[:10], scale=1.0)
  strict = (curve.rate == 0) & (curve.region < 0.5)
  assert curve.track[strict].max() == 1  # 1 of 10 is a tenth


def test_false_positives_are_counted_per_frame():
  maps = np.full((4, 8, 8), 0.01)
  maps[:, 6:8, 6:8] = 1.0  # one wrong region in each of 4 frames
  maps[1, 0:4, 0:4] = 2.0
  curve = detection_curve(maps, [(0, 1, 0, 0, 4, 4)], scale=1.0)
  assert curve.rate[0] == 0
  assert 1.0 in curve.rate
  assert curve.region[curve.rate == 0].max() == 1


def test_components_below_the_least_area_are_not_detected():
  maps = np.full((1, 8, 8), 0.01)
  maps[0, 2, 2:5] = 1.0
  truth = [(0, 0, 2, 2, 5, 3)]
  for min_area, expected in ((3, 1), (4, 0)):
    curve = detection_curve(maps, truth, scale=1.0, min_area=min_area)
    assert curve.region[curve.rate == 0].max() == expected


def test_regions_of_masks_follow_tracks():
  masks = np.zeros((3, 8, 8), np.uint8)
  masks[0, 1:3, 1:3] = 1
  masks[1, 2:4, 2:4] = 1
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
  reduced = reduce_map(maps, 4, 0.0)
  assert reduced.shape == (2, 4, 4)
  np.testing.assert_allclose(reduced.mean(), maps.mean(), rtol=1e-5)


def test_pixel_auc_against_all_pixels(rng):
  masks = rng.integers(0, 2, (3, 10, 10))
  maps = rng.random((3, 10, 10)) * 1e-3 * (1 + masks)
  pixel = PixelAuc()
  pixel.add(maps[:1], masks[:1])
  pixel.add(maps[1:], masks[1:])
  assert pixel.value() == pytest.approx(auc(maps.ravel(), masks.ravel()), abs=2e-3)
  assert PixelAuc().value() is None
