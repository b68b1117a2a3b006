"""The discriminator of Fig. 2: three convolutions with pools, two fully connected layers, a logit out."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from a3dcae_jax.models.blocks import rematerialised, torch_uniform
from a3dcae_jax.ops.conv3d import conv3d
from a3dcae_jax.ops.factored_gradient import factored_product
from a3dcae_jax.ops.polyphase import extract_patches, phase_weights, pool_patches
from a3dcae_jax.ops.pooling import max_pool3d_argmax

FIRST_KERNEL = (1, 3, 3)


class Discriminator(nn.Module):
  """D_phi: Conv 1x3x3 - pool 1x2x2 - Conv 3x3x3 - pool 2x2x2 - Conv 3x3x3 - pool 2x2x2 - FC - FC 1; ReLU, no normalisation.

  ReLU rises, so it is applied after each pool: the same values from a quarter to an eighth of the work.

  Attributes:
    widths: channels of the three convolutions. units: of the first fully connected layer.
    axis_name: the mapped axis of the replicas, over which FC4's gradient is summed by `factored_product`; None for one.
    polyphase, conv_algorithm, dtype, remat: as in `AutoEncoder`.
  """

  widths: tuple
  units: int
  axis_name: str | None = None
  polyphase: bool = True
  conv_algorithm: str = 'auto'
  dtype: Any = jnp.float32
  remat: str = 'none'

  @nn.compact
  def __call__(self, clips):
    """[B, T, H, W, 1] float32 -> logits [B] float32: log D / (1 - D); the sigmoid lives in the loss."""
    x = clips.astype(self.dtype)
    for layer, width in enumerate(self.widths):
      kernel_size = FIRST_KERNEL if layer == 0 else (3, 3, 3)
      kernel = self.param(
        f'conv{layer + 1}_kernel', torch_uniform, (*kernel_size, x.shape[-1], width)
      )
      bias = self.param(f'conv{layer + 1}_bias', nn.initializers.zeros, (width,))
      x = rematerialised(functools.partial(self._layer, first=layer == 0), self.remat)(
        x, kernel, bias
      )
    x = x.reshape(x.shape[0], -1)
    product = self._exchanged if self.axis_name else None  # None: the plain one
    x = jax.nn.relu(
      nn.Dense(
        self.units, kernel_init=torch_uniform, dtype=self.dtype, dot_general=product, name='fc4'
      )(x)
    )
    # One output: float32, since the loss is.
    return nn.Dense(1, kernel_init=torch_uniform, dtype=jnp.float32, name='fc5')(
      x.astype(jnp.float32)
    )[:, 0]

  @property
  def summed_gradients(self):
    """Names of the parameters whose gradient comes summed over the replicas: nearly all parameters are FC4's (`factored_product`)."""
    return (('fc4', 'kernel'),) if self.axis_name else ()

  def _exchanged(self, x, kernel, dimensions, precision=None):
    """What `nn.Dense` asks of a `dot_general`, for [B, F] and [F, U] at the default precision."""
    return factored_product(x, kernel, self.axis_name)

  def _layer(self, x, kernel, bias, *, first):
    if first and self.polyphase:
      return pool_patches(
        extract_patches(x, kernel.shape[1:3]), phase_weights(kernel), bias, 'relu'
      )[0]
    y = conv3d(x, kernel.astype(self.dtype), conv_algorithm=self.conv_algorithm)
    pooled, _ = max_pool3d_argmax(y, (1, 2, 2) if first else (2, 2, 2))
    return jax.nn.relu(
      pooled + bias.astype(self.dtype)
    )  # a channel's bias moves all its places alike: it may follow the pool
