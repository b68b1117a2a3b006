"""The local score: speeds and usual values that can be worked out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.optical_flow import gaussian_matrix
from a3dcae_jax.scoring import local

RULE = local.Rule(sigma_px=2.0, sigma_frames=1.0, damping=1e-3)


def ramp(slope, speed, frames=8, size=16):
  """A grey ramp across the image that moves by `speed` px a frame: [1, T, H, W, 1]."""
  across = np.arange(size)[None, None, :] - speed * np.arange(frames)[:, None, None]
  return jnp.asarray(
    slope * np.broadcast_to(across, (frames, size, size))[None, ..., None], jnp.float32
  )


@pytest.mark.parametrize('axes', [(2, 3), (3, 2)])
@pytest.mark.parametrize('slope, speed', [(0.1, 0.5), (0.2, 0.5), (0.1, -1.5), (0.1, 0.0)])
def test_speed_of_a_ramp(slope, speed, axes):
  clips = jnp.transpose(ramp(slope, speed), (0, 1, *axes, 4))
  pooled = local.pooled_maps(jnp.full(clips.shape[:-1], 0.04), clips, RULE)
  expected = (
    slope**2 * abs(speed) / (slope**2 + RULE.damping)
  )  # M = diag(slope^2, 0), so u = -M_xt / (slope^2 + c)
  np.testing.assert_allclose(pooled.speed, expected, rtol=1e-3, atol=1e-6)
  np.testing.assert_allclose(pooled.surprise, 0.2, rtol=1e-5)
  np.testing.assert_allclose(pooled.energy, (slope * speed) ** 2, rtol=1e-3, atol=1e-9)
  assert pooled.speed.shape == (1, 8, 8, 8)


def test_a_gaussian_mean_by_hand():
  w = np.exp(-0.5)
  np.testing.assert_allclose(
    gaussian_matrix(2, 1.0, 1), [[1 / (1 + w), w / (1 + w)], [w / (1 + w), 1 / (1 + w)]], rtol=1e-6
  )
  np.testing.assert_allclose(
    gaussian_matrix(4, 1.0, 2)[0],
    np.exp(-0.125 * np.array([1, 1, 9, 25])) / np.exp(-0.125 * np.array([1, 1, 9, 25])).sum(),
    rtol=1e-6,
  )


def test_usual_is_weighed_by_motion():
  """Two moving places in one row, at speeds 1 and 3 with energies 3 and 1: 1.5 is usual there, and wherever nothing moves."""
  energy, speed, surprise = (
    np.zeros((1, 2, 6, 2)),
    np.full((1, 2, 6, 2), 7.0),
    np.full((1, 2, 6, 2), 5.0),
  )
  energy[:, :, 3], speed[:, :, 3], surprise[:, :, 3] = (3, 1), (1, 3), (0.2, 0.6)
  pooled = local.Pooled(*(jnp.asarray(a, jnp.float32) for a in (speed, surprise, energy)))
  usual = local.usual_of(local.row_sums(pooled))
  np.testing.assert_allclose(usual[0], np.full((2, 6), 1.5), rtol=1e-5)
  np.testing.assert_allclose(usual[1], np.full((2, 6), 0.3), rtol=1e-5)


def test_usual_differs_by_place_in_the_clip_and_row():
  energy = np.ones((1, 2, 40, 1))
  speed = np.ones((1, 2, 40, 1)) * np.array([1, 2])[:, None, None]
  speed[:, :, 30:] *= 2  # near the camera
  usual = local.usual_of(
    local.row_sums(local.Pooled(*(jnp.asarray(a, jnp.float32) for a in (speed, speed, energy))))
  )
  np.testing.assert_allclose(usual[0, 1], 2 * usual[0, 0], rtol=1e-5)
  prior = 40 * local.PRIOR  # in rows; the mean over all of them is 1.25
  np.testing.assert_allclose(
    usual[0, 0, [0, 39]],
    [(1 + 1.25 * prior) / (1 + prior), (2 + 1.25 * prior) / (1 + prior)],
    rtol=0.01,
  )


def test_mix_and_the_strongest_places():
  pooled = local.Pooled(jnp.full((1, 2, 4, 5), 2.0), jnp.full((1, 2, 4, 5), 3.0), None)
  usual = np.stack([np.full((2, 4), 0.5), np.full((2, 4), 6.0)])
  np.testing.assert_allclose(
    local.local_maps(pooled, usual, RULE._replace(surprise_weight=0.25)), 0.75 * 4 + 0.25 * 0.5
  )
  values = jnp.arange(20.0).reshape(1, 1, 4, 5)
  assert local.strongest(values, 0.1) == 18.5 and local.strongest(values, 0.0) == 19.0


@pytest.mark.parametrize(
  'speed, expected',
  [
    (0.0, 0.0),
    (0.25, 0.75 * 0.25 + 0.25 * 0.25 * 8),
    (1.0, 0.75 + 0.25 * 8),
    (3.0, 0.75 * 3 + 0.25 * 8),
  ],
)
def test_surprise_counts_as_far_as_its_place_moves(speed, expected):
  """Eight times the usual surprise: nothing where it stands still, a quarter at a quarter of the usual speed, the whole from the usual speed on."""
  pooled = local.Pooled(
    jnp.full((1, 2, 4, 5), 2.0 * speed), jnp.full((1, 2, 4, 5), 8.0 * 0.3), None
  )
  usual = np.stack([np.full((2, 4), 2.0), np.full((2, 4), 0.3)])
  np.testing.assert_allclose(local.local_maps(pooled, usual, RULE), expected, rtol=1e-6)


def test_an_error_in_one_place_shows_there_alone():
  clips, maps = ramp(0.1, 1.0), np.full((1, 8, 16, 16), 1e-4, np.float32)
  maps[:, :, 12:, 2] = 1.0
  usual = np.ones((2, 8, 8), np.float32)
  errors, where = local.local_errors(
    jnp.asarray(maps), clips, usual, RULE._replace(surprise_weight=1.0, share=0.05)
  )
  assert errors.shape == (1, 8) and where.shape == (1, 8, 16, 16)
  assert where[0, 4, 14, 2] > 10 * where[0, 4, 2, 14] and (errors[0] <= where.max((0, 2, 3))).all()


@pytest.mark.parametrize(
  'field, value', [('surprise_weight', 1.5), ('share', -0.1), ('damping', 0.0), ('sigma_px', 0.0)]
)
def test_a_rule_out_of_range_is_named(field, value):
  with pytest.raises(UserError, match=rf'eval.local.{field} \(={value}\) must lie between'):
    local.make_rule(**{field: value})
