"""The two networks: shapes, widths of Fig. 2, the two ways of computing them, statistics, dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.models.autoencoder import AutoEncoder, pool_windows, size_multiples
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.config.presets import PRESETS
from a3dcae_jax.ops import reference

WIDTHS = (2, 3, 4, 4, 5)


@pytest.fixture
def clips(rng):
  return jnp.asarray(rng.standard_normal((2, 8, 16, 32, 1)), jnp.float32)


def kernel_shapes(params):
  return {
    '/'.join(str(part.key) for part in path): leaf.shape
    for path, leaf in jax.tree.leaves_with_path(params)
    if leaf.ndim > 1
  }


def test_paper_network_is_figure_2():
  preset = PRESETS['paper']
  clips = jax.ShapeDtypeStruct((1, 16, 224, 224, 1), jnp.float32)
  network = AutoEncoder(preset.widths)
  variables = jax.eval_shape(network.init, jax.random.key(0), clips)
  assert kernel_shapes(variables['params']) == {
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
  _, sown = jax.eval_shape(
    lambda v: network.apply(v, jnp.zeros(clips.shape), mutable=['intermediates']), variables
  )
  assert sown['intermediates']['conv5_map'][0].shape == (1, 2, 14, 14, 512)
  judge = jax.eval_shape(
    Discriminator(preset.discriminator_widths, preset.discriminator_units).init,
    jax.random.key(0),
    clips,
  )
  assert kernel_shapes(judge['params'])['fc4/kernel'] == (
    4 * 28 * 28 * 256,
    256,
  )  # 205.5 million weights


def test_six_layers_drop_the_inner_four():
  variables = jax.eval_shape(
    AutoEncoder((64, 128, 256)).init, jax.random.key(0), jnp.zeros((1, 16, 224, 224, 1))
  )
  assert sorted(variables['params']) == [
    'conv1',
    'conv2',
    'conv3',
    'deconv1',
    'deconv2',
    'deconv3_bias',
    'deconv3_kernel',
  ]
  assert (
    pool_windows(3) == ((1, 2, 2), (2, 2, 2))
    and size_multiples(3) == (2, 4)
    and size_multiples(5) == (8, 16)
  )


@pytest.mark.parametrize('train', [False, True])
@pytest.mark.parametrize('widths', [WIDTHS, WIDTHS[:3]])
def test_phase_split_is_exact(clips, widths, train):
  split, plain = (
    AutoEncoder(widths),
    AutoEncoder(widths, polyphase=False, conv_algorithm='direct'),
  )
  variables = split.init(jax.random.key(0), clips)

  def run(network, theta):
    recon, updates = network.apply(
      variables | {'params': theta}, clips, train=train, mutable=['batch_stats']
    )
    return jnp.square(recon - clips).sum(), (recon, updates)

  results = [
    jax.value_and_grad(lambda theta, n=network: run(n, theta), has_aux=True)(variables['params'])
    for network in (split, plain)
  ]
  # Gradients sum over all pixels: what rounding leaves is in proportion to an array's largest value, 45 for one of these, not to each.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a, b, rtol=2e-4, atol=max(2e-4, 2e-5 * float(np.abs(b).max()))
    ),
    *results,
  )


def test_encoder_row_by_hand(clips):
  """conv1 of the untrained network at test: convolution, running statistics (0, 1), pool, tanh."""
  network = AutoEncoder(WIDTHS)
  variables = network.init(jax.random.key(0), clips)
  _, sown = network.apply(variables, clips, mutable=['intermediates'])
  convolved = reference.conv3d(clips, variables['params']['conv1']['kernel']) / np.sqrt(1 + 1e-5)
  expected, _ = reference.max_pool3d_argmax(np.tanh(convolved), (1, 2, 2))
  np.testing.assert_allclose(sown['intermediates']['conv1_map'][0], expected, rtol=1e-5, atol=1e-6)


def test_fixed_places_are_the_upper_left(clips):
  """The same parameters with every place zero: the decoder's last map is zero off the even pixels, so a centre-only kernel leaves only bias there."""
  recorded, fixed = AutoEncoder(WIDTHS[:3]), AutoEncoder(WIDTHS[:3], unpooling='fixed')
  variables = recorded.init(jax.random.key(0), clips)
  kernel = variables['params']['deconv3_kernel']
  params = variables['params'] | {
    'deconv3_kernel': jnp.zeros_like(kernel).at[0, 1, 1].set(1.0),
    'deconv3_bias': jnp.asarray([0.5]),
  }
  off, on = (
    np.asarray(n.apply(variables | {'params': params}, clips))[..., 0] - 0.5
    for n in (fixed, recorded)
  )
  assert np.abs(off[:, :, ::2, ::2]).min() > 0 and np.abs(on[:, :, 1::2, 1::2]).max() > 0
  for rows, columns in ((0, 1), (1, 0), (1, 1)):
    assert np.abs(off[:, :, rows::2, columns::2]).max() == 0
  with pytest.raises(ValueError, match='unpooling must be one of'):
    AutoEncoder(WIDTHS, unpooling='somewhere').init(jax.random.key(0), clips)


def test_output_scale_multiplies_the_reconstruction(clips):
  plain, scaled = AutoEncoder(WIDTHS), AutoEncoder(WIDTHS, output_gain=0.25)
  variables = plain.init(jax.random.key(0), clips)
  variables = variables | {
    'params': variables['params'] | {f'deconv{len(WIDTHS)}_bias': jnp.asarray([0.5])}
  }
  np.testing.assert_array_equal(
    scaled.apply(variables, clips), 0.25 * plain.apply(variables, clips)
  )


def test_norm_scale_is_where_every_scale_starts(clips):
  plain, scaled = (
    {
      '/'.join(p.key for p in path): leaf
      for path, leaf in jax.tree.leaves_with_path(
        AutoEncoder(WIDTHS, bn_scale_init=scale).init(jax.random.key(0), clips)['params']
      )
    }
    for scale in (1.0, 0.25)
  )
  scales = [name for name in plain if name.endswith('norm/scale')]
  assert (
    len(scales) == 2 * len(WIDTHS) - 1
  )  # after every convolution and deconvolution but the last
  for name, leaf in scaled.items():
    np.testing.assert_array_equal(leaf, 0.25 * plain[name] if name in scales else plain[name])


def test_running_statistics_follow_pytorch(clips):
  network = AutoEncoder(WIDTHS)
  variables = network.init(jax.random.key(0), clips)
  _, updates = network.apply(variables, clips, train=True, mutable=['batch_stats'])
  convolved = reference.conv3d(clips, variables['params']['conv1']['kernel'])
  norm = updates['batch_stats']['conv1']['norm']
  np.testing.assert_allclose(norm['mean'], 0.1 * convolved.mean((0, 1, 2, 3)), rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(norm['var'], 0.9 + 0.1 * convolved.var((0, 1, 2, 3)), rtol=1e-4)


def test_bfloat16_computes_with_float32_parameters(clips):
  network = AutoEncoder(WIDTHS, dtype=jnp.bfloat16)
  variables = AutoEncoder(WIDTHS).init(jax.random.key(0), clips)
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
  with jax.numpy_dtype_promotion(
    'standard'
  ):  # Flax's normalisation promotes its own float32 statistics
    recon = network.apply(variables, clips)
  assert recon.dtype == jnp.float32
  np.testing.assert_allclose(recon, AutoEncoder(WIDTHS).apply(variables, clips), atol=0.02)


def test_discriminator_phase_split_is_exact(clips):
  split, plain = Discriminator((2, 3, 4), 5), Discriminator((2, 3, 4), 5, polyphase=False)
  variables = split.init(jax.random.key(1), clips)
  judge = [
    jax.value_and_grad(lambda c, n=network: n.apply(variables, c).sum())(clips)
    for network in (split, plain)
  ]
  assert split.apply(variables, clips).shape == (2,)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *judge)
