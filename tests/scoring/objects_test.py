"""Measurements of objects: errors, energies, speed."""

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.ops.crops import crop_clips
from a3dcae_jax.scoring.objects import measure_objects, object_speed


def moving_texture(right, down, frames=8, size=64):
  """Return uint8 [T, H, W]: a smooth texture that moves by some pixels per frame."""
  y, x, t = np.meshgrid(np.arange(size), np.arange(size), np.arange(frames), indexing='ij')
  x = x - right * t
  y = y - down * t
  waves = np.sin(0.12 * x + 0.03 * y) + np.sin(0.1 * y - 0.05 * x)
  return np.moveaxis(128 + 50 * waves, -1, 0).astype(np.uint8)


def speed_of(frames, box):
  rows = jnp.arange(len(frames), dtype=jnp.int32)[None]
  corners = jnp.asarray([box], jnp.float32)
  crops = crop_clips(jnp.asarray(frames), rows, corners, size=32)
  return float(object_speed(crops, corners)[0])


@pytest.mark.parametrize('right, down', [(1, 0), (0, 1), (-0.6, 0.8), (0.3, 0), (4, 0), (3, -4)])
def test_the_speed_is_in_pixels_per_frame(right, down):
  frames = moving_texture(right, down)
  assert speed_of(frames, (8, 8, 56, 56)) == pytest.approx(np.hypot(right, down), rel=0.1)


def test_the_speed_does_not_depend_on_the_shape_of_the_box():
  frames = moving_texture(0.8, 0)
  square = speed_of(frames, (16, 16, 48, 48))
  assert speed_of(frames, (20, 10, 44, 58)) == pytest.approx(square, rel=0.1)


def test_a_still_object_has_no_speed():
  assert speed_of(moving_texture(0, 0), (8, 8, 56, 56)) == pytest.approx(0, abs=1e-3)


def test_errors_and_energies_are_measured_by_stream_in_the_middle_frames():
  real = jnp.ones((1, 4, 4, 4, 2)).at[..., 1].set(3.0)
  recon = real.at[:, 1:3, ..., 0].set(0.5).at[:, 0].set(99.0).at[:, 1:3, ..., 1].set(2.8)
  crops = jnp.zeros((1, 4, 4, 4))
  corners = jnp.asarray([[0.0, 0.0, 4.0, 4.0]])
  raw = measure_objects(real, recon, crops, corners)[0]
  np.testing.assert_allclose(raw, [0.25, 1, 0.04, 9, 0], rtol=1e-5)
  without_motion = measure_objects(real[..., :1], recon[..., :1], crops, corners)[0]
  np.testing.assert_allclose(without_motion, [0.25, 1, 0, 0, 0], rtol=1e-5)
