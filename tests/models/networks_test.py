"""Both networks from the settings of the model, with dtypes for the platform."""

import dataclasses

import jax.numpy as jnp
import pytest

from a3dcae_jax.config import fields
from a3dcae_jax.models.dtypes import compute_dtype, gradient_dtype
from a3dcae_jax.models.networks import make_networks
from a3dcae_jax.ops.conv_algorithm import tracing_for


@pytest.mark.parametrize(
  ('platform', 'name', 'expected'),
  [
    ('cpu', 'auto', 'float32'),
    ('gpu', 'auto', 'bfloat16'),
    ('tpu', 'auto', 'bfloat16'),
    ('accelerator', 'auto', 'bfloat16'),
    ('tpu', 'float32', 'float32'),
    ('cpu', 'bfloat16', 'bfloat16'),
  ],
)
def test_gradients_travel_in_the_dtype_of_the_computation(platform, name, expected):
  with tracing_for(platform):
    assert compute_dtype(name) == jnp.dtype(expected)
    assert gradient_dtype(name) == expected


def test_every_setting_of_the_model_reaches_a_network():
  model = fields.Model(
    kind='a2dcae',
    widths=(3, 4, 5),
    discriminator_widths=(6, 7),
    discriminator_units=8,
    unpooling='fixed',
    pool_time=False,
    bn_scale_init=0.2,
    output_gain=0.25,
    dtype='bfloat16',
    remat='blocks',
  )
  # A new setting must be added here.
  defaults = dataclasses.asdict(fields.Model())
  assert all(value != defaults[name] for name, value in dataclasses.asdict(model).items())

  generator, discriminator = make_networks(
    model, axis_name='replica', conv_algorithm='folded', polyphase=False
  )
  assert generator.widths == (3, 4, 5)
  assert generator.unpooling == 'fixed'
  assert generator.stack_frames
  assert not generator.pool_time
  assert generator.bn_scale_init == 0.2
  assert generator.output_gain == 0.25
  assert discriminator.widths == (6, 7)
  assert discriminator.units == 8
  for network in (generator, discriminator):
    assert network.dtype == jnp.bfloat16
    assert network.remat == 'blocks'
    assert network.axis_name == 'replica'
    assert network.conv_algorithm == 'folded'
    assert not network.polyphase
