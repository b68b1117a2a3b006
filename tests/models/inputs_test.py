"""Input of the networks: the choice of mean image and of the kind of image.

Normalisation is tested with the training step, row scales with the perspective.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.models.inputs import clip_means, network_input


def test_uint8_pixels_are_scaled_to_1():
  clips = np.full((1, 2, 4, 4), 255, np.uint8)
  mean_image = np.full((4, 4), 0.25, np.float32)
  expected = np.full((1, 2, 4, 4, 1), 0.75)
  np.testing.assert_array_equal(network_input(clips, mean_image), expected)
  as_floats = np.ones((1, 2, 4, 4), np.float32)
  np.testing.assert_array_equal(network_input(as_floats, mean_image), expected)


def test_each_clip_has_its_own_mean_image(rng):
  clips = rng.random((3, 2, 4, 4), np.float32)
  mean_images = rng.random((2, 4, 4), np.float32)
  ids = np.array([1, 0, 1])
  means = clip_means(jnp.asarray(mean_images), ids)
  results = network_input(clips, means)
  for clip, mean_id, result in zip(clips, ids, results, strict=True):
    expected = network_input(clip[None], mean_images[mean_id])
    np.testing.assert_array_equal(result, expected[0])


def test_unknown_kinds_are_named():
  with pytest.raises(ValueError, match="'depth'"):
    network_input(np.zeros((1, 2, 4, 4), np.uint8), np.zeros((4, 4), np.float32), kind='depth')
