"""Rematerialisation changes what is kept for the gradient, not the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.models.blocks import rematerialised
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.run.networks import remat_of

WIDTHS = (2, 3, 4)


def kept_bytes(function, argument):
  """Bytes of what the way back needs of `function(argument)`: the leaves of its pullback."""
  return sum(
    leaf.size * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(jax.eval_shape(lambda a: jax.vjp(function, a)[1], argument))
  )


@pytest.mark.parametrize('polyphase', [True, False])
def test_autoencoder_gradients_are_equal_and_less_is_kept(rng, polyphase):
  clips = jnp.asarray(rng.standard_normal((2, 4, 16, 16, 1)), jnp.float32)
  plain, remat = (
    AutoEncoder(WIDTHS, polyphase=polyphase, conv_algorithm='direct', remat=name)
    for name in ('none', 'blocks')
  )
  variables = plain.init(jax.random.key(0), clips)

  def loss(network, theta):
    recon, updates = network.apply(
      variables | {'params': theta}, clips, train=True, mutable=['batch_stats']
    )
    return jnp.square(recon - clips).mean(), updates

  results = [
    jax.jit(jax.value_and_grad(lambda theta, n=network: loss(n, theta), has_aux=True))(
      variables['params']
    )
    for network in (plain, remat)
  ]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *results)
  kept = [
    kept_bytes(lambda theta, n=network: loss(n, theta)[0], variables['params'])
    for network in (plain, remat)
  ]
  assert kept[1] < 0.6 * kept[0]


def test_discriminator_gradients_are_equal_and_less_is_kept(rng):
  clips = jnp.asarray(rng.standard_normal((2, 4, 16, 16, 1)), jnp.float32)
  plain, remat = (
    Discriminator((2, 3, 4), 3, conv_algorithm='direct', remat=name) for name in ('none', 'blocks')
  )
  params = plain.init(jax.random.key(0), clips)
  results = [
    jax.jit(jax.grad(lambda p, c, n=network: jnp.sin(n.apply(p, c)).sum(), (0, 1)))(params, clips)
    for network in (plain, remat)
  ]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), *results)
  kept = [
    kept_bytes(lambda both, n=network: n.apply(*both), (params, clips))
    for network in (plain, remat)
  ]
  assert kept[1] < 0.8 * kept[0]


def test_unknown_ways_are_named():
  with pytest.raises(ValueError, match="remat must be one of .*, got 'all'"):
    rematerialised(AutoEncoder, 'all')
  with pytest.raises(UserError, match="model.remat 'all': known are none, blocks"):
    remat_of('all')
