"""Costs of layers against hand counts, against XLA, and beside the formulas of section IV-F."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from a3dcae_jax.config import checked, make_config
from a3dcae_jax.measuring.programs import Setting, networks_of
from a3dcae_jax.paper.complexity import (
  formula_operations,
  formula_parameters,
  lstm_weights,
  network_table,
  tables,
)
from a3dcae_jax.paper.layer_costs import compiled_cost, layer_costs

SMALL = Setting('infer', 'small6', 1, 'float32', conv_algorithm='direct', polyphase=False)
CLIP_SHAPE = (*SMALL.clip_shape, 1)


class TwoLayers(nn.Module):
  """A convolution without padding and a product, for counting by hand."""

  @nn.compact
  def __call__(self, clips):
    x = nn.Conv(5, (1, 2, 2), padding='VALID', name='conv')(clips)
    return nn.Dense(7, name='fc')(x)


class Recurrent(nn.Module):
  """A convolutional LSTM over the frames."""

  @nn.compact
  def __call__(self, clips):
    return nn.RNN(nn.ConvLSTMCell(4, (3, 3), name='cell'))(clips)


def by_name(costs):
  return {cost.layer: cost for cost in costs}


def test_two_layers_by_hand():
  conv, fc = layer_costs(TwoLayers(), (2, 3, 3, 1))
  assert (conv.layer, conv.output, conv.parameters) == ('conv', (1, 2, 2, 2, 5), 4 * 5 + 5)
  assert conv.flops == 2 * 4 * 5 * (2 * 2 * 2)
  assert conv.map_bytes == 4 * 5 * (2 * 2 * 2)
  assert (fc.layer, fc.parameters, fc.flops) == ('fc', 5 * 7 + 7, 2 * 5 * 7 * (2 * 2 * 2))
  assert formula_operations(conv) == (4 + 1) * 8 * 5
  assert formula_parameters(conv) == (4 + 8) * 5
  assert formula_operations(fc) is None


def test_a_loop_counts_each_of_its_frames():
  one = by_name(layer_costs(Recurrent(), (1, 8, 8, 2)))
  six = by_name(layer_costs(Recurrent(), (6, 8, 8, 2)))
  assert set(one) == {'cell/ih', 'cell/hh'}
  for layer, cost in one.items():
    assert six[layer].flops == 6 * cost.flops > 0
    assert six[layer].map_bytes == 6 * cost.map_bytes
    assert six[layer].parameters == cost.parameters
    assert six[layer].output == (1, 6, 8, 8, 16)


def test_formula_of_lstm_weights_against_flax():
  lstm = layer_costs(Recurrent(), (1, 8, 8, 2))
  (conv,) = layer_costs(_Named(nn.Conv(4, (3, 3))), (1, 8, 8, 2))
  assert sum(math.prod(cost.kernel) for cost in lstm) == lstm_weights(conv)


class _Named(nn.Module):
  layer: nn.Module

  def __call__(self, clips):
    return self.layer(clips)


@pytest.mark.parametrize('index', [0, 1], ids=['autoencoder', 'discriminator'])
def test_counts_agree_with_xla(index):
  network = networks_of(SMALL)[index]
  costs = layer_costs(network, CLIP_SHAPE)
  xla = compiled_cost(network, CLIP_SHAPE)
  # XLA counts normalisation, pools and tanh as well.
  assert sum(cost.flops for cost in costs) == pytest.approx(xla.flops, rel=0.03)
  assert sum(cost.flops for cost in costs) < xla.flops
  assert sum(cost.map_bytes for cost in costs) == pytest.approx(xla.map_bytes, rel=0.01)
  # The running statistics and the clip are arguments, too.
  clip_bytes = 4 * 16 * 112 * 112
  parameter_bytes = 4 * sum(cost.parameters for cost in costs)
  assert parameter_bytes + clip_bytes == pytest.approx(xla.argument_bytes, rel=0.01)


def test_all_parameters_belong_to_a_layer():
  for network in networks_of(SMALL):
    params = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, *CLIP_SHAPE)))['params']
    total = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert sum(cost.parameters for cost in layer_costs(network, CLIP_SHAPE)) == total


def test_flops_are_twice_the_operations_less_padding_and_activation():
  (conv,) = layer_costs(_Named(nn.Conv(8, (3, 3, 3), use_bias=False)), (2, 14, 14, 4))
  read = (2 * 2) * (3 * 14 - 2) ** 2  # pairs of an output and a tap inside the map
  assert conv.flops == 2 * 4 * 8 * read
  assert formula_operations(conv) == (27 * 4 + 1) * (2 * 14 * 14) * 8
  assert 27 * (2 * 14 * 14) / read == pytest.approx(1.65, abs=0.01)


def test_the_space_formula_gives_the_map_as_parameters():
  costs = by_name(layer_costs(networks_of(SMALL)[0], CLIP_SHAPE))
  conv1 = costs['conv1']
  assert conv1.parameters == 9 * 16 + 2 * 16
  assert formula_parameters(conv1) - 9 * 16 == conv1.map_bytes // 4


def settings_of(variants, **values):
  config = make_config('synthetic', variants)
  config.update_from_flattened_dict(values)
  return checked(config)


def test_tables_of_a_config():
  autoencoder, discriminator = tables(settings_of('tiny'), compiled=False)
  assert [row[0] for row in autoencoder.rows][:2] == ['conv1', 'conv2']
  assert autoencoder.rows[-1][0] == 'sum'
  assert discriminator.rows[-2][0] == 'fc5'
  for table in (autoencoder, discriminator):
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert any('fewer weights' in sentence for sentence in table.verdict)


def test_tables_have_the_sizes_of_the_config_itself():
  values = {'model.widths': (3, 4), 'clips.window': 8, 'data.height': 16, 'data.width': 32}
  (autoencoder,) = tables(settings_of('tiny,without_gan', **values), compiled=False)
  assert 'one clip of 8x16x32' in autoencoder.title
  assert [row[:2] for row in autoencoder.rows[:2]] == [
    ('conv1', '8x16x32x3'),
    ('conv2', '8x8x16x4'),
  ]


def test_tables_of_objects_have_both_streams():
  (autoencoder,) = tables(settings_of('best'), compiled=False)
  layers = [row[0] for row in autoencoder.rows[:-1]]
  assert '8x32x32' in autoencoder.title
  assert len(layers) == 2 * 6


def test_verdict_quotes_xla():
  table = network_table('two', 'two layers', TwoLayers(), (2, 3, 3, 1))
  assert any(sentence.startswith('XLA counts') for sentence in table.verdict)
