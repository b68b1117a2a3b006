"""Crops of boxes: examples and the reference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.ops import reference
from a3dcae_jax.ops.cases import CROP_CASES
from a3dcae_jax.ops.conv_algorithm import tracing_for
from a3dcae_jax.ops.crops import crop_clips

cases = pytest.mark.parametrize('case', CROP_CASES, ids=[case.name for case in CROP_CASES])


def test_by_hand():
  frames = jnp.asarray([[[0, 0, 0, 0], [0, 51, 102, 0], [0, 153, 204, 0]]], jnp.uint8)
  rows = jnp.zeros((1, 1), jnp.int32)
  boxes = jnp.asarray([[1.0, 1.0, 3.0, 3.0]])
  crops = crop_clips(frames, rows, boxes, size=1)
  # The four samples are the centres of the four pixels.
  np.testing.assert_allclose(crops.ravel(), [0.5], rtol=1e-6)


def test_samples_beyond_the_frame_repeat_its_border():
  frames = jnp.full((1, 4, 4), 255, jnp.uint8)
  crops = crop_clips(
    frames, jnp.zeros((1, 2), jnp.int32), jnp.asarray([[-9.0, -9.0, 20.0, 20.0]]), size=4
  )
  np.testing.assert_allclose(crops, np.ones((1, 2, 4, 4)), rtol=1e-6)


@pytest.mark.parametrize('platform', ['cpu', 'tpu'])
@cases
def test_equals_reference(rng, case, platform):
  count = case.shape[0]
  frames = rng.integers(0, 256, case.shape).astype(np.uint8)
  rows = rng.integers(0, count, (2, 3)).astype(np.int32)
  boxes = np.asarray([case.box, (0, 0, *case.shape[:0:-1])], np.float32)
  crop = jax.jit(functools.partial(crop_clips, size=case.size))
  with tracing_for(platform):
    crops = crop(jnp.asarray(frames), jnp.asarray(rows), jnp.asarray(boxes))
  assert crops.shape == (2, 3, case.size, case.size)
  assert crops.dtype == jnp.float32
  expected = reference.crop_clips(frames, rows, boxes, case.size)
  np.testing.assert_allclose(crops, expected, rtol=1e-5, atol=1e-5)


def test_gathered_frames_give_the_same_bits_as_resident_ones(rng):
  frames = jnp.asarray(rng.integers(0, 256, (9, 16, 20)).astype(np.uint8))
  rows = jnp.asarray([[0, 1, 2, 3], [5, 6, 7, 8]], jnp.int32)
  boxes = jnp.asarray([[1.5, 2.0, 9.0, 11.0], [0.0, 0.0, 20.0, 16.0]])
  crop = jax.jit(functools.partial(crop_clips, size=8))
  clips = frames[rows].reshape(8, 16, 20)
  own_rows = jnp.arange(8, dtype=jnp.int32).reshape(2, 4)
  np.testing.assert_array_equal(crop(frames, rows, boxes), crop(clips, own_rows, boxes))
