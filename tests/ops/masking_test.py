"""Masked frames: small examples, and no frame reaches its own prediction."""

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.ops.masking import fill_masked, masked_frames, predict_masked


def test_masked_frames_by_hand():
  masked = masked_frames(jnp.asarray([0, 1]), 8, every=4, run=1)
  np.testing.assert_array_equal(masked, [[1, 0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 1]])


def test_fill_masked_by_hand():
  visible = jnp.zeros((1, 2, 1, 1, 1))
  predicted = jnp.ones((1, 2, 1, 1, 1))
  filled = fill_masked(visible, predicted, jnp.asarray([[False, True]]))
  np.testing.assert_array_equal(filled.ravel(), [0, 1])


@pytest.mark.parametrize(('every', 'run'), [(4, 1), (8, 3), (2, 1), (5, 4)])
def test_no_frame_reaches_its_own_prediction(rng, every, run):
  """A network that returns its input predicts zeros, since each frame was masked."""
  clips = jnp.asarray(rng.standard_normal((2, 16, 2, 2, 1)), jnp.float32)
  predicted = predict_masked(lambda visible: visible, clips, every=every, run=run)
  np.testing.assert_array_equal(predicted, 0)


def test_prediction_sees_the_other_frames():
  clips = jnp.arange(8.0).reshape(1, 8, 1, 1, 1)
  predicted = predict_masked(lambda visible: jnp.roll(visible, 1, axis=1), clips, every=4, run=1)
  np.testing.assert_array_equal(predicted.ravel(), np.roll(np.arange(8.0), 1))
