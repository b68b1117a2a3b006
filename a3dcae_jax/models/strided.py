"""The layer and the attributes that the compared networks share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from a3dcae_jax.models.blocks import rematerialised, torch_uniform
from a3dcae_jax.models.norm import Norm, apply_affine, moments_of
from a3dcae_jax.ops.strided_conv import strided_conv3d, strided_deconv3d

Size = tuple[int, int, int]
Activation = Callable[[jax.Array], jax.Array]


class StridedBlock(nn.Module):
  """Convolution or deconvolution, bias or normalisation, activation.

  Attributes:
    features: output channels.
    kernel: size (kt, kh, kw).
    strides: (st, sh, sw).
    activation: applied last; None for none.
    transposed: deconvolution instead of convolution.
    normalised: batch normalisation instead of a bias.
    conv_algorithm: see `ops.conv_algorithm`.
    dtype: data type of the computation.
    axis_name: the mapped axis over which batch statistics are averaged, or None.
    bn_scale_init: initial scale of the normalisation.
  """

  features: int
  kernel: Size
  strides: Size = (1, 1, 1)
  activation: Activation | None = jnp.tanh
  transposed: bool = False
  normalised: bool = False
  conv_algorithm: str = 'auto'
  dtype: DTypeLike = jnp.float32
  axis_name: str | None = None
  bn_scale_init: float = 1.0

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    """Apply the layer.

    Args:
      x: [B, T, H, W, Cin].
      train: use batch statistics and update the running ones.

    Returns:
      [B, T/st, H/sh, W/sw, features], or with `transposed` [B, T*st, H*sh, W*sw, features].
    """
    operator = strided_deconv3d if self.transposed else strided_conv3d
    kernel = self.param('kernel', torch_uniform, (*self.kernel, x.shape[-1], self.features))
    x = x.astype(self.dtype)
    y = operator(x, kernel.astype(self.dtype), self.strides, conv_algorithm=self.conv_algorithm)
    if self.normalised:
      y = self._normalise(y, train)
    else:
      bias = self.param('bias', nn.initializers.zeros, (self.features,))
      y = y + bias.astype(self.dtype)
    return self.activation(y) if self.activation else y

  def _normalise(self, y: jax.Array, train: bool) -> jax.Array:
    norm = Norm(self.features, self.axis_name, self.bn_scale_init, name='norm')
    gain, offset = norm.affine(moments_of(y) if train else None)
    return apply_affine(y, gain, offset)


class ComparedNetwork(nn.Module):
  """The attributes that the compared networks share with `AutoEncoder`.

  Attributes:
    widths: channels of the encoder's layers. The decoder mirrors them.
    conv_algorithm: see `ops.conv_algorithm`.
    dtype: data type of the computation; parameters and statistics are float32.
    axis_name: the mapped axis over which batch statistics are averaged in training, or None.
    output_gain: factor on the output of the last layer.
    bn_scale_init: initial scale of batch normalisation, where there is one.
    remat: 'none', or 'blocks'; see `blocks.rematerialised`.
  """

  widths: tuple[int, ...]
  conv_algorithm: str = 'auto'
  dtype: DTypeLike = jnp.float32
  axis_name: str | None = None
  output_gain: float = 1.0
  bn_scale_init: float = 1.0
  remat: str = 'none'

  def block(self, name: str, features: int, kernel: Size, **options: Any) -> StridedBlock:
    """Return a layer of this network.

    Args:
      name: its name among the parameters.
      features: output channels.
      kernel: size (kt, kh, kw).
      **options: further attributes of `StridedBlock`.
    """
    return rematerialised(StridedBlock, self.remat)(
      features,
      kernel,
      conv_algorithm=self.conv_algorithm,
      dtype=self.dtype,
      axis_name=self.axis_name,
      bn_scale_init=self.bn_scale_init,
      name=name,
      **options,
    )

  def output(self, x: jax.Array) -> jax.Array:
    """Return the reconstruction from the output of the last layer."""
    return x.astype(jnp.float32) * self.output_gain
