"""Both networks agree between the kernels of TPUs and GPUs and XLA.

The kernels are interpreted. Values, gradients and statistics are compared.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.ops import polyphase, pooling

BFLOAT16_ROUNDING = 2.0**-8


@pytest.fixture
def clips(rng):
  return jnp.asarray(rng.standard_normal((2, 4, 16, 16, 1)), jnp.float32)


@pytest.fixture(params=('pallas', 'triton'))
def use_kernels(monkeypatch, request):
  """A function that makes every operator use its kernel from then on."""

  def switch():
    monkeypatch.setattr(polyphase, '_implementation', lambda *_: request.param)
    monkeypatch.setattr(pooling, 'implementation_for', lambda *_: request.param)

  return switch


def with_negative_scales(variables):
  """Make the normalisation scale of every other channel negative."""

  def change(path, leaf):
    if path[-1].key != 'scale':
      return leaf
    is_odd = jnp.arange(leaf.size) % 2
    return leaf * jnp.where(is_odd, -1.0, 1.0)

  params = jax.tree.map_with_path(change, variables['params'])
  return variables | {'params': params}


def assert_close(results, expected, tolerance):
  def compare(a, b):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)

  jax.tree.map(compare, results, expected)


@pytest.mark.slow
def test_autoencoder(clips, use_kernels):
  network = AutoEncoder((3, 4, 4), conv_algorithm='folded')
  variables = with_negative_scales(network.init(jax.random.key(0), clips))

  def results():
    def loss(params):
      recon, updates = network.apply(
        variables | {'params': params},
        clips,
        train=True,
        mutable=['batch_stats'],
      )
      return jnp.square(recon - clips).sum(), (recon, updates)

    return jax.value_and_grad(loss, has_aux=True)(variables['params'])

  expected = results()
  use_kernels()
  assert_close(results(), expected, 1e-3)


def test_pooling_before_a_normalisation_of_negative_scale(clips):
  """The result is that of pooling after the normalisation."""
  network = AutoEncoder((3, 4), conv_algorithm='folded')
  plain = AutoEncoder((3, 4), conv_algorithm='folded', polyphase=False)
  variables = with_negative_scales(network.init(jax.random.key(0), clips))
  _, sown = plain.apply(variables, clips, mutable=['intermediates'])

  conv1 = variables['params']['conv1']
  convolved = jax.lax.conv_general_dilated(
    clips,
    conv1['kernel'],
    (1, 1, 1),
    'SAME',
    dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'),
  )
  normalised = conv1['norm']['scale'] * convolved / np.sqrt(1 + 1e-5)
  pooled, _ = pooling.max_pool3d_argmax(normalised, (1, 2, 2))
  conv1_map = sown['intermediates']['conv1_map'][0]
  np.testing.assert_allclose(conv1_map, jnp.tanh(pooled), rtol=1e-4, atol=1e-5)
  recon = network.apply(variables, clips)
  np.testing.assert_allclose(recon, plain.apply(variables, clips), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_discriminator(clips, use_kernels):
  network = Discriminator((2, 3, 3), 4, conv_algorithm='folded')
  variables = network.init(jax.random.key(0), clips)

  def results():
    def total(variables, clips):
      return network.apply(variables, clips).sum()

    return jax.value_and_grad(total, (0, 1))(variables, clips)

  expected = results()
  use_kernels()
  assert_close(results(), expected, 1e-4)


@pytest.mark.slow
def test_bfloat16_kernels_equal_float32_up_to_rounding(clips, use_kernels):
  """Nearly every pixel is close to that of float32.

  Where rounding makes two maxima equal, a value moves to another position. The few pixels that
  depend on it differ completely.
  """
  exact = AutoEncoder((3, 4, 4), polyphase=False, conv_algorithm='direct')
  network = AutoEncoder((3, 4, 4), dtype=jnp.bfloat16, conv_algorithm='folded')
  variables = exact.init(jax.random.key(0), clips)
  expected = exact.apply(variables, clips)
  use_kernels()
  difference = np.abs(network.apply(variables, clips) - expected)
  largest = np.abs(expected).max()
  assert np.quantile(difference, 0.95) < 4 * BFLOAT16_ROUNDING * largest
