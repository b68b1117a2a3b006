"""Conv-AE: the 2D convolutional auto-encoder of Hasan et al. (2016)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from a3dcae_jax.models.blocks import swap_frames_and_channels
from a3dcae_jax.models.strided import ComparedNetwork
from a3dcae_jax.ops.pooling import max_pool3d_argmax, max_unpool3d

_WINDOW = (1, 2, 2)
_STRIDES = (1, 4, 4)


class ConvAE(ComparedNetwork):
  """Frames stacked as channels, 2D convolutions and pools, 6 layers.

  Conv 11x11 stride 4, 512 - pool 2x2 - Conv 5x5, 256 - pool 2x2 - Conv 3x3, 128, and back:
  De-Conv 3x3, 256 - un-pool - De-Conv 5x5, 512 - un-pool - De-Conv 11x11 stride 4, T frames. Tanh
  follows all but the last; clips have a mean of zero and are small, so the last is linear, as in
  `AutoEncoder`. The local response normalisation of the authors' files is left out; the article
  does not have it.

  Attributes:
    unpooling: as in `AutoEncoder`.

  Source: Hasan et al., Learning temporal regularity in video sequences, CVPR 2016,
  arXiv:1604.04574, section 3.2. Un-pooling at recorded places and the widths of the decoder: the
  authors' train_conv3.prototxt (github.com/geekep/Temporal-RegularityDetector_CVPR_2016), which
  has half of the article's widths.
  """

  unpooling: str = 'recorded'

  @nn.compact
  def __call__(self, clips: jax.Array, train: bool = False) -> jax.Array:
    """Reconstruct clips.

    The pooled maps of the first two layers and the features are sown as conv1_map.. in the
    collection 'intermediates'.

    Args:
      clips: float32 [B, T, H, W, 1], zero-mean; H and W divisible by 16.
      train: without effect, since nothing is normalised.

    Returns:
      float32 [B, T, H, W, 1].
    """
    first, second, third = self.widths
    frames = clips.shape[1]
    x = swap_frames_and_channels(clips)
    x = self.block('conv1', first, (1, 11, 11), strides=_STRIDES)(x, train)
    x, outer_indices = self._pool(x, 'conv1')
    x = self.block('conv2', second, (1, 5, 5))(x, train)
    x, inner_indices = self._pool(x, 'conv2')
    x = self.block('conv3', third, (1, 3, 3))(x, train)
    self.sow('intermediates', 'conv3_map', x)

    x = self.block('deconv1', second, (1, 3, 3), transposed=True)(x, train)
    x = max_unpool3d(x, inner_indices, _WINDOW)
    x = self.block('deconv2', first, (1, 5, 5), transposed=True)(x, train)
    x = max_unpool3d(x, outer_indices, _WINDOW)
    last = self.block(
      'deconv3', frames, (1, 11, 11), strides=_STRIDES, transposed=True, activation=None
    )
    return swap_frames_and_channels(self.output(last(x, train)))

  def _pool(self, x: jax.Array, name: str) -> tuple[jax.Array, jax.Array]:
    """Return the pooled map and the pool indices at which it will be un-pooled."""
    values, pool_indices = max_pool3d_argmax(x, _WINDOW)
    self.sow('intermediates', f'{name}_map', values)
    if self.unpooling == 'fixed':
      pool_indices = jnp.zeros_like(pool_indices)
    return values, pool_indices
