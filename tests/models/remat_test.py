"""Rematerialisation changes what is kept for the gradient, not the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.models.blocks import rematerialised
from a3dcae_jax.models.discriminator import Discriminator


@pytest.fixture
def clips(rng):
  return jnp.asarray(rng.standard_normal((2, 4, 16, 16, 1)), jnp.float32)


def kept_bytes(function, argument):
  """Return the bytes that the forward pass of `function` keeps for its gradient.

  They are the arrays in its pullback.
  """

  def pullback(argument):
    _, pull = jax.vjp(function, argument)
    return pull

  leaves = jax.tree.leaves(jax.eval_shape(pullback, argument))
  return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def assert_close(results, expected, atol):
  def compare(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol)

  jax.tree.map(compare, results, expected)


@pytest.mark.slow
@pytest.mark.parametrize('polyphase', [True, False])
def test_autoencoder_gradients_are_equal_and_fewer_bytes_are_kept(clips, polyphase):
  options = {'polyphase': polyphase, 'conv_algorithm': 'direct'}
  plain = AutoEncoder((2, 3, 4), **options)
  remat = AutoEncoder((2, 3, 4), remat='blocks', **options)
  variables = plain.init(jax.random.key(0), clips)

  def loss_of(network):
    def loss(params):
      recon, updates = network.apply(
        variables | {'params': params},
        clips,
        train=True,
        mutable=['batch_stats'],
      )
      return jnp.square(recon - clips).mean(), updates

    return loss

  def gradients(network):
    return jax.jit(jax.value_and_grad(loss_of(network), has_aux=True))(variables['params'])

  def kept(network):
    loss = loss_of(network)
    return kept_bytes(lambda params: loss(params)[0], variables['params'])

  assert_close(gradients(remat), gradients(plain), atol=1e-6)
  assert kept(remat) < 0.6 * kept(plain)


def test_discriminator_gradients_are_equal_and_fewer_bytes_are_kept(clips):
  plain = Discriminator((2, 3, 4), 3, conv_algorithm='direct')
  remat = Discriminator((2, 3, 4), 3, conv_algorithm='direct', remat='blocks')
  variables = plain.init(jax.random.key(0), clips)

  def gradients(network):
    def total(variables, clips):
      return jnp.sin(network.apply(variables, clips)).sum()

    return jax.jit(jax.grad(total, (0, 1)))(variables, clips)

  def kept(network):
    return kept_bytes(lambda both: network.apply(*both), (variables, clips))

  assert_close(gradients(remat), gradients(plain), atol=1e-7)
  assert kept(remat) < 0.8 * kept(plain)


def test_unknown_values_of_remat_are_named():
  with pytest.raises(ValueError, match="remat must be one of .*, got 'all'"):
    rematerialised(AutoEncoder, 'all')
