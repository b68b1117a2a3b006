"""Layers of the two networks: kernels as parameters, batch normalisation as PyTorch sets it."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from a3dcae_jax.models.norm import Norm, apply_affine, moments_of
from a3dcae_jax.ops.conv3d import conv3d, deconv3d
from a3dcae_jax.ops.conv_pool import conv_pool3d
from a3dcae_jax.ops.polyphase import extract_patches, patch_moments, phase_weights, pool_patches
from a3dcae_jax.ops.pooling import max_unpool3d

# Uniform in +-1/sqrt(fan in): what PyTorch's convolutions and linear layers start from.
torch_uniform = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


REMAT = ('none', 'blocks')


def rematerialised(layer, remat):
  """`layer`, or with `remat` 'blocks' the same without its intermediate results: they are computed again for its gradient.

  Args: layer: a linen module whose call takes (x, train, ...), or a function of arrays. remat: one of `REMAT`.
  Source: Chen et al. 2016, arXiv:1604.06174.
  """
  if remat not in REMAT:
    raise ValueError(f'remat must be one of {REMAT}, got {remat!r}')
  if remat == 'none':
    return layer
  return nn.remat(layer, static_argnums=(2,)) if isinstance(layer, type) else jax.checkpoint(layer)


class ConvBlock(nn.Module):
  """Convolution, batch normalisation, pooling, tanh: one row of the encoder of Fig. 2.

  Tanh rises everywhere and the normalisation is affine, so pooling before both gives the same values at the same places,
  with 4 to 8 times fewer of either to compute. Where a channel's scale is negative, its kernel's sign is turned first.

  Attributes:
    features: channels out. kernel: (kt, kh, kw). window: (pt, ph, pw) or None for no pooling.
    polyphase: compute a one-channel convolution before a 1x2x2 pool by phases (`ops.outer`). bn_scale_init: what the normalisation's scale starts from.
  """

  features: int
  kernel: tuple
  window: tuple | None
  polyphase: bool = False
  conv_algorithm: str = 'auto'
  dtype: Any = jnp.float32
  axis_name: str | None = None
  bn_scale_init: float = 1.0

  @nn.compact
  def __call__(self, x, train, at_rest=None):
    """x [B, T, H, W, Cin] -> (values [B, T/pt, H/ph, W/pw, features], places of the same shape or None, values at rest [features]).

    at_rest: what the block before gave as its own, None for zero. Where nothing happens y is near its mean, so a value near tanh(bias).
    """
    kernel = self.param('kernel', torch_uniform, (*self.kernel, x.shape[-1], self.features))
    norm = Norm(self.features, self.axis_name, self.bn_scale_init, name='norm')
    if self.polyphase:
      return *self._split(x, kernel, norm, train), norm.at_rest()
    x = x.astype(self.dtype)
    sign = norm.sign()
    kernel = kernel * sign
    if self.window:
      y, places, moments = conv_pool3d(
        x, kernel, self.window, moments=train, at_rest=at_rest, conv_algorithm=self.conv_algorithm
      )
    else:
      y, places = conv3d(x, kernel.astype(self.dtype), conv_algorithm=self.conv_algorithm), None
      moments = moments_of(y) if train else None
    gain, offset = norm.affine(moments and (sign * moments[0], moments[1]))
    return jnp.tanh(apply_affine(y, sign * gain, offset)), places, norm.at_rest()

  def _split(self, x, kernel, norm, train):
    parts = self._parts(x)
    patches = jnp.concatenate([extract_patches(part, self.kernel[1:]) for part in parts], axis=-1)
    weights = jnp.concatenate([phase_weights(kernel)] * len(parts))
    gain, offset = norm.affine(patch_moments(patches, weights) if train else None)
    return pool_patches(patches, weights * gain, offset, 'tanh')

  def _parts(self, x):
    """What adds up to x: in bfloat16 x rounded and what rounding took from it, which says where pixels hardly differ which is brightest."""
    rounded = x.astype(self.dtype)
    return (
      [x]
      if rounded.dtype == x.dtype
      else [rounded, (x - rounded.astype(x.dtype)).astype(self.dtype)]
    )


class DeconvBlock(nn.Module):
  """Un-pooling, stride-1 deconvolution, batch normalisation, tanh: one row of the decoder of Fig. 2.

  Attributes: features: channels out. kernel: (kt, kh, kw). window: (pt, ph, pw) of the pool to undo, or None for none. bn_scale_init: as in `ConvBlock`.
  """

  features: int
  kernel: tuple
  window: tuple | None = None
  conv_algorithm: str = 'auto'
  dtype: Any = jnp.float32
  axis_name: str | None = None
  bn_scale_init: float = 1.0

  @nn.compact
  def __call__(self, x, train, places=None):
    """x [B, T, H, W, Cin], and with a window its places -> [B, T*pt, H*ph, W*pw, features]."""
    if self.window:
      x = max_unpool3d(x, places, self.window)
    kernel = self.param('kernel', torch_uniform, (*self.kernel, x.shape[-1], self.features)).astype(
      self.dtype
    )
    y = deconv3d(x.astype(self.dtype), kernel, conv_algorithm=self.conv_algorithm)
    gain, offset = Norm(self.features, self.axis_name, self.bn_scale_init, name='norm').affine(
      moments_of(y) if train else None
    )
    return jnp.tanh(apply_affine(y, gain, offset))
