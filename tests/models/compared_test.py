"""The compared networks and the ablations: layers, sizes, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.config import fields
from a3dcae_jax.config.check import size_multiples
from a3dcae_jax.config.presets import PRESETS
from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.models.conv_ae import ConvAE
from a3dcae_jax.models.convlstm_ae import ConvLSTMAE
from a3dcae_jax.models.networks import make_networks
from a3dcae_jax.ops import reference

KINDS = ('a2dcae', 'conv_ae', 'convlstm_ae', 'plain_3d')
WIDTHS = {'a2dcae': (2, 3, 4), 'plain_3d': (2, 3, 4, 4)}

LSTM_KERNELS = 4 * 9 * ((64 + 64) * 64 + (64 + 32) * 32 + (32 + 64) * 64)
LSTM_BIASES = 2 * 4 * (64 + 32 + 64)  # one more per gate than Keras has
PUBLISHED = {  # parameters at the published widths, layer by layer
  'conv_ae': (10 * 121 * 512 + 512)
  + (512 * 25 * 256 + 256)
  + (256 * 9 * 128 + 128)
  + (128 * 9 * 256 + 256)
  + (256 * 25 * 512 + 512)
  + (512 * 121 * 10 + 10),
  'convlstm_ae': (121 * 128 + 128)
  + (128 * 25 * 64 + 64)
  + LSTM_KERNELS
  + LSTM_BIASES
  + (64 * 25 * 128 + 128)
  + (128 * 121 + 1),
  # Scale and bias of the normalisation, without the biases of the convolutions before them.
  'plain_3d': 27 * 2 * (96 + 96 * 128 + 128 * 256 + 256 * 256)
  + 2 * (96 + 128 + 256 + 256 + 256 + 128 + 96)
  + 1,
}


def network_of(kind, widths=None, **options):
  widths = widths or WIDTHS.get(kind, (2, 3, 4))
  return make_networks(fields.Model(kind=kind, widths=widths, **options))[0]


def clips_for(kind, rng):
  """Return clips of the smallest size that a kind takes."""
  frames, pixels = size_multiples(fields.Model(kind=kind, widths=WIDTHS.get(kind, (2, 3, 4))))
  return jnp.asarray(rng.normal(0, 0.2, (2, max(2, frames), pixels, 2 * pixels, 1)), jnp.float32)


@pytest.mark.parametrize('kind', PUBLISHED)
def test_parameters_are_those_of_the_published_network(kind):
  preset = PRESETS[kind]
  clips = jax.ShapeDtypeStruct((1, preset.window, 224, 224, 1), jnp.float32)
  network = network_of(kind, preset.widths)
  variables = jax.eval_shape(network.init, jax.random.key(0), clips)
  assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == PUBLISHED[kind]


@pytest.mark.parametrize('remat', ['none', 'blocks'])
@pytest.mark.parametrize('kind', KINDS)
def test_shapes_and_gradients(rng, kind, remat):
  clips = clips_for(kind, rng)
  network = network_of(kind, remat=remat)
  with jax.numpy_dtype_promotion('standard'):
    variables = jax.jit(network.init)(jax.random.key(0), clips)

    def loss(params):
      recon, updates = network.apply(
        variables | {'params': params}, clips, train=True, mutable=['batch_stats', 'intermediates']
      )
      return jnp.square(recon - clips).mean(), (recon, updates['intermediates'])

    grads, (recon, maps) = jax.jit(jax.grad(loss, has_aux=True))(variables['params'])
  assert recon.shape == clips.shape
  assert {'conv1_map', 'conv2_map'} <= maps.keys()
  for path, grad in jax.tree.leaves_with_path(grads):
    assert np.isfinite(grad).all(), path
    assert np.abs(grad).max() > 0, path


@pytest.mark.parametrize('kind', KINDS)
def test_bfloat16_computes_with_float32_parameters(rng, kind):
  clips = clips_for(kind, rng)
  network = network_of(kind, dtype='bfloat16')
  variables = jax.jit(network.init)(jax.random.key(0), clips)
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
  recon = jax.jit(network.apply)(variables, clips)
  assert recon.dtype == jnp.float32
  assert np.isfinite(recon).all()


@pytest.mark.slow
def test_lstms_have_the_same_output_without_a_loop(rng):
  clips = clips_for('convlstm_ae', rng)
  widths = (2, 3, 4)
  network = ConvLSTMAE(widths)
  variables = jax.jit(network.init)(jax.random.key(0), clips)
  unrolled = jax.jit(ConvLSTMAE(widths, conv_algorithm='folded').apply)(variables, clips)
  expected = jax.jit(network.apply)(variables, clips)
  np.testing.assert_allclose(unrolled, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_2d_pools_are_undone_at_their_recorded_places(rng):
  """With kernels that keep a pixel, Conv-AE un-pools its own maxima."""
  clips = clips_for('conv_ae', rng)
  network = ConvAE((2, 2, 2))
  variables = jax.jit(network.init)(jax.random.key(0), clips)
  _, sown = network.apply(variables, clips, mutable=['intermediates'])
  first = reference.strided_conv3d(
    np.swapaxes(clips, 1, 4), variables['params']['conv1']['kernel'], (1, 4, 4)
  )
  values, _ = reference.max_pool3d_argmax(np.tanh(first), (1, 2, 2))
  found = sown['intermediates']['conv1_map'][0]
  np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('options', [{'pool_time': False}, {'stack_frames': True}])
def test_ablations_unpool_at_recorded_places(rng, options):
  """One-frame pools: at each place of Conv1 that is kept, the last kernel reads its value.

  All later layers are those of the network, so un-pooling is compared with the reference.
  """
  clips = jnp.asarray(rng.normal(0, 0.2, (1, 4, 8, 8, 1)), jnp.float32)
  network = AutoEncoder((3, 3), conv_algorithm='direct', **options)
  variables = jax.jit(network.init)(jax.random.key(0), clips)
  params = variables['params']
  images = np.swapaxes(clips, 1, 4) if 'stack_frames' in options else np.asarray(clips)
  gain = 1 / np.sqrt(1 + 1e-5)  # running statistics are 0 and 1

  def normalised(y):
    return np.tanh(gain * y)

  window = (1, 2, 2)
  first = normalised(reference.conv3d(images, params['conv1']['kernel']))
  pooled, pool_indices = reference.max_pool3d_argmax(first, window)
  inner = normalised(reference.conv3d(pooled, params['conv2']['kernel']))
  inner = normalised(reference.deconv3d(inner, params['deconv1']['kernel']))
  expected = reference.deconv3d(
    reference.max_unpool3d(inner, pool_indices, window), params['deconv2_kernel']
  )
  if 'stack_frames' in options:
    expected = np.swapaxes(expected, 1, 4)
  np.testing.assert_allclose(network.apply(variables, clips), expected, rtol=1e-4, atol=1e-5)
