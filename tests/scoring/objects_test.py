"""Measurements of objects, their statistics by row, and errors of frames."""

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.ops.crops import crop_clips
from a3dcae_jax.scoring.objects import (
  ObjectStatistics,
  measure_objects,
  object_errors,
  object_speed,
  worst_objects,
)


def moving_texture(right, down, frames=8, size=64):
  """Return uint8 [T, H, W]: a smooth texture that moves by some pixels per frame."""
  y, x, t = np.meshgrid(np.arange(size), np.arange(size), np.arange(frames), indexing='ij')
  x = x - right * t
  y = y - down * t
  waves = np.sin(0.35 * x + 0.1 * y) + np.sin(0.3 * y - 0.15 * x)
  return np.moveaxis(128 + 50 * waves, -1, 0).astype(np.uint8)


def speed_of(frames, box):
  rows = jnp.arange(len(frames), dtype=jnp.int32)[None]
  corners = jnp.asarray([box], jnp.float32)
  crops = crop_clips(jnp.asarray(frames), rows, corners, size=32)
  return float(object_speed(crops, corners)[0])


@pytest.mark.parametrize('right, down', [(1, 0), (0, 1), (-0.6, 0.8), (0.3, 0)])
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
