"""Components: gaps, usual sizes, cuts."""

import numpy as np

from a3dcae_jax.objects.components import (
  close_gaps,
  components,
  size_at,
  split_component,
  usual_sizes,
)

USUAL = np.full((11, 2), [10, 20], np.float32)


def boxes_of(mask):
  found = []
  for place, pixels in components(mask, mask, 10):
    found += split_component(place, pixels, USUAL)
  return sorted(found)


def test_gaps_are_closed_and_edges_stay():
  mask = np.zeros((20, 20), bool)
  mask[0:5] = True
  mask[9:12] = True
  closed = close_gaps(mask, 2, 1)
  assert closed[:12].all()
  assert not closed[12:].any()


def test_a_component_needs_strong_pixels():
  mask = np.zeros((20, 20), bool)
  mask[2:10, 2:10] = True
  assert len(components(mask, mask, 10)) == 1
  assert not components(mask, np.zeros_like(mask), 10)
  assert not components(np.zeros_like(mask), mask, 10)


def test_a_component_of_usual_size_is_one_box():
  mask = np.zeros((80, 80), bool)
  mask[30:50, 20:30] = True
  assert boxes_of(mask) == [(20, 30, 30, 50)]


def test_groups_are_cut_where_they_are_thin():
  mask = np.zeros((80, 80), bool)
  mask[30:50, 20:31] = True
  mask[35:55, 32:43] = True
  mask[40:42, 31] = True
  np.testing.assert_allclose(boxes_of(mask), [(20, 30, 31, 50), (32, 35, 43, 55)], atol=1)


def test_one_that_is_larger_but_of_the_usual_shape_stays_whole():
  mask = np.zeros((80, 80), bool)
  mask[30:65, 20:36] = True  # 1.75 and 1.6 usual sizes
  assert boxes_of(mask) == [(20, 30, 36, 65)]
  mask[10:65, 20:46] = True  # 2.75 and 2.6
  assert len(boxes_of(mask)) > 1


def test_one_behind_the_other_is_cut_across():
  mask = np.zeros((80, 80), bool)
  mask[20:60, 20:30] = True
  assert boxes_of(mask) == [(20, 20, 30, 40), (20, 40, 30, 60)]


def test_small_rests_are_left_out():
  mask = np.zeros((80, 80), bool)
  mask[30:34, 20:25] = True
  assert boxes_of(mask) == []


def test_usual_sizes_are_the_most_frequent_in_perspective(rng):
  lower = rng.integers(60, 240, 400)
  heights = np.rint(0.2 * lower).astype(int)
  singles = np.stack([np.zeros(400, int), lower - heights, heights // 2, lower], 1)
  lower = rng.integers(120, 240, 100)
  width, height = rng.integers(30, 90, (2, 100))
  groups = np.stack([np.zeros(100, int), lower - height, width, lower], 1)
  boxes = np.concatenate([singles, groups])
  areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
  usual = usual_sizes(boxes, areas, 240)
  for row in (80, 160, 240):
    np.testing.assert_allclose(size_at(usual, row), [0.1 * row, 0.2 * row], rtol=0.15)


def test_without_components_a_size_is_assumed():
  usual = usual_sizes(np.zeros((0, 4), int), np.zeros(0, int), 240)
  assert size_at(usual, 100) == (30, 30)
