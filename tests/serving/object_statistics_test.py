"""Statistics of objects by energy and row, and errors of frames."""

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.serving.object_statistics import (
  ObjectStatistics,
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


def test_errors_count_relative_to_the_energy_of_the_crop(rng):
  raw = draw_raw(rng, 2000)
  bottoms = rng.uniform(0, 1, 2000)
  statistics = ObjectStatistics.fit(bottoms, raw)
  zscores = statistics.zscores(bottoms, raw)
  np.testing.assert_allclose(zscores.mean(0), 0, atol=0.05)
  np.testing.assert_allclose(zscores.std(0), 1, atol=0.05)

  def change(factors):
    return (statistics.zscores(bottoms, raw * factors) - zscores).mean(0)

  larger_errors = change([1.5, 1, 1.5, 1, 1])
  larger_energies_too = change([1.5, 1.5, 1.5, 1.5, 1])
  assert (larger_errors[:2] > 1).all()
  assert (larger_energies_too[:2] < larger_errors[:2] / 2).all()


def test_zscores_know_the_height_in_the_frame(rng):
  bottoms = np.repeat([0.2, 0.8], 500)
  raw = draw_raw(rng, 1000)
  raw[:, 4] += np.where(bottoms < 0.5, 1, 5)
  statistics = ObjectStatistics.fit(bottoms, raw)
  raw[:3, 4] = 1, 5, 5
  near_and_far = statistics.zscores(np.asarray([0.2, 0.8, 0.2]), raw[:3])[:, 2]
  np.testing.assert_allclose(near_and_far[:2], 0, atol=0.2)
  assert near_and_far[2] > 2


def test_a_measurement_that_never_varies_stays_finite():
  statistics = ObjectStatistics.fit(np.linspace(0, 1, 9), np.zeros((9, 5)))
  zscores = statistics.zscores(np.asarray([0.5]), np.zeros((1, 5)))
  np.testing.assert_allclose(zscores, 0, atol=1e-6)


def test_the_worst_object_counts_and_frames_without_objects_have_the_least_error():
  errors = object_errors(np.asarray([[1.0, -5.0, 2.0], [0.0, 3.0, 0.0], [-1, -1, -1]]), (1, 2, 0.5))
  np.testing.assert_array_equal(errors, [2, 6, 0])
  worst = worst_objects(errors, np.asarray([1, 1, 3]), 4)
  np.testing.assert_array_equal(worst, [0, 6, 0, 0])


def test_statistics_come_back_from_their_arrays(rng):
  raw = draw_raw(rng, 50)
  bottoms = rng.uniform(0, 1, 50)
  statistics = ObjectStatistics.fit(bottoms, raw)
  arrays = statistics.to_arrays()
  read = ObjectStatistics.from_arrays(arrays, 'statistics.npz')
  np.testing.assert_array_equal(read.zscores(bottoms, raw), statistics.zscores(bottoms, raw))
  arrays['by_height_mean'] = arrays['by_height_mean'][:2]
  with pytest.raises(UserError, match=r'statistics.npz: by_height_mean is missing or not \[3, 61'):
    ObjectStatistics.from_arrays(arrays, 'statistics.npz')
