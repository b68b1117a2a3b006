"""One auto-encoder for each kind of input."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.ops.shapes import sliced

_ALL = slice(None)


class StreamAutoEncoders(nn.Module):
  """Auto-encoders side by side, one for each channel of the input.

  They share nothing, so training them together equals training each alone.

  Attributes:
    streams: the auto-encoder of each channel.
  """

  streams: tuple[AutoEncoder, ...]

  @nn.compact
  def __call__(self, clips: jax.Array, train: bool = False) -> jax.Array:
    """Reconstruct each channel by its own auto-encoder.

    Args:
      clips: float32 [B, T, H, W, C], with C streams.
      train: as in `AutoEncoder`.

    Returns:
      float32 [B, T, H, W, C].
    """
    outputs = []
    for channel, stream in enumerate(self.streams):
      network = stream.copy(name=f'stream{channel + 1}')
      own = sliced(clips, _ALL, _ALL, _ALL, slice(channel, channel + 1))
      outputs.append(network(own, train))
    return jnp.concatenate(outputs, axis=-1)
