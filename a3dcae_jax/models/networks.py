"""Both networks from the settings of the model."""

from a3dcae_jax.config import fields
from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.models.dtypes import compute_dtype
from a3dcae_jax.models.streams import StreamAutoEncoders


def make_networks(
  model: fields.Model,
  *,
  axis_name: str | None = None,
  conv_algorithm: str = 'auto',
  polyphase: bool = True,
  streams: int = 1,
) -> tuple[AutoEncoder | StreamAutoEncoders, Discriminator]:
  """Build the auto-encoder and the discriminator.

  Args:
    model: the settings, already checked by `config.check`.
    axis_name: the mapped axis of data-parallel replicas; None for a single replica.
    conv_algorithm: see `ops.conv_algorithm`.
    polyphase: compute the first and last layer by the polyphase method of `ops.polyphase`.
    streams: number of channels of the input; with several, each has its own auto-encoder.
  """
  common = {
    'axis_name': axis_name,
    'conv_algorithm': conv_algorithm,
    'polyphase': polyphase,
    'dtype': compute_dtype(model.dtype),
    'remat': model.remat,
  }
  generator = AutoEncoder(
    tuple(model.widths),
    unpooling=model.unpooling,
    output_gain=model.output_gain,
    bn_scale_init=model.bn_scale_init,
    **common,
  )
  if streams > 1:
    generator = StreamAutoEncoders((generator,) * streams)
  discriminator = Discriminator(
    tuple(model.discriminator_widths),
    model.discriminator_units,
    **common,
  )
  return generator, discriminator
