"""The programs that are measured are those that train and score."""

import jax.numpy as jnp
import numpy as np

from a3dcae_jax.measuring.programs import Setting, error_program, fresh_state, variables_of
from configs import ucsd_ped2

SETTING = Setting('infer', 'tiny', 1, 'float32')


def test_frames_are_normalised_as_the_data_sets_recipes_do():
  assert (
    SETTING.target_rms
    == ucsd_ped2.get_config('paper').frames.target_rms
    == ucsd_ped2.get_config('small').frames.target_rms
    > 0
  )


def test_frames_are_normalised_within_the_program():
  clips = np.random.default_rng(0).integers(0, 256, (1, *SETTING.clip_shape), np.uint8)
  variables = variables_of(fresh_state(SETTING))
  mean_image = jnp.full(SETTING.clip_shape[1:], 0.5)
  plain = error_program(SETTING._replace(target_rms=0.0))(variables, clips, mean_image)
  energy = np.square(clips / 255 - 0.5).mean((2, 3), keepdims=True)
  normalised = mean_image + (clips / 255 - 0.5) * np.sqrt(2 * 0.02**2 / (energy + 0.02**2))
  by_hand = error_program(SETTING._replace(target_rms=0.0))(
    variables, jnp.asarray(normalised, jnp.float32), mean_image
  )
  seen = error_program(SETTING)(variables, clips, mean_image)
  np.testing.assert_allclose(seen, by_hand, rtol=1e-3)
  assert not np.allclose(seen, plain, rtol=0.1)
