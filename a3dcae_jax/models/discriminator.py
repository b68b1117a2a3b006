"""The discriminator of Fig. 2."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from a3dcae_jax.models.blocks import FIRST_KERNEL, INNER_KERNEL, rematerialised, torch_uniform
from a3dcae_jax.ops.conv3d import conv3d
from a3dcae_jax.ops.factored_gradient import factored_product
from a3dcae_jax.ops.polyphase import extract_patches, phase_weights, pool_patches
from a3dcae_jax.ops.pooling import max_pool3d_argmax


class Discriminator(nn.Module):
  """D_phi: three convolutions with pools, then two fully connected layers.

  Conv 1x3x3, pool 1x2x2, Conv 3x3x3, pool 2x2x2, Conv 3x3x3, pool 2x2x2, FC, FC 1, with ReLU and no
  normalisation. ReLU is non-decreasing, so it is applied after each pool: the same values for a
  quarter to an eighth of the work.

  Attributes:
    widths: channels of the convolutions.
    units: outputs of the first fully connected layer.
    axis_name: the mapped axis of the replicas, over which `factored_product` sums the gradient of
      FC4; None for a single replica.
    polyphase: compute the first layer by `ops.polyphase`, which is exact.
    conv_algorithm: see `ops.conv_algorithm`.
    dtype: data type of the computation; parameters are float32.
    remat: as in `AutoEncoder`.
  """

  widths: tuple[int, ...]
  units: int
  axis_name: str | None = None
  polyphase: bool = True
  conv_algorithm: str = 'auto'
  dtype: DTypeLike = jnp.float32
  remat: str = 'none'

  @nn.compact
  def __call__(self, clips: jax.Array) -> jax.Array:
    """Return the logits log D / (1 - D) of clips; the sigmoid is part of the loss.

    Args:
      clips: float32 [B, T, H, W, 1].

    Returns:
      float32 [B].
    """
    x = clips.astype(self.dtype)
    for layer, width in enumerate(self.widths):
      first = layer == 0
      size = FIRST_KERNEL if first else INNER_KERNEL
      shape = (*size, x.shape[-1], width)
      name = f'conv{layer + 1}'
      kernel = self.param(f'{name}_kernel', torch_uniform, shape)
      bias = self.param(f'{name}_bias', nn.initializers.zeros, (width,))
      convolve = functools.partial(self._convolve, first=first)
      convolve = rematerialised(convolve, self.remat)
      x = convolve(x, kernel, bias)

    x = x.reshape(x.shape[0], -1)
    fc4 = nn.Dense(
      self.units,
      kernel_init=torch_uniform,
      dtype=self.dtype,
      dot_general=self._factored_dot_general if self.axis_name else None,
      name='fc4',
    )
    x = jax.nn.relu(fc4(x))
    # float32, like the loss; with a single output this costs nothing.
    fc5 = nn.Dense(
      1,
      kernel_init=torch_uniform,
      dtype=jnp.float32,
      name='fc5',
    )
    logits = fc5(x.astype(jnp.float32))
    return logits[:, 0]

  @property
  def summed_gradients(self) -> tuple[tuple[str, ...], ...]:
    """Paths of the parameters whose gradient is already summed over the replicas.

    `factored_product` does this for the weights of FC4, which has nearly all parameters.
    """
    return (('fc4', 'kernel'),) if self.axis_name else ()

  def _factored_dot_general(
    self, x: jax.Array, kernel: jax.Array, dimensions: Any, precision: Any = None
  ) -> jax.Array:
    """Multiply [B, F] and [F, U], with the signature that `nn.Dense` calls."""
    return factored_product(x, kernel, self.axis_name)

  def _convolve(
    self, x: jax.Array, kernel: jax.Array, bias: jax.Array, *, first: bool
  ) -> jax.Array:
    """Apply a convolution, a pool and ReLU."""
    if first and self.polyphase:
      patches = extract_patches(x, kernel.shape[1:3])
      weights = phase_weights(kernel)
      values, _ = pool_patches(patches, weights, bias, 'relu')
      return values
    kernel = kernel.astype(self.dtype)
    y = conv3d(x, kernel, conv_algorithm=self.conv_algorithm)
    window = (1, 2, 2) if first else (2, 2, 2)
    pooled, _ = max_pool3d_argmax(y, window)
    # A bias shifts all positions of its channel equally, so it may be added after the pool.
    return jax.nn.relu(pooled + bias.astype(self.dtype))
