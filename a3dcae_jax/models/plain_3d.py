"""The plain 3D auto-encoder of MemAE (Gong et al. 2019), without its memory."""

import functools

import jax
from flax import linen as nn

from a3dcae_jax.models.strided import ComparedNetwork

_KERNEL = (3, 3, 3)
_STRIDES = ((1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2))
_leaky_relu = functools.partial(nn.leaky_relu, negative_slope=0.2)


class Plain3D(ComparedNetwork):
  """3D convolutions with strides instead of pools, 8 layers.

  Conv 3x3x3 with strides 1x2x2, 96, and 2x2x2, 128, 256, 256; back by deconvolutions of the same
  strides, 256, 128, 96, 1. Batch normalisation and leaky ReLU (slope 0.2) follow all but the last.

  Source: Gong et al., Memorizing normality to detect anomaly, ICCV 2019, arXiv:1904.02639, section
  4.2; the authors' AutoEncoderCov3D (github.com/donggong1/memae-anomaly-detection,
  models/ae_3dconv.py). Its convolutions have biases, which the normalisation that follows cancels;
  here they have none.
  """

  @nn.compact
  def __call__(self, clips: jax.Array, train: bool = False) -> jax.Array:
    """Reconstruct clips.

    The maps of the encoder are sown as conv1_map.. in the collection 'intermediates'.

    Args:
      clips: float32 [B, T, H, W, 1], zero-mean; T divisible by 8, H and W by 16.
      train: use batch statistics and update the running ones (collection 'batch_stats').

    Returns:
      float32 [B, T, H, W, 1].
    """
    inner = {'activation': _leaky_relu, 'normalised': True}
    x = clips
    for layer, (width, strides) in enumerate(zip(self.widths, _STRIDES, strict=True), start=1):
      x = self.block(f'conv{layer}', width, _KERNEL, strides=strides, **inner)(x, train)
      self.sow('intermediates', f'conv{layer}_map', x)

    for layer, width in enumerate(self.widths[-2::-1], start=1):
      block = self.block(
        f'deconv{layer}', width, _KERNEL, strides=_STRIDES[-layer], transposed=True, **inner
      )
      x = block(x, train)
    last = self.block(
      f'deconv{len(self.widths)}', 1, _KERNEL, strides=_STRIDES[0], transposed=True, activation=None
    )
    return self.output(last(x, train))
