"""The measured programs agree with those of training and scoring."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import checked, make_config
from a3dcae_jax.measuring.programs import (
  Setting,
  check_setting,
  error_program,
  fresh_state,
  report_fields,
  settings_of,
  variables_of,
)

SETTING = Setting(
  'infer',
  'tiny',
  1,
  'float32',
  size_px=16,
  window=8,
  conv_algorithm='direct',
  polyphase=False,
)


@pytest.mark.parametrize('variant', ['tuned', 'small'])
def test_frames_are_normalised_as_in_the_variants_by_default(variant):
  settings = checked(make_config('ucsd_ped2', variant))
  assert SETTING.target_rms == settings.input.target_rms > 0


def random_variables(rng):
  """Return variables of the right shapes, since initialising the networks is slow."""
  shapes = variables_of(jax.eval_shape(lambda: fresh_state(SETTING)))
  params = jax.tree.map(
    lambda leaf: rng.normal(0, 0.05, leaf.shape).astype(np.float32), shapes['params']
  )
  batch_stats = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes['batch_stats'])
  return {'params': params, 'batch_stats': batch_stats}


def test_frames_are_normalised_within_the_program(rng):
  clips = rng.integers(0, 256, (1, *SETTING.clip_shape), np.uint8)
  variables = random_variables(rng)
  mean_image = jnp.full(SETTING.clip_shape[1:], 0.5)
  pixels = clips / 255 - 0.5
  energy = np.square(pixels).mean((2, 3), keepdims=True)
  normalised = pixels * np.sqrt(2 * 0.02**2 / (energy + 0.02**2))
  as_pixels = jnp.asarray(mean_image + normalised, jnp.float32)

  plain_program = jax.jit(error_program(SETTING._replace(target_rms=0.0)))
  plain = plain_program(variables, jnp.asarray(clips / 255, jnp.float32), mean_image)
  by_hand = plain_program(variables, as_pixels, mean_image)
  found = jax.jit(error_program(SETTING))(variables, clips, mean_image)

  np.testing.assert_allclose(found, by_hand, rtol=1e-3)
  assert not np.allclose(found, plain, rtol=0.1)


@pytest.mark.parametrize('dtype, resolved', [('auto', 'float32'), ('bfloat16', 'bfloat16')])
def test_a_report_names_the_data_types_in_use(dtype, resolved):
  row = report_fields(SETTING._replace(dtype=dtype))
  assert row['dtype'] == resolved  # on a CPU
  assert row['gradient_dtype'] == resolved


@pytest.mark.parametrize(
  'changes, field',
  [
    ({'mode': 'trane'}, 'modes'),
    ({'preset': 'big'}, 'preset'),
    ({'dtype': 'float16'}, 'dtype'),
    ({'conv_algorithm': 'fft'}, 'conv_algorithm'),
    ({'batch': 0}, 'batch'),
    ({'size_px': 50}, 'size'),
    ({'size_px': -16}, 'size'),
    ({'target_rms': 2.0}, 'target_rms'),
  ],
)
def test_impossible_settings_are_named(changes, field):
  with pytest.raises(UserError, match=f'--{field} '):
    check_setting(SETTING._replace(**changes))


def test_there_is_a_setting_for_every_preset_mode_and_batch():
  settings = settings_of(['tiny', 'small'], ['infer'], ['2', '4'], dtype='float32')
  assert [(setting.preset, setting.batch) for setting in settings] == [
    ('tiny', 2),
    ('tiny', 4),
    ('small', 2),
    ('small', 4),
  ]
  for text in ('x', '0', '-1', '2.5'):
    with pytest.raises(UserError, match='--batch .*positive whole number'):
      settings_of(['tiny'], ['infer'], ['2', text])
