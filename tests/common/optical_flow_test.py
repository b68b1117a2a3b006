"""Flow images: speeds that can be worked out by hand, at any size."""

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.optical_flow import FASTEST, UNIT_PX, flow_images


def waves(size, speed, frames=8):
  """A grating across frames of `size` rows that moves by `speed` pixels of a frame of 112 rows: [1, T, size, size] in [0, 1]."""
  across, time = np.arange(size)[None, None, :], np.arange(frames)[:, None, None]
  phase = 2 * np.pi * (across * 112 / size - speed * time) / 28
  return jnp.asarray(
    np.broadcast_to(0.5 + 0.4 * np.sin(phase), (frames, size, size))[None], jnp.float32
  )


@pytest.mark.parametrize('axes', [(2, 3), (3, 2)])
@pytest.mark.parametrize('size', [56, 112])
@pytest.mark.parametrize('speed', [0.0, 0.6, -1.2])
def test_a_flow_image_is_the_speed_at_any_size(speed, size, axes):
  images = flow_images(jnp.transpose(waves(size, speed), (0, 1, *axes)))
  inside = np.asarray(images)[0, 2:-2, size // 4 : -size // 4, size // 4 : -size // 4]
  np.testing.assert_allclose(
    inside, abs(speed) / UNIT_PX, atol=0.03
  )  # ends have one-sided differences


def test_grey_without_contrast_stands_still_and_nothing_is_faster_than_the_fastest(rng):
  assert not np.asarray(flow_images(jnp.full((1, 4, 32, 32), 0.3))).any()
  noise = np.asarray(flow_images(jnp.asarray(rng.random((1, 4, 32, 32)), jnp.float32)))
  assert noise.min() >= 0 and noise.max() <= FASTEST and np.isfinite(noise).all()
