"""Statistics of objects by energy and row, and errors of frames."""

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.serving.object_statistics import (
  ObjectStatistics,
  UsualHeight,
  object_errors,
  worst_objects,
)


def draw_raw(rng, count):
  """Return measurements whose errors are a tenth of their energy, times noise."""
  energy = np.exp(rng.uniform(-6, 0, (count, 2)))
  noise = np.exp(0.1 * rng.standard_normal((count, 2)))
  error = 0.1 * energy * noise
  speed = rng.standard_normal(count)
  return np.stack([error[:, 0], energy[:, 0], error[:, 1], energy[:, 1], speed], axis=1)


def edges_at(rows, height=0.1):
  """Return upper and lower edges of objects of one height."""
  rows = np.asarray(rows, float)
  return np.stack([rows - height, rows], axis=1)


def test_errors_count_relative_to_the_energy_of_the_crop(rng):
  raw = draw_raw(rng, 2000)
  edges = edges_at(rng.uniform(0, 1, 2000))
  statistics = ObjectStatistics.fit(edges, raw)
  zscores = statistics.zscores(edges, raw)
  np.testing.assert_allclose(zscores.mean(0), 0, atol=0.05)
  np.testing.assert_allclose(zscores.std(0), 1, atol=0.05)

  def change(factors):
    return (statistics.zscores(edges, raw * factors) - zscores).mean(0)

  larger_errors = change([1.5, 1, 1.5, 1, 1])
  larger_energies_too = change([1.5, 1.5, 1.5, 1.5, 1])
  assert (larger_errors[:2] > 1).all()
  assert (larger_energies_too[:2] < larger_errors[:2] / 2).all()


def test_zscores_know_the_height_in_the_frame(rng):
  edges = edges_at(np.repeat([0.2, 0.8], 500))
  raw = draw_raw(rng, 1000)
  raw[:, 4] += np.where(edges[:, 1] < 0.5, 1, 5)
  statistics = ObjectStatistics.fit(edges, raw)
  raw[:3, 4] = 1, 5, 5
  near_and_far = statistics.zscores(edges_at([0.2, 0.8, 0.2]), raw[:3])[:, 2]
  # Not 0: a tenth of the weight belongs to objects at other heights.
  np.testing.assert_allclose(near_and_far[:2], 0, atol=0.3)
  assert near_and_far[2] > 2


def test_the_usual_height_is_linear_and_odd_boxes_do_not_change_it(rng):
  rows = rng.uniform(0.3, 0.9, 400)
  heights = 0.5 * rows - 0.1
  heights[:40] *= 3
  usual = UsualHeight.fit(np.stack([rows - heights, rows], axis=1))
  np.testing.assert_allclose(usual.at(np.asarray([0.5, 1.0])), [0.15, 0.4], atol=0.01)
  assert usual.at(np.asarray([0.0])) > 0.02


def test_who_comes_nearer_than_anybody_in_training_is_not_too_fast(rng):
  """Objects are twice as high and twice as fast in row 0.8 as in row 0.4."""
  rows = rng.uniform(0.2, 0.6, 1000)
  raw = draw_raw(rng, 1000)
  raw[:, 4] = rows * rng.uniform(0.8, 1.2, 1000)
  edges = np.stack([0.5 * rows, rows], axis=1)
  statistics = ObjectStatistics.fit(edges, raw)
  near = raw[:2].copy()
  near[:, 4] = 1.0, 2.0
  walking, running = statistics.zscores(np.asarray([[0.5, 1.0], [0.5, 1.0]]), near)[:, 2]
  assert walking < 2
  assert running > 4


def test_a_measurement_that_never_varies_stays_finite():
  statistics = ObjectStatistics.fit(edges_at(np.linspace(0, 1, 9)), np.zeros((9, 5)))
  zscores = statistics.zscores(edges_at([0.5]), np.zeros((1, 5)))
  np.testing.assert_allclose(zscores, 0, atol=1e-6)


def test_the_worst_object_counts_and_frames_without_objects_have_the_least_error():
  errors = object_errors(np.asarray([[1.0, -5.0, 2.0], [0.0, 3.0, 0.0], [-1, -1, -1]]), (1, 2, 0.5))
  np.testing.assert_array_equal(errors, [2, 6, 0])
  worst = worst_objects(errors, np.asarray([1, 1, 3]), 4)
  np.testing.assert_array_equal(worst, [0, 6, 0, 0])


def test_statistics_come_back_from_their_arrays(rng):
  raw = draw_raw(rng, 50)
  edges = edges_at(rng.uniform(0, 1, 50))
  statistics = ObjectStatistics.fit(edges, raw)
  arrays = statistics.to_arrays()
  read = ObjectStatistics.from_arrays(arrays, 'statistics.npz')
  np.testing.assert_array_equal(read.zscores(edges, raw), statistics.zscores(edges, raw))
  arrays['by_height_mean'] = arrays['by_height_mean'][:2]
  with pytest.raises(UserError, match=r'statistics.npz: by_height_mean is missing or not \[3, 61'):
    ObjectStatistics.from_arrays(arrays, 'statistics.npz')
