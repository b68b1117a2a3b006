"""A bundle with random parameters computes what the measured program does."""

import numpy as np
import pytest

from a3dcae_jax.measuring.programs import Setting, error_program, fresh_state, variables_of
from a3dcae_jax.measuring.random_bundle import write_random_bundle
from a3dcae_jax.serving.bundle import load_bundle
from a3dcae_jax.serving.stream import StreamScorer


@pytest.mark.slow
@pytest.mark.parametrize('preset, window', [('tiny', 16), ('small_conv_ae', 10)])
def test_errors_are_those_of_the_measured_program(tmp_path, rng, preset, window):
  setting = Setting('infer', preset, 1, window=window, size_px=32)
  write_random_bundle(tmp_path / 'random.bundle', setting)
  bundle = load_bundle(tmp_path / 'random.bundle')
  clips = rng.integers(0, 255, (1, *setting.clip_shape)).astype(np.uint8)
  expected = error_program(setting)(variables_of(fresh_state(setting)), clips, bundle.mean_image)
  np.testing.assert_allclose(bundle(clips)[0], expected, rtol=1e-3)
  scorer = StreamScorer(bundle)
  for frame in clips[0]:
    scorer.add(frame)
  found = [each.error for each in scorer.scores()]
  np.testing.assert_allclose(found, np.asarray(expected)[0], rtol=1e-3)
