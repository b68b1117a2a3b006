"""The local error: speeds and reference statistics that can be computed by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.optical_flow import gaussian_matrix
from a3dcae_jax.scoring import local


def ramp(slope, speed, frames=8, size=16):
  """A grey ramp [1, T, H, W, 1] that moves by `speed` pixels per frame."""
  across = np.arange(size)[None, None, :] - speed * np.arange(frames)[:, None, None]
  images = slope * np.broadcast_to(across, (frames, size, size))
  return jnp.asarray(images[None, ..., None], jnp.float32)


def pooled(speed, reconstruction_error, energy):
  maps = (speed, reconstruction_error, energy)
  return local.Pooled(*(jnp.asarray(each, jnp.float32) for each in maps))


@pytest.mark.parametrize('axes', [(2, 3), (3, 2)])
@pytest.mark.parametrize('slope, speed', [(0.1, 0.5), (0.2, 0.5), (0.1, -1.5), (0.1, 0.0)])
def test_speed_of_a_ramp(slope, speed, axes):
  clips = jnp.transpose(ramp(slope, speed), (0, 1, *axes, 4))
  found = local.pooled_maps(jnp.full(clips.shape[:-1], 0.04), clips)
  # M = diag(slope^2, 0), so u = -M_xt / (slope^2 + c).
  expected = slope**2 * abs(speed) / (slope**2 + local.DAMPING)
  np.testing.assert_allclose(found.speed, expected, rtol=1e-3, atol=1e-6)
  np.testing.assert_allclose(found.reconstruction_error, 0.2, rtol=1e-5)
  np.testing.assert_allclose(found.energy, (slope * speed) ** 2, rtol=1e-3, atol=1e-9)
  assert found.speed.shape == (1, 8, 8, 8)


def test_a_gaussian_mean_by_hand():
  w = np.exp(-0.5)
  expected = [[1 / (1 + w), w / (1 + w)], [w / (1 + w), 1 / (1 + w)]]
  np.testing.assert_allclose(gaussian_matrix(2, 1.0, 1), expected, rtol=1e-6)
  weights = np.exp(-0.125 * np.array([1, 1, 9, 25]))
  np.testing.assert_allclose(gaussian_matrix(4, 1.0, 2)[0], weights / weights.sum(), rtol=1e-6)


def test_statistics_are_weighted_by_motion():
  """Speeds 1 and 3 with energies 3 and 1 have the mean 1.5.

  This mean is also the reference in rows where nothing moves.
  """
  energy = np.zeros((1, 2, 6, 2))
  speed = np.full((1, 2, 6, 2), 7.0)
  error = np.full((1, 2, 6, 2), 5.0)
  energy[:, :, 3] = (3, 1)
  speed[:, :, 3] = (1, 3)
  error[:, :, 3] = (0.2, 0.6)
  statistics = local.motion_statistics(local.row_sums(pooled(speed, error, energy)))
  np.testing.assert_allclose(statistics[0], np.full((2, 6), 1.5), rtol=1e-5)
  np.testing.assert_allclose(statistics[1], np.full((2, 6), 0.3), rtol=1e-5)


def test_statistics_differ_by_position_in_the_window_and_by_row():
  energy = np.ones((1, 2, 40, 1))
  speed = np.ones((1, 2, 40, 1)) * np.array([1, 2])[:, None, None]
  speed[:, :, 30:] *= 2  # near the camera
  statistics = local.motion_statistics(local.row_sums(pooled(speed, speed, energy)))
  np.testing.assert_allclose(statistics[0, 1], 2 * statistics[0, 0], rtol=1e-5)
  prior = 40 * local.PRIOR  # weight of the prior, the mean 1.25 over all rows
  far = (1 + 1.25 * prior) / (1 + prior)
  near = (2 + 1.25 * prior) / (1 + prior)
  np.testing.assert_allclose(statistics[0, 0, [0, 39]], [far, near], rtol=0.01)


def test_mix_by_hand():
  maps = local.Pooled(jnp.full((1, 2, 4, 5), 2.0), jnp.full((1, 2, 4, 5), 3.0), None)
  statistics = np.stack([np.full((2, 4), 0.5), np.full((2, 4), 6.0)])
  np.testing.assert_allclose(local.mixed_maps(maps, statistics, 0.25), 0.75 * 4 + 0.25 * 0.5)


def test_the_mean_is_over_one_per_cent_of_the_positions():
  assert local.top_mean(jnp.arange(20.0).reshape(1, 1, 4, 5)) == 19.0  # at least one
  assert local.top_mean(jnp.arange(400.0).reshape(1, 1, 20, 20)) == 397.5


@pytest.mark.parametrize(
  'speed, expected',
  [
    (0.0, 0.0),
    (0.25, 0.75 * 0.25 + 0.25 * 0.25 * 8),
    (1.0, 0.75 + 0.25 * 8),
    (3.0, 0.75 * 3 + 0.25 * 8),
  ],
)
def test_reconstruction_errors_count_in_proportion_to_the_speed(speed, expected):
  """An error counts 0 at rest and in full from the reference speed on."""
  relative_speed = jnp.full((1, 2, 4, 5), 2.0 * speed)
  maps = local.Pooled(relative_speed, jnp.full((1, 2, 4, 5), 8.0 * 0.3), None)
  statistics = np.stack([np.full((2, 4), 2.0), np.full((2, 4), 0.3)])
  np.testing.assert_allclose(local.mixed_maps(maps, statistics, 0.25), expected, rtol=1e-6)


def test_a_local_error_shows_only_at_its_position():
  size = 48
  clips = ramp(0.1, 1.0, size=size)
  maps = np.full((1, 8, size, size), 1e-4, np.float32)
  maps[:, :, 40:, 2] = 1.0
  statistics = np.ones((2, 8, size // local.STEP), np.float32)
  errors, where = local.local_errors(jnp.asarray(maps), clips, statistics, 1.0)
  assert errors.shape == (1, 8)
  assert where.shape == (1, 8, size, size)
  assert where[0, 4, 44, 2] > 10 * where[0, 4, 2, 44]
  assert (errors[0] <= where.max((0, 2, 3))).all()
