"""Letterboxing: equal to Pillow to the bit."""

import jax
import numpy as np
import pytest
from PIL import Image

from a3dcae_jax.ops.letterbox import PADDING, fitted_size, letterbox


@pytest.mark.parametrize(
  'shape, size',
  [
    ((24, 35), (64, 64)),  # enlarged, as cached frames are
    ((64, 64), (64, 64)),
    ((96, 50), (64, 64)),
    ((108, 192), (64, 96)),  # reduced
    ((5, 150), (64, 96)),
    ((1, 1), (32, 64)),
  ],
)
def test_equals_pillow(shape, size):
  frames = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
  found = jax.jit(lambda array: letterbox(array, size))(frames)
  height, width, _ = fitted_size(*shape, size)
  expected = np.full((2, *size), PADDING, np.float32)
  for index, frame in enumerate(frames):
    image = Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR)
    expected[index, :height, :width] = image
  np.testing.assert_array_equal(found, expected)
