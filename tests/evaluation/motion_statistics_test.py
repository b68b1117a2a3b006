"""Calibration of the local score: what is usual does not depend on how windows fall into batches."""

import jax.numpy as jnp
import numpy as np

from a3dcae_jax.evaluation.motion_statistics import with_usual
from a3dcae_jax.evaluation.program import USUAL
from a3dcae_jax.evaluation.scorer import Detector
from a3dcae_jax.scoring.local import Rule


def test_a_part_filled_batch_counts_once():
  frames = np.random.default_rng(0).integers(0, 256, (40, 16, 16), np.uint8)
  detector = Detector(
    None,
    {},
    None,
    lambda clips, scene: (clips[..., None].astype(jnp.float32) / 255, jnp.zeros((*clips.shape, 1))),
    None,
    1,
  )
  options, rows = {'rule': Rule(sigma_px=2.0)}, np.asarray([[0], [10], [32]]) + np.arange(8)
  whole = with_usual(detector, frames, rows, batch_size=3, **options)
  parts = with_usual(detector, frames, rows, batch_size=2, **options)
  assert whole.weights[USUAL].shape == (2, 8, 8) and whole.step == 1
  np.testing.assert_allclose(parts.weights[USUAL], whole.weights[USUAL], rtol=1e-5)
