"""The background: alignment to a camera, noise, differences."""

import numpy as np

from a3dcae_jax.objects import background as backgrounds
from tests.objects.footage import frame_of, walking


def test_the_background_has_no_objects():
  image = backgrounds.fit_image(walking(60))
  np.testing.assert_allclose(image, backgrounds.blur(frame_of()), atol=4)


def test_the_noise_is_measured():
  frames = np.stack([frame_of(noise_seed=seed) for seed in range(10)])
  noise = backgrounds.fit_noise(frames, backgrounds.fit_image(frames))
  assert noise.by_brightness.shape == (16,)
  assert noise.by_brightness.min() >= 1.5  # the least that is assumed
  assert noise.by_brightness.max() < 2
  assert noise.by_pixel.shape == frames.shape[1:]
  assert noise.by_pixel.max() < 2


def test_a_shift_of_the_camera_is_found():
  image = backgrounds.blur(frame_of())
  moved = backgrounds.blur(np.roll(frame_of(noise_seed=2), (3, -5), (0, 1)))
  movement = backgrounds.align(image, moved)
  np.testing.assert_allclose(movement[:, 0], [-3, 5], atol=0.3)
  np.testing.assert_allclose(movement[:, 1:], np.eye(2), atol=0.01)
  noise = backgrounds.no_noise(image.shape)
  noise.by_brightness[:] = 1.5
  background = backgrounds.make_background(image, noise, movement)
  assert backgrounds.spread(backgrounds.difference(moved, background)) < 1
  assert np.isinf(background.noise[:2]).all()  # the background does not show these rows
  assert np.isfinite(background.noise[10:70, 10:110]).all()


def test_other_scenes_are_unlike():
  image = backgrounds.blur(frame_of())
  assert backgrounds.unlike(backgrounds.blur(frame_of(noise_seed=2)), image) < 0.3
  assert backgrounds.unlike(backgrounds.blur(frame_of(seed=5)), image) > 1
