"""The rank regression of errors on the baselines."""

import numpy as np
import pytest

from a3dcae_jax.scoring.rank_regression import rank_regression


def test_errors_ordered_like_one_baseline_give_weight_to_it_alone(rng):
  difference = rng.random(500)
  distance = rng.random(500)
  baselines = {'frame_difference': difference, 'mean_image_distance': distance}
  found = rank_regression(np.exp(7 * distance), baselines)
  assert found['weights']['mean_image_distance'] == pytest.approx(1)
  assert found['weights']['frame_difference'] == pytest.approx(0, abs=1e-9)
  assert found['r2'] == pytest.approx(1)
  found = rank_regression(-difference, baselines)
  assert found['weights']['frame_difference'] == pytest.approx(-1)


def test_correlated_baselines_get_separate_weights_and_r2_is_their_share(rng):
  distance = rng.random(5000)
  own = rng.random(5000)
  difference = distance + rng.random(5000)
  baselines = {'frame_difference': difference, 'mean_image_distance': distance}
  found = rank_regression(difference + own, baselines)
  assert found['weights']['frame_difference'] > 0.7
  assert abs(found['weights']['mean_image_distance']) < 0.05
  # The expected share is of the variance of values; that of ranks is close to it.
  share = np.var(difference) / (np.var(difference) + np.var(own))
  assert found['r2'] == pytest.approx(share, abs=0.03)


def test_equal_values_explain_nothing():
  rising = np.arange(5.0)
  assert rank_regression(np.ones(5), {'frame_difference': rising}) is None
  baselines = {'frame_difference': np.ones(5), 'mean_image_distance': rising}
  found = rank_regression(rising, baselines)
  assert found['weights']['frame_difference'] == pytest.approx(0)
  assert found['weights']['mean_image_distance'] == pytest.approx(1)
