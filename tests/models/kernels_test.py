"""Both networks computed by the kernels of TPUs and of GPUs (interpreted) equal those computed by XLA: values, gradients, statistics."""

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
def by_kernels(monkeypatch, request):
  """Call it to have every operator computed by its kernel from then on."""

  def switch():
    for module, name in ((polyphase, '_implementation'), (pooling, 'implementation_for')):
      monkeypatch.setattr(module, name, lambda *_: request.param)

  return switch


def negative_scales(variables):
  """Every other channel's scale turned negative, which an untrained network has nowhere."""

  def turn(path, leaf):
    return (
      leaf * jnp.where(jnp.arange(leaf.size) % 2, -1.0, 1.0) if path[-1].key == 'scale' else leaf
    )

  return variables | {'params': jax.tree.map_with_path(turn, variables['params'])}


def autoencoder_results(network, variables, clips):
  def loss(theta):
    recon, updates = network.apply(
      variables | {'params': theta}, clips, train=True, mutable=['batch_stats']
    )
    return jnp.square(recon - clips).sum(), (recon, updates)

  return jax.value_and_grad(loss, has_aux=True)(variables['params'])


def test_autoencoder(clips, by_kernels):
  network = AutoEncoder((3, 4, 4), conv_algorithm='folded')
  variables = negative_scales(network.init(jax.random.key(0), clips))
  by_xla = autoencoder_results(network, variables, clips)
  by_kernels()
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3),
    autoencoder_results(network, variables, clips),
    by_xla,
  )


def test_negative_scales_are_normalised_before_the_pool_all_the_same(clips):
  """Pooling first, with the kernel's sign turned, is pooling last."""
  split = AutoEncoder((3, 4), conv_algorithm='folded')
  plain = AutoEncoder((3, 4), conv_algorithm='folded', polyphase=False)
  variables = negative_scales(split.init(jax.random.key(0), clips))
  _, sown = plain.apply(variables, clips, mutable=['intermediates'])
  conv1 = variables['params']['conv1']
  y = pooling.max_pool3d_argmax(
    conv1['norm']['scale']
    * jax.lax.conv_general_dilated(
      clips, conv1['kernel'], (1, 1, 1), 'SAME', dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC')
    )
    / np.sqrt(1 + 1e-5),
    (1, 2, 2),
  )[0]
  np.testing.assert_allclose(
    sown['intermediates']['conv1_map'][0], jnp.tanh(y), rtol=1e-4, atol=1e-5
  )
  np.testing.assert_allclose(
    split.apply(variables, clips), plain.apply(variables, clips), rtol=1e-4, atol=1e-5
  )


def test_discriminator(clips, by_kernels):
  network = Discriminator((2, 3, 3), 4, conv_algorithm='folded')
  variables = network.init(jax.random.key(0), clips)
  results = lambda: jax.value_and_grad(lambda v, x: network.apply(v, x).sum(), (0, 1))(
    variables, clips
  )  # noqa: E731
  by_xla = results()
  by_kernels()
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), results(), by_xla
  )


def test_bfloat16_kernels_are_float32_to_rounding(clips, by_kernels):
  """Of nearly every pixel: where rounding makes two maxima equal, one value moves to another place, and its few pixels differ by all they have."""
  variables = AutoEncoder((3, 4, 4)).init(jax.random.key(0), clips)
  exact = AutoEncoder((3, 4, 4), polyphase=False, conv_algorithm='direct').apply(variables, clips)
  by_kernels()
  difference = jnp.abs(
    AutoEncoder((3, 4, 4), dtype=jnp.bfloat16, conv_algorithm='folded').apply(variables, clips)
    - exact
  )
  assert jnp.quantile(difference, 0.95) < 4 * BFLOAT16_ROUNDING * jnp.abs(exact).max()
