"""Flow images show speeds that can be computed by hand, at any frame size."""

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.optical_flow import FASTEST, REFERENCE_PX, UNIT_PX, flow_images

WAVELENGTH_PX = 28  # reference pixels


def waves(size, speed, frames=8):
  """Make a grating that moves by `speed` reference pixels per frame.

  Returns:
    [1, T, size, size] in [0, 1].
  """
  across = np.arange(size)[None, None, :] * REFERENCE_PX / size
  time = np.arange(frames)[:, None, None]
  phase = 2 * np.pi * (across - speed * time) / WAVELENGTH_PX
  images = np.broadcast_to(0.5 + 0.4 * np.sin(phase), (frames, size, size))
  return jnp.asarray(images[None], jnp.float32)


@pytest.mark.parametrize('axes', [(2, 3), (3, 2)])
@pytest.mark.parametrize('size', [56, 112])
@pytest.mark.parametrize('speed', [0.0, 0.6, -1.2])
def test_a_flow_image_shows_the_speed_at_any_size(speed, size, axes):
  clips = jnp.transpose(waves(size, speed), (0, 1, *axes))
  images = np.asarray(flow_images(clips))
  inner = slice(size // 4, -size // 4)
  # The first and last frames have one-sided differences.
  np.testing.assert_allclose(images[0, 2:-2, inner, inner], abs(speed) / UNIT_PX, atol=0.03)


def test_uniform_frames_have_no_flow():
  assert not np.asarray(flow_images(jnp.full((1, 4, 32, 32), 0.3))).any()


def test_flow_images_are_bounded(rng):
  noise = jnp.asarray(rng.random((1, 4, 32, 32)), jnp.float32)
  images = np.asarray(flow_images(noise))
  assert np.isfinite(images).all()
  assert images.min() >= 0 and images.max() <= FASTEST
