"""Layers of the two networks: kernels as parameters, batch normalisation as PyTorch sets it."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from a3dcae_jax.ops.conv3d import conv3d, deconv3d
from a3dcae_jax.ops.outer import conv_phases, max_over_phases
from a3dcae_jax.ops.pooling import max_pool3d_argmax, max_unpool3d

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


def batch_norm(name, train, dtype, axis_name):
  """Batch normalisation with PyTorch's eps 1e-5 and momentum 0.1 (Flax counts the other way: 0.9), statistics over all replicas."""
  return nn.BatchNorm(
      use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=dtype, axis_name=axis_name if train else None, name=name)


class ConvBlock(nn.Module):
  """Convolution, batch normalisation, pooling, tanh: one row of the encoder of Fig. 2.

  Tanh rises everywhere, so pooling before it gives the same values at the same places as pooling after it, with 4 to
  8 times fewer tanh to compute.

  Attributes:
    features: channels out. kernel: (kt, kh, kw). window: (pt, ph, pw) or None for no pooling.
    split_phases: compute a one-channel convolution before a 1x2x2 pool by phases (`ops.outer`).
  """
  features: int
  kernel: tuple
  window: tuple | None
  split_phases: bool = False
  lowering: str = 'auto'
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x, train):
    """x [B, T, H, W, Cin] -> (values [B, T/pt, H/ph, W/pw, features], places of the same shape or None)."""
    kernel = self.param('kernel', torch_uniform, (*self.kernel, x.shape[-1], self.features)).astype(self.dtype)
    norm = batch_norm('norm', train, self.dtype, self.axis_name)
    x = x.astype(self.dtype)
    if self.split_phases:
      values, places = max_over_phases(norm(conv_phases(x, kernel)))
    elif self.window:
      values, places = max_pool3d_argmax(norm(conv3d(x, kernel, lowering=self.lowering)), self.window)
    else:
      values, places = norm(conv3d(x, kernel, lowering=self.lowering)), None
    return jnp.tanh(values), places


class DeconvBlock(nn.Module):
  """Un-pooling, stride-1 deconvolution, batch normalisation, tanh: one row of the decoder of Fig. 2.

  Attributes: features: channels out. kernel: (kt, kh, kw). window: (pt, ph, pw) of the pool to undo, or None for none.
  """
  features: int
  kernel: tuple
  window: tuple | None = None
  lowering: str = 'auto'
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x, train, places=None):
    """x [B, T, H, W, Cin], and with a window its places -> [B, T*pt, H*ph, W*pw, features]."""
    if self.window:
      x = max_unpool3d(x, places, self.window)
    kernel = self.param('kernel', torch_uniform, (*self.kernel, x.shape[-1], self.features)).astype(self.dtype)
    y = deconv3d(x.astype(self.dtype), kernel, lowering=self.lowering)
    return jnp.tanh(batch_norm('norm', train, self.dtype, self.axis_name)(y))
