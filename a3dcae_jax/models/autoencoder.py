"""The 3D convolutional auto-encoder of Fig. 2."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from a3dcae_jax.models.blocks import (
  FIRST_KERNEL,
  INNER_KERNEL,
  ConvBlock,
  DeconvBlock,
  rematerialised,
  swap_frames_and_channels,
  torch_uniform,
  unpooled_deconv,
)
from a3dcae_jax.ops.polyphase import deconv_unpooled

UNPOOLING = ('recorded', 'fixed')


def pool_windows(layers: int, pool_time: bool = True) -> tuple[tuple[int, int, int], ...]:
  """Return the pool after each encoder layer but the last, Fig. 2.

  It is 1x2x2 after Conv1 and 2x2x2 after the others.

  Args:
    layers: encoder layers, n.
    pool_time: False gives 1x2x2 after every layer (Table V, without 3D pooling).
  """
  inner = (2, 2, 2) if pool_time else (1, 2, 2)
  return ((1, 2, 2),) + (inner,) * (layers - 2)


class AutoEncoder(nn.Module):
  """R_theta: encoder Conv1..n with pools, decoder De-Conv1..n with un-pooling.

  n = 5 is the 10-layer network of the paper, n = 3 the 6-layer one.

  Attributes:
    widths: channels of Conv1..n. The decoder mirrors them.
    unpooling: 'recorded' un-pools at the recorded pool indices, 'fixed' at the upper left of each
      window (Table V, without recording).
    pool_time: False pools and un-pools within frames alone (Table V, without 3D pooling).
    stack_frames: the frames become the channels of one image, and all convolutions and pools are
      2D ones (Table V, without 3D convolution).
    polyphase: compute the first and last layer by `ops.polyphase`, and layers after un-pooling at
      the upper left by `ops.upsampled_deconv`. Both are exact. The first needs images of one
      channel, so it has no effect with `stack_frames`.
    conv_algorithm: see `ops.conv_algorithm`.
    dtype: data type of the computation; parameters and statistics are float32.
    axis_name: the mapped axis over which batch statistics are averaged in training, or None.
    output_gain: factor on the output of the last layer. If bn_scale_init * output_gain is about
      0.04, the standard deviation of a zero-mean pixel, the reconstruction starts at the size of
      the clips. RMSprop changes all weights by about the same amount; from this start its updates
      are not too large for the last layer.
    bn_scale_init: initial scale of batch normalisation. The few people in a frame hold nearly all
      of its energy. With 1, tanh is saturated there, so the network cannot represent their
      brightness; with 0.2 it is not. The scales are learnt either way.
    remat: 'none', or 'blocks' to keep only the input of each block and recompute the rest for the
      gradient; see `blocks.rematerialised`.
  """

  widths: tuple[int, ...]
  unpooling: str = 'recorded'
  pool_time: bool = True
  stack_frames: bool = False
  polyphase: bool = True
  conv_algorithm: str = 'auto'
  dtype: DTypeLike = jnp.float32
  axis_name: str | None = None
  output_gain: float = 1.0
  bn_scale_init: float = 1.0
  remat: str = 'none'

  @nn.compact
  def __call__(self, clips: jax.Array, train: bool = False) -> jax.Array:
    """Reconstruct clips.

    The pooled maps of Conv1.. are sown as conv1_map.. in the collection 'intermediates'.

    Args:
      clips: float32 [B, T, H, W, 1], zero-mean. H and W must be divisible by 2**(n-1). If
        pools reach over frames, T must be divisible by 2**(n-2).
      train: use batch statistics and update the running ones (collection 'batch_stats').

    Returns:
      float32 [B, T, H, W, 1].
    """
    if self.unpooling not in UNPOOLING:
      raise ValueError(f'unpooling must be one of {UNPOOLING}, got {self.unpooling!r}')
    if self.stack_frames:
      clips = swap_frames_and_channels(clips)
    features, pool_indices = self._encode(clips, train)
    recon = self._decode(features, pool_indices, train, channels=clips.shape[-1])
    return swap_frames_and_channels(recon) if self.stack_frames else recon

  def _windows(self) -> tuple[tuple[int, int, int], ...]:
    """Return the pools of this network."""
    return pool_windows(len(self.widths), self.pool_time and not self.stack_frames)

  def _inner_kernel(self) -> tuple[int, int, int]:
    """Return the size of the kernels of all but the first and the last layer."""
    return FIRST_KERNEL if self.stack_frames else INNER_KERNEL

  def _is_polyphase(self) -> bool:
    """Return whether the first and last layer are computed by `ops.polyphase`."""
    return self.polyphase and not self.stack_frames

  def _common(self) -> dict[str, Any]:
    """Return the attributes that all blocks share."""
    return {
      'conv_algorithm': self.conv_algorithm,
      'dtype': self.dtype,
      'axis_name': self.axis_name,
      'bn_scale_init': self.bn_scale_init,
    }

  def _encode(self, x: jax.Array, train: bool) -> tuple[jax.Array, list[jax.Array | None]]:
    """Return the features of the last layer, and pool indices for the decoder.

    The indices of the other layers are None for un-pooling at the upper left.
    """
    block_type = rematerialised(ConvBlock, self.remat)
    windows = self._windows()
    all_indices = []
    bias_activation = None
    for layer, width in enumerate(self.widths):
      first = layer == 0
      last = layer == len(windows)
      block = block_type(
        width,
        FIRST_KERNEL if first else self._inner_kernel(),
        None if last else windows[layer],
        polyphase=self._is_polyphase() and first,
        name=f'conv{layer + 1}',
        **self._common(),
      )
      x, pool_indices, bias_activation = block(x, train, bias_activation)
      self.sow('intermediates', f'conv{layer + 1}_map', x)
      if last:
        break
      all_indices.append(None if self.unpooling == 'fixed' else pool_indices)
    return x, all_indices

  def _decode(
    self, x: jax.Array, all_indices: list[jax.Array | None], train: bool, channels: int
  ) -> jax.Array:
    """Return the reconstruction from the features and pool indices of the encoder."""
    block_type = rematerialised(DeconvBlock, self.remat)
    layers = len(self.widths)
    windows = self._windows()
    for layer in range(layers - 2, -1, -1):
      # The last encoder layer has no pool, so the first decoder layer has no un-pooling.
      window = None
      pool_indices = None
      if layer < layers - 2:
        window = windows[layer + 1]
        pool_indices = all_indices[layer + 1]
      block = block_type(
        self.widths[layer],
        self._inner_kernel(),
        window,
        polyphase=self.polyphase,
        name=f'deconv{layers - 1 - layer}',
        **self._common(),
      )
      x = block(x, train, pool_indices)
    return self._last_layer(x, all_indices[0], channels)

  def _last_layer(self, x: jax.Array, pool_indices: jax.Array | None, channels: int) -> jax.Array:
    name = f'deconv{len(self.widths)}'
    shape = (*FIRST_KERNEL, x.shape[-1], channels)
    kernel = self.param(f'{name}_kernel', torch_uniform, shape)
    bias = self.param(f'{name}_bias', nn.initializers.zeros, (channels,))

    def layer(x, pool_indices, kernel):
      if self._is_polyphase():
        return deconv_unpooled(x, pool_indices, kernel)
      return unpooled_deconv(
        x,
        pool_indices,
        kernel.astype(self.dtype),
        self._windows()[0],
        polyphase=self.polyphase,
        conv_algorithm=self.conv_algorithm,
      )

    layer = rematerialised(layer, self.remat)
    recon = layer(x, pool_indices, kernel)
    recon = recon.astype(jnp.float32) + bias
    if self.output_gain == 1.0:
      return recon
    return recon * self.output_gain
