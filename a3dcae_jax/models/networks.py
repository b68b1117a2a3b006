"""Both networks from the settings of the model."""

from typing import Any

from flax import linen as nn

from a3dcae_jax.config import fields
from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.models.conv_ae import ConvAE
from a3dcae_jax.models.convlstm_ae import ConvLSTMAE
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.models.dtypes import compute_dtype
from a3dcae_jax.models.plain_3d import Plain3D
from a3dcae_jax.models.streams import StreamAutoEncoders


def make_networks(
  model: fields.Model,
  *,
  axis_name: str | None = None,
  conv_algorithm: str = 'auto',
  polyphase: bool = True,
  streams: int = 1,
) -> tuple[nn.Module, Discriminator]:
  """Build the auto-encoder that `model.kind` names, and the discriminator.

  Args:
    model: the settings, already checked by `config.check`.
    axis_name: the mapped axis of data-parallel replicas; None for a single replica.
    conv_algorithm: see `ops.conv_algorithm`.
    polyphase: compute the first and last layer of the paper's networks by the polyphase method of
      `ops.polyphase`.
    streams: number of channels of the input; with several, each has its own auto-encoder.
  """
  common = {
    'axis_name': axis_name,
    'conv_algorithm': conv_algorithm,
    'dtype': compute_dtype(model.dtype),
    'remat': model.remat,
  }
  generator = _autoencoder(model, polyphase, common)
  if streams > 1:
    generator = StreamAutoEncoders((generator,) * streams)
  discriminator = Discriminator(
    tuple(model.discriminator_widths),
    model.discriminator_units,
    polyphase=polyphase,
    **common,
  )
  return generator, discriminator


def _autoencoder(model: fields.Model, polyphase: bool, common: dict[str, Any]) -> nn.Module:
  """Return the auto-encoder that `model.kind` names."""
  common = {
    **common,
    'output_gain': model.output_gain,
    'bn_scale_init': model.bn_scale_init,
  }
  widths = tuple(model.widths)
  if model.kind == 'conv_ae':
    return ConvAE(widths, unpooling=model.unpooling, **common)
  if model.kind == 'convlstm_ae':
    return ConvLSTMAE(widths, **common)
  if model.kind == 'plain_3d':
    return Plain3D(widths, **common)
  return AutoEncoder(
    widths,
    unpooling=model.unpooling,
    pool_time=model.pool_time,
    stack_frames=model.kind == 'a2dcae',
    polyphase=polyphase,
    **common,
  )
