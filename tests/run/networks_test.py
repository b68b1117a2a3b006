"""What the model subtree's names stand for on each platform."""

import jax
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring.programs import (
  Setting,
  fresh_state,
  input_shapes,
  resolved,
  train_program,
)
from a3dcae_jax.ops.conv_algorithm import tracing_for
from a3dcae_jax.run.networks import check_sizes, reduce_dtype
from a3dcae_jax.training import parallel
from configs import common


@pytest.mark.parametrize(
  'platform, model, name, expected',
  [
    ('cpu', 'auto', 'auto', 'float32'),
    ('gpu', 'auto', 'auto', 'bfloat16'),
    ('tpu', 'auto', 'auto', 'bfloat16'),
    ('tpu', 'float32', 'auto', 'float32'),
    ('cpu', 'bfloat16', 'auto', 'bfloat16'),
    ('tpu', 'auto', 'float32', 'float32'),
    ('cpu', 'auto', 'bfloat16', 'bfloat16'),
  ],
)
def test_gradients_travel_as_they_are_computed_unless_named(platform, model, name, expected):
  with tracing_for(platform):
    assert reduce_dtype(name, model) == expected
    assert resolved(Setting('train', 'tiny', 1, model, reduce_dtype=name)).reduce_dtype == expected


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_the_step_sends_what_auto_stands_for(dtype):
  setting = Setting('train', 'tiny', 1, dtype)
  step = parallel.map_step(
    train_program(setting, parallel.AXIS), num_shared=1, devices=jax.devices()[:2]
  )
  text = str(
    jax.make_jaxpr(step)(jax.eval_shape(lambda: fresh_state(setting)), *input_shapes(setting, 2))
  )
  sums = [line for line in text.splitlines() if ' psum' in line or '= psum' in line]
  assert sums and any(':bf16[' in line for line in sums) == (dtype == 'bfloat16')


def test_an_unknown_dtype_is_named_before_anything_is_prepared():
  config = common.get_config()
  assert config.train.reduce_dtype == 'auto'
  config.train.reduce_dtype = 'float16'
  with pytest.raises(
    UserError, match="^train.reduce_dtype 'float16': known are auto, float32, bfloat16$"
  ):
    check_sizes(config)


@pytest.mark.parametrize('name', ['output_gain', 'bn_scale_init'])
def test_a_scale_of_nothing_is_refused(name):
  config = common.get_config()
  config.model[name] = 0.0
  with pytest.raises(UserError, match=rf'^model.{name} \(=0.0\) must be positive$'):
    check_sizes(config)
