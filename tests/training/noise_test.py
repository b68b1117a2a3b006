"""Noise of pixels: its distribution, and that it depends on seed, step and clip alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.training.noise import NOISES, pixel_noise, poisson, salt_and_pepper


def test_salt_and_pepper_replaces_five_per_cent():
  pixels = jnp.full((100_000,), 0.25)
  noisy = np.asarray(pixels + salt_and_pepper(jax.random.key(0), pixels))
  shares = [(noisy == value).mean() for value in (0.0, 0.25, 1.0)]
  np.testing.assert_allclose(shares, [0.025, 0.95, 0.025], atol=0.003)


@pytest.mark.parametrize('level', [0, 1, 7, 100, 255])
def test_poisson_noise_has_the_mean_and_the_variance_of_the_grey_level(level):
  pixels = jnp.full((50_000,), level / 255, jnp.float32)
  counts = level + 255 * np.asarray(poisson(jax.random.key(0), pixels), np.float64)
  np.testing.assert_allclose(counts, counts.round(), atol=1e-3)
  assert counts.min() >= -1e-3
  np.testing.assert_allclose(counts.mean(), level, atol=0.3)
  np.testing.assert_allclose(counts.var(), level, rtol=0.04)


@pytest.mark.parametrize('kind', NOISES)
def test_noise_depends_only_on_seed_step_and_clip(rng, kind):
  clips = rng.integers(0, 256, (4, 2, 6, 6), dtype=np.uint8)
  whole = pixel_noise(kind, 0, 3, 0, clips)
  assert whole.shape == (4, 2, 6, 6, 1)
  np.testing.assert_array_equal(whole[2:], pixel_noise(kind, 0, 3, 2, clips[2:]))
  assert not np.array_equal(whole, pixel_noise(kind, 0, 4, 0, clips))
  assert not np.array_equal(whole, pixel_noise(kind, 1, 3, 0, clips))
  as_floats = pixel_noise(kind, 0, 3, 0, clips / np.float32(255))
  np.testing.assert_array_equal(whole, as_floats)
