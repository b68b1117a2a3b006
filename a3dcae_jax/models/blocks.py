"""Layers of the two networks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from a3dcae_jax.models.norm import Norm, apply_affine, moments_of
from a3dcae_jax.ops.conv3d import conv3d, deconv3d
from a3dcae_jax.ops.conv_pool import conv_pool3d
from a3dcae_jax.ops.polyphase import extract_patches, patch_moments, phase_weights, pool_patches
from a3dcae_jax.ops.pooling import max_unpool3d
from a3dcae_jax.ops.upsampled_deconv import deconv_upsampled

# Size (kt, kh, kw) of the kernels next to the images, Fig. 2: Conv1, the last deconvolution and the
# first convolution of the discriminator.
FIRST_KERNEL = (1, 3, 3)

# Size of all other kernels.
INNER_KERNEL = (3, 3, 3)

# Uniform in +-1/sqrt(fan in), as PyTorch initialises convolutions and linear layers.
torch_uniform = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')

REMAT = ('none', 'blocks')


def rematerialised(layer: Callable[..., Any], remat: str) -> Callable[..., Any]:
  """Return `layer`, or a form of it that is computed again for the gradient.

  The second form keeps only its inputs between the forward and the backward pass.

  Args:
    layer: a linen module whose call takes (x, train, ...), or a function of arrays.
    remat: 'none' for `layer` itself, 'blocks' for the second form.

  Raises:
    ValueError: for any other `remat`.

  Source: Chen et al. 2016, arXiv:1604.06174.
  """
  if remat not in REMAT:
    raise ValueError(f'remat must be one of {REMAT}, got {remat!r}')
  if remat == 'none':
    return layer
  if isinstance(layer, type):
    # Argument 0 is the module itself, argument 2 is `train`.
    return nn.remat(layer, static_argnums=(2,))
  return jax.checkpoint(layer)


def swap_frames_and_channels(x: jax.Array) -> jax.Array:
  """Stack the frames of clips as channels of one image, or undo it.

  2D convolutions of the stacked frames are 3D ones whose kernel has a single time tap.

  Args:
    x: [B, T, H, W, 1] or [B, 1, H, W, T].

  Returns:
    [B, 1, H, W, T] or [B, T, H, W, 1].
  """
  return x.swapaxes(1, 4)


class ConvBlock(nn.Module):
  """Encoder layer of Fig. 2: convolution, batch normalisation, pool, tanh.

  Tanh increases and the normalisation is affine, so the pool may come before both. This gives the
  same values at the same positions, and leaves 4 to 8 times fewer values to normalise. Where the
  scale of a channel is negative, the sign of its kernel is changed first.

  Attributes:
    features: output channels.
    kernel: size (kt, kh, kw).
    window: (pt, ph, pw) of the pool, or None for no pool.
    polyphase: compute a one-channel convolution before a 1x2x2 pool by `ops.polyphase`.
    conv_algorithm: see `ops.conv_algorithm`.
    dtype: data type of the computation.
    axis_name: the mapped axis over which batch statistics are averaged, or None.
    bn_scale_init: initial scale of the normalisation.
  """

  features: int
  kernel: tuple[int, int, int]
  window: tuple[int, int, int] | None
  polyphase: bool = False
  conv_algorithm: str = 'auto'
  dtype: DTypeLike = jnp.float32
  axis_name: str | None = None
  bn_scale_init: float = 1.0

  @nn.compact
  def __call__(
    self, x: jax.Array, train: bool, centre: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array | None, jax.Array]:
    """Apply the layer.

    Args:
      x: [B, T, H, W, Cin].
      train: use batch statistics and update the running ones.
      centre: tanh of the bias of the layer before, a value close to most of `x`; None for zero. See
        `ops.conv_pool`.

    Returns:
      Values [B, T/pt, H/ph, W/pw, features], pool indices of the same shape or None, and the bias
      activation [features].
    """
    shape = (*self.kernel, x.shape[-1], self.features)
    kernel = self.param('kernel', torch_uniform, shape)
    norm = Norm(
      self.features,
      self.axis_name,
      self.bn_scale_init,
      name='norm',
    )
    if self.polyphase:
      values, pool_indices = self._polyphase(x, kernel, norm, train)
      return values, pool_indices, norm.bias_activation()

    x = x.astype(self.dtype)
    sign = norm.sign()
    kernel = kernel * sign
    if self.window:
      y, pool_indices, moments = conv_pool3d(
        x,
        kernel,
        self.window,
        moments=train,
        centre=centre,
        conv_algorithm=self.conv_algorithm,
      )
    else:
      kernel = kernel.astype(self.dtype)
      y = conv3d(x, kernel, conv_algorithm=self.conv_algorithm)
      pool_indices = None
      moments = moments_of(y) if train else None

    if moments:
      # The kernel had its sign changed; these are the moments for the original kernel.
      mean, mean_square = moments
      moments = (sign * mean, mean_square)
    gain, offset = norm.affine(moments)
    values = jnp.tanh(apply_affine(y, sign * gain, offset))
    return values, pool_indices, norm.bias_activation()

  def _polyphase(
    self, x: jax.Array, kernel: jax.Array, norm: Norm, train: bool
  ) -> tuple[jax.Array, jax.Array]:
    """Return values and pool indices by the polyphase method."""
    parts = self._rounded_parts(x)
    patches = [extract_patches(part, self.kernel[1:]) for part in parts]
    patches = jnp.concatenate(patches, axis=-1)
    weights = [phase_weights(kernel)] * len(parts)
    weights = jnp.concatenate(weights)
    moments = patch_moments(patches, weights) if train else None
    gain, offset = norm.affine(moments)
    return pool_patches(patches, weights * gain, offset, 'tanh')

  def _rounded_parts(self, x: jax.Array) -> list[jax.Array]:
    """Return arrays of the layer's data type that add up to `x`.

    In bfloat16 these are the rounded `x` and the rounding error. Without the error, pixels that
    hardly differ become equal, and the pool cannot find the brightest.
    """
    rounded = x.astype(self.dtype)
    if rounded.dtype == x.dtype:
      return [x]
    error = x - rounded.astype(x.dtype)
    return [rounded, error.astype(self.dtype)]


class DeconvBlock(nn.Module):
  """Decoder layer of Fig. 2: un-pooling, deconvolution, normalisation, tanh.

  Attributes:
    features: output channels.
    kernel: size (kt, kh, kw).
    window: (pt, ph, pw) of the pool to undo, or None.
    polyphase: compute fixed un-pooling and the deconvolution in one (`ops.upsampled_deconv`).
    conv_algorithm: see `ops.conv_algorithm`.
    dtype: data type of the computation.
    axis_name: the mapped axis over which batch statistics are averaged, or None.
    bn_scale_init: initial scale of the normalisation.
  """

  features: int
  kernel: tuple[int, int, int]
  window: tuple[int, int, int] | None = None
  polyphase: bool = False
  conv_algorithm: str = 'auto'
  dtype: DTypeLike = jnp.float32
  axis_name: str | None = None
  bn_scale_init: float = 1.0

  @nn.compact
  def __call__(self, x: jax.Array, train: bool, pool_indices: jax.Array | None = None) -> jax.Array:
    """Apply the layer.

    Args:
      x: [B, T, H, W, Cin].
      train: use batch statistics and update the running ones.
      pool_indices: indices of the pool to undo, in the shape of `x`; only with a window. None
        un-pools at the upper left.

    Returns:
      [B, T*pt, H*ph, W*pw, features].
    """
    shape = (*self.kernel, x.shape[-1], self.features)
    kernel = self.param('kernel', torch_uniform, shape)
    y = unpooled_deconv(
      x.astype(self.dtype),
      pool_indices,
      kernel.astype(self.dtype),
      self.window,
      polyphase=self.polyphase,
      conv_algorithm=self.conv_algorithm,
    )
    norm = Norm(
      self.features,
      self.axis_name,
      self.bn_scale_init,
      name='norm',
    )
    moments = moments_of(y) if train else None
    gain, offset = norm.affine(moments)
    return jnp.tanh(apply_affine(y, gain, offset))


def unpooled_deconv(
  x: jax.Array,
  pool_indices: jax.Array | None,
  kernel: jax.Array,
  window: tuple[int, int, int] | None,
  *,
  polyphase: bool,
  conv_algorithm: str,
) -> jax.Array:
  """Un-pool and deconvolve.

  Args:
    x: [B, T, H, W, Cin].
    pool_indices: uint8 in the shape of `x`; None un-pools at the upper left.
    kernel: [kt, kh, kw, Cin, Cout], data type of `x`.
    window: (pt, ph, pw); None for no un-pooling.
    polyphase: compute un-pooling at the upper left by `ops.upsampled_deconv`.
    conv_algorithm: see `ops.conv_algorithm`.

  Returns:
    [B, T*pt, H*ph, W*pw, Cout].
  """
  if window and pool_indices is None and polyphase:
    return deconv_upsampled(x, kernel, window, conv_algorithm=conv_algorithm)
  if window:
    if pool_indices is None:
      pool_indices = jnp.zeros(x.shape, jnp.uint8)
    x = max_unpool3d(x, pool_indices, window)
  return deconv3d(x, kernel, conv_algorithm=conv_algorithm)
