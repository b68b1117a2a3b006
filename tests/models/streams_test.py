"""Auto-encoders side by side."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.models.streams import StreamAutoEncoders

NETWORK = AutoEncoder((2, 3, 4), unpooling='fixed')


@pytest.mark.slow
def test_each_stream_is_the_auto_encoder_of_its_channel(rng):
  clips = jnp.asarray(rng.standard_normal((2, 4, 8, 8, 2)), jnp.float32)
  streams = StreamAutoEncoders((NETWORK, NETWORK))
  variables = streams.init(jax.random.key(0), clips)
  recon = streams.apply(variables, clips)
  assert recon.shape == clips.shape
  for channel, name in enumerate(('stream1', 'stream2')):
    own = {collection: values[name] for collection, values in variables.items()}
    alone = NETWORK.apply(own, clips[..., channel : channel + 1])
    np.testing.assert_allclose(recon[..., channel : channel + 1], alone, rtol=1e-5, atol=1e-6)


def test_a_stream_does_not_see_the_other(rng):
  clips = jnp.asarray(rng.standard_normal((2, 4, 8, 8, 2)), jnp.float32)
  streams = StreamAutoEncoders((NETWORK, NETWORK))
  variables = streams.init(jax.random.key(0), clips)

  def second(first_channel):
    changed = clips.at[..., :1].set(first_channel)
    return streams.apply(variables, changed)[..., 1:]

  np.testing.assert_array_equal(second(clips[..., :1]), second(0.0))
