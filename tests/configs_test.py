"""Every config file and variant: loads, is locked, and each subtree binds to the function it feeds."""

import importlib
import inspect
import pathlib

import jax
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.windows import training_clips
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.run import train
from a3dcae_jax.run.datasets import prepare_data
from a3dcae_jax.run.networks import check_sizes, make_networks
from a3dcae_jax.training.state import make_optimizer
from a3dcae_jax.training.step import Objective
from configs import common

FILES = sorted(
  path.stem
  for path in (pathlib.Path(__file__).parent.parent / 'configs').glob('*.py')
  if path.stem != 'common'
)
VARIANTS = [
  (name, variant)
  for name in FILES
  for variant in importlib.import_module(f'configs.{name}').VARIANTS
]
FED = {
  'data': prepare_data,
  'clips': training_clips,
  'model': make_networks,
  'objective': Objective,
  'optimizer': make_optimizer,
  'frames': network_input,
}


@pytest.mark.parametrize('name, variant', VARIANTS)
def test_config(name, variant):
  config = importlib.import_module(f'configs.{name}').get_config(variant)
  assert config.is_locked and config.data.name == name and config.variant == variant
  check_sizes(config)
  for subtree, function in FED.items():
    inspect.signature(function).bind_partial(**config[subtree])
  state = jax.eval_shape(lambda: train.fresh_state(config))  # wrong sizes show here, without memory
  assert state.step.shape == ()


def test_unknown_variant_and_field():
  config = common.get_config()
  with pytest.raises(UserError, match="unknown variant 'x'; this config has: a"):
    common.with_variant(config, {'a': {}}, 'x')
  with pytest.raises((KeyError, AttributeError)):
    common.with_variant(config, {'a': {'train.stepz': 1}}, 'a')


@pytest.mark.parametrize(('every', 'run'), [(4, 0), (4, 4), (32, 1)])
def test_hiding_that_hides_nothing_or_everything_is_refused(every, run):
  config = common.get_config()
  config.objective.mask_period, config.objective.mask_length = every, run
  with pytest.raises(UserError, match='objective.mask_length'):
    check_sizes(config)
