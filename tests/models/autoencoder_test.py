"""Both networks: Fig. 2, the polyphase method, statistics, dtypes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.config import fields
from a3dcae_jax.config.check import size_multiples
from a3dcae_jax.config.presets import PRESETS
from a3dcae_jax.models.autoencoder import AutoEncoder, pool_windows
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.ops import reference

WIDTHS = (2, 3, 4, 4, 5)


@pytest.fixture
def clips(rng):
  return jnp.asarray(rng.standard_normal((2, 8, 16, 32, 1)), jnp.float32)


def by_path(tree):
  """Return the arrays of a tree by their path."""
  arrays = {}
  for path, leaf in jax.tree.leaves_with_path(tree):
    name = '/'.join(part.key for part in path)
    arrays[name] = leaf
  return arrays


def kernel_shapes(variables):
  params = by_path(variables['params'])
  return {name: array.shape for name, array in params.items() if array.ndim > 1}


def test_paper_network_is_figure_2():
  preset = PRESETS['paper']
  clips = jax.ShapeDtypeStruct((1, 16, 224, 224, 1), jnp.float32)
  network = AutoEncoder(preset.widths)
  variables = jax.eval_shape(network.init, jax.random.key(0), clips)
  assert kernel_shapes(variables) == {
    'conv1/kernel': (1, 3, 3, 1, 64),
    'conv2/kernel': (3, 3, 3, 64, 128),
    'conv3/kernel': (3, 3, 3, 128, 256),
    'conv4/kernel': (3, 3, 3, 256, 512),
    'conv5/kernel': (3, 3, 3, 512, 512),
    'deconv1/kernel': (3, 3, 3, 512, 512),
    'deconv2/kernel': (3, 3, 3, 512, 256),
    'deconv3/kernel': (3, 3, 3, 256, 128),
    'deconv4/kernel': (3, 3, 3, 128, 64),
    'deconv5_kernel': (1, 3, 3, 64, 1),
  }

  def apply(variables, clips):
    return network.apply(variables, clips, mutable=['intermediates'])

  _, sown = jax.eval_shape(apply, variables, clips)
  assert sown['intermediates']['conv5_map'][0].shape == (1, 2, 14, 14, 512)


def test_paper_discriminator_is_figure_2():
  preset = PRESETS['paper']
  clips = jax.ShapeDtypeStruct((1, 16, 224, 224, 1), jnp.float32)
  network = Discriminator(preset.discriminator_widths, preset.discriminator_units)
  variables = jax.eval_shape(network.init, jax.random.key(0), clips)
  assert kernel_shapes(variables) == {
    'conv1_kernel': (1, 3, 3, 1, 64),
    'conv2_kernel': (3, 3, 3, 64, 128),
    'conv3_kernel': (3, 3, 3, 128, 256),
    'fc4/kernel': (4 * 28 * 28 * 256, 256),
    'fc5/kernel': (256, 1),
  }


def test_the_six_layer_network_lacks_the_inner_four_layers():
  clips = jax.ShapeDtypeStruct((1, 16, 224, 224, 1), jnp.float32)
  network = AutoEncoder((64, 128, 256))
  variables = jax.eval_shape(network.init, jax.random.key(0), clips)
  assert sorted(variables['params']) == [
    'conv1',
    'conv2',
    'conv3',
    'deconv1',
    'deconv2',
    'deconv3_bias',
    'deconv3_kernel',
  ]
  assert pool_windows(3) == ((1, 2, 2), (2, 2, 2))


@pytest.mark.parametrize('pool_time', [True, False])
@pytest.mark.parametrize('layers', [2, 3, 5])
def test_input_sizes_must_be_multiples_of_the_product_of_all_pools(layers, pool_time):
  frames, rows, columns = zip(*pool_windows(layers, pool_time), strict=True)
  assert math.prod(rows) == math.prod(columns)
  model = fields.Model(widths=(2,) * layers, pool_time=pool_time)
  assert size_multiples(model) == (math.prod(frames), math.prod(rows))


@pytest.mark.slow
@pytest.mark.parametrize('train', [False, True])
@pytest.mark.parametrize('widths', [WIDTHS, WIDTHS[:3]])
def test_polyphase_is_exact(clips, widths, train):
  polyphase = AutoEncoder(widths)
  plain = AutoEncoder(widths, polyphase=False, conv_algorithm='direct')
  variables = polyphase.init(jax.random.key(0), clips)

  def results(network):
    def loss(params):
      recon, updates = network.apply(
        variables | {'params': params},
        clips,
        train=train,
        mutable=['batch_stats'],
      )
      return jnp.square(recon - clips).sum(), (recon, updates)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(variables['params'])

  def compare(result, expected):
    # A gradient sums over all pixels, so its rounding error is proportional to the largest value of
    # an array (up to 45 here), not to each value.
    atol = max(2e-4, 2e-5 * float(np.abs(expected).max()))
    np.testing.assert_allclose(result, expected, rtol=2e-4, atol=atol)

  jax.tree.map(compare, results(polyphase), results(plain))


def test_encoder_layer_by_hand(clips):
  """Conv1 in scoring: convolution, running statistics (initially 0, 1), pool, tanh."""
  network = AutoEncoder(WIDTHS)
  variables = network.init(jax.random.key(0), clips)
  _, sown = network.apply(variables, clips, mutable=['intermediates'])
  convolved = reference.conv3d(clips, variables['params']['conv1']['kernel'])
  normalised = convolved / np.sqrt(1 + 1e-5)
  expected, _ = reference.max_pool3d_argmax(np.tanh(normalised), (1, 2, 2))
  conv1_map = sown['intermediates']['conv1_map'][0]
  np.testing.assert_allclose(conv1_map, expected, rtol=1e-5, atol=1e-6)


def test_fixed_unpooling_puts_values_at_the_upper_left(clips):
  """Fixed un-pooling leaves three of four pixels without a value.

  The last kernel reads only its centre, so the reconstruction of these pixels is the bias.
  """
  recorded = AutoEncoder(WIDTHS[:3])
  fixed = AutoEncoder(WIDTHS[:3], unpooling='fixed')
  variables = recorded.init(jax.random.key(0), clips)
  kernel = jnp.zeros_like(variables['params']['deconv3_kernel'])
  params = variables['params'] | {
    'deconv3_kernel': kernel.at[0, 1, 1].set(1.0),
    'deconv3_bias': jnp.asarray([0.5]),
  }
  variables = variables | {'params': params}

  from_recorded = np.abs(recorded.apply(variables, clips) - 0.5)
  assert from_recorded[:, :, 1::2, 1::2].max() > 0
  from_fixed = np.abs(fixed.apply(variables, clips) - 0.5)
  assert from_fixed[:, :, ::2, ::2].min() > 0
  assert from_fixed[:, :, ::2, 1::2].max() == 0
  assert from_fixed[:, :, 1::2].max() == 0


def test_unknown_unpooling_is_named(clips):
  with pytest.raises(ValueError, match="unpooling must be one of .* 'somewhere'"):
    AutoEncoder(WIDTHS, unpooling='somewhere').init(jax.random.key(0), clips)


def test_output_gain_multiplies_the_reconstruction(clips):
  plain = AutoEncoder(WIDTHS[:3])
  scaled = AutoEncoder(WIDTHS[:3], output_gain=0.25)
  variables = plain.init(jax.random.key(0), clips)
  params = variables['params'] | {'deconv3_bias': jnp.asarray([0.5])}
  variables = variables | {'params': params}
  expected = 0.25 * plain.apply(variables, clips)
  np.testing.assert_array_equal(scaled.apply(variables, clips), expected)


def test_bn_scale_init_is_the_initial_scale_of_every_normalisation(clips):
  def initial_params(bn_scale_init):
    network = AutoEncoder(WIDTHS, bn_scale_init=bn_scale_init)
    variables = network.init(jax.random.key(0), clips)
    return by_path(variables['params'])

  plain = initial_params(1.0)
  scaled = initial_params(0.25)
  scales = [name for name in plain if name.endswith('norm/scale')]
  # Every convolution and deconvolution but the last is normalised.
  assert len(scales) == 2 * len(WIDTHS) - 1
  for name, array in scaled.items():
    factor = 0.25 if name in scales else 1.0
    np.testing.assert_array_equal(array, factor * plain[name])


def test_running_statistics_move_towards_mean_and_biased_variance(clips):
  network = AutoEncoder(WIDTHS[:3])
  variables = network.init(jax.random.key(0), clips)
  _, updates = network.apply(variables, clips, train=True, mutable=['batch_stats'])
  convolved = reference.conv3d(clips, variables['params']['conv1']['kernel'])
  axes = (0, 1, 2, 3)
  norm = updates['batch_stats']['conv1']['norm']
  np.testing.assert_allclose(norm['mean'], 0.1 * convolved.mean(axes), rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(norm['var'], 0.9 + 0.1 * convolved.var(axes), rtol=1e-4)


@pytest.mark.slow
def test_bfloat16_computes_with_float32_parameters(clips):
  exact = AutoEncoder(WIDTHS)
  network = AutoEncoder(WIDTHS, dtype=jnp.bfloat16)
  variables = network.init(jax.random.key(0), clips)
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
  recon = network.apply(variables, clips)
  assert recon.dtype == jnp.float32
  np.testing.assert_allclose(recon, exact.apply(variables, clips), atol=0.02)


@pytest.mark.slow
def test_polyphase_discriminator_is_exact(clips):
  polyphase = Discriminator((2, 3, 4), 5)
  plain = Discriminator((2, 3, 4), 5, polyphase=False)
  variables = polyphase.init(jax.random.key(1), clips)
  assert polyphase.apply(variables, clips).shape == (2,)

  def results(network):
    def total(clips):
      return network.apply(variables, clips).sum()

    return jax.value_and_grad(total)(clips)

  def compare(result, expected):
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)

  jax.tree.map(compare, results(polyphase), results(plain))


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['constant', 'still', 'one pixel', 'mover'])
def test_a_still_clip_has_the_same_error_with_every_algorithm(rng, kind):
  """With other pool indices the error differed by a tenth of a percent even at random weights."""
  frame = rng.normal(0, 0.2, (1, 1, 32, 32, 1))
  clip = np.repeat(0.3 * np.ones_like(frame) if kind == 'constant' else frame, 16, axis=1)
  if kind == 'one pixel':
    clip[0, 8, 3, 3] += 1 / 255
  if kind == 'mover':
    clip[0, :, 10:14, 10:14] = rng.normal(0, 0.2, (16, 4, 4, 1))
  clip = jnp.asarray(clip, jnp.float32)
  variables = AutoEncoder(WIDTHS[:3]).init(jax.random.key(0), clip)
  errors = {}
  for algorithm in ('direct', 'folded', 'winograd'):
    recon = AutoEncoder(WIDTHS[:3], conv_algorithm=algorithm).apply(variables, clip)
    errors[algorithm] = np.square(recon - clip).mean((2, 3, 4))
  for algorithm in ('folded', 'winograd'):
    np.testing.assert_allclose(errors[algorithm], errors['direct'], rtol=1e-6)
