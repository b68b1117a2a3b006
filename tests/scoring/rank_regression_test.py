"""What a score follows, by ranks."""

import numpy as np
import pytest

from a3dcae_jax.scoring.rank_regression import rank_regression
from a3dcae_jax.scoring.schema import describe_follows


def test_an_error_that_is_a_floor_in_other_units_follows_it_alone(rng):
  baselines = {'frame_difference': rng.random(500), 'mean_image_distance': rng.random(500)}
  found = rank_regression(np.exp(7 * baselines['mean_image_distance']), baselines)
  assert found['weights']['mean_image_distance'] == pytest.approx(1) and found['weights'][
    'frame_difference'
  ] == pytest.approx(0, abs=1e-9)
  assert found['r2'] == pytest.approx(1)
  found = rank_regression(-baselines['frame_difference'], baselines)
  assert found['weights']['frame_difference'] == pytest.approx(-1)


def test_correlated_floors_are_told_apart_and_the_rest_is_the_network(rng):
  still, own = rng.random(5000), rng.random(5000)
  moving = still + rng.random(5000)
  found = rank_regression(moving + own, {'frame_difference': moving, 'mean_image_distance': still})
  assert (
    found['weights']['frame_difference'] > 0.7
    and abs(found['weights']['mean_image_distance']) < 0.05
  )
  share = np.var(moving) / (np.var(moving) + np.var(own))
  assert found['r2'] == pytest.approx(share, abs=0.03)  # of values; that of ranks is near it


def test_equal_values_explain_nothing():
  assert rank_regression(np.ones(5), {'frame_difference': np.arange(5.0)}) is None
  found = rank_regression(
    np.arange(5.0), {'frame_difference': np.ones(5), 'mean_image_distance': np.arange(5.0)}
  )
  assert found['weights'] == {
    'frame_difference': pytest.approx(0),
    'mean_image_distance': pytest.approx(1),
  }


def test_in_words():
  follows = {'weights': {'frame_difference': 0.581, 'mean_image_distance': -0.4}, 'r2': 0.73}
  assert describe_follows({'follows': follows}).endswith(
    'frame difference 0.58, mean image distance -0.40; R^2 0.73'
  )
  assert describe_follows({}) == describe_follows({'follows': None}) == ''
