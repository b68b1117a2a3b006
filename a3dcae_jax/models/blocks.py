"""Layers of the two networks: kernels as parameters, batch normalisation as PyTorch sets it."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from a3dcae_jax.ops.conv3d import conv3d, deconv3d
from a3dcae_jax.ops.outer import conv_phases, max_over_phases
from a3dcae_jax.ops.pooling import max_pool3d_argmax

# Uniform in +-1/sqrt(fan in): what PyTorch's convolutions and linear layers start from.
torch_uniform = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


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
  """Stride-1 deconvolution, batch normalisation, tanh: one row of the decoder of Fig. 2."""
  features: int
  kernel: tuple
  lowering: str = 'auto'
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x, train):
    """x [B, T, H, W, Cin] -> [B, T, H, W, features]."""
    kernel = self.param('kernel', torch_uniform, (*self.kernel, x.shape[-1], self.features)).astype(self.dtype)
    y = deconv3d(x.astype(self.dtype), kernel, lowering=self.lowering)
    return jnp.tanh(batch_norm('norm', train, self.dtype, self.axis_name)(y))
