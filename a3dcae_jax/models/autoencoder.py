"""The 3D convolutional auto-encoder of Fig. 2: un-pooling at the recorded places of the maxima."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from a3dcae_jax.models.blocks import ConvBlock, DeconvBlock, rematerialised, torch_uniform
from a3dcae_jax.ops.conv3d import deconv3d
from a3dcae_jax.ops.polyphase import deconv_unpooled
from a3dcae_jax.ops.pooling import max_unpool3d

UNPOOLING = ('recorded', 'fixed')
FIRST_KERNEL = (1, 3, 3)  # Conv1 and the last deconvolution, Fig. 2


def pool_windows(layers):
  """The pool after each encoder layer but the last: 1x2x2 after Conv1, 2x2x2 after the others (Fig. 2)."""
  return ((1, 2, 2),) + ((2, 2, 2),) * (layers - 2)


def size_multiples(layers):
  """(frames, pixels) that the window length and the image size must be multiples of, for an encoder of `layers` layers."""
  return 2 ** (layers - 2), 2 ** (layers - 1)


class AutoEncoder(nn.Module):
  """R_theta: encoder Conv1..n with pools, decoder De-Conv1..n with un-pooling (n = 5 is the 10-layer model, n = 3 the 6-layer one).

  Attributes:
    widths: channels of Conv1..n. The decoder mirrors them.
    first_kernel: (kt, kh, kw) of Conv1 and of the last deconvolution: 1x3x3 in Fig. 2.
    places: 'recorded' un-pools at the maxima's places, 'fixed' at the upper left of each window (Table V, w/o recording).
    polyphase: compute the two outer layers by phases (exact, see `ops.outer`); needs one time tap in `first_kernel`.
    conv_algorithm: see `ops.conv_algorithm`. dtype: of the computation; parameters and statistics are float32.
    axis_name: the mapped axis over which batch statistics are averaged in training, or None.
    output_gain: what the last layer's output is multiplied by. Where bn_scale_init times it is about a zero-mean pixel's standard deviation (0.04), the
      network starts at the size of what it is to reconstruct, and steps of one size for all weights, as RMSprop's are, are not too long for that layer.
    bn_scale_init: what the scales of batch normalisation start from. At 1 nearly all of a frame's energy, the few people in it, lies where tanh saturates, and
      the network cannot say how bright they are; at 0.2 tanh still rises there. The scales are learnt as before.
    remat: 'none', or 'blocks': keep only what goes into each block and compute the rest again on the way back; see `blocks`.
  """

  widths: tuple
  unpooling: str = 'recorded'
  polyphase: bool = True
  conv_algorithm: str = 'auto'
  dtype: Any = jnp.float32
  axis_name: str | None = None
  output_gain: float = 1.0
  bn_scale_init: float = 1.0
  remat: str = 'none'

  @nn.compact
  def __call__(self, clips, train=False):
    """Reconstructs clips: [B, T, H, W, 1] float32, zero-mean -> [B, T, H, W, 1] float32.

    T must be divisible by 2**(n-2), H and W by 2**(n-1). With `train`, batch statistics are used and the running ones
    (collection 'batch_stats') updated. The pooled maps of Conv1.. are sown as conv1_map.. in 'intermediates'.
    """
    if self.unpooling not in UNPOOLING:
      raise ValueError(f'unpooling must be one of {UNPOOLING}, got {self.unpooling!r}')
    features, places = self._encode(clips, train)
    return self._decode(features, places, train)

  def _common(self):
    return {
      'conv_algorithm': self.conv_algorithm,
      'dtype': self.dtype,
      'axis_name': self.axis_name,
      'bn_scale_init': self.bn_scale_init,
    }

  def _encode(self, x, train):
    all_places, at_rest = [], None
    for layer, (width, window) in enumerate(
      zip(self.widths, (*pool_windows(len(self.widths)), None), strict=True)
    ):
      kernel = FIRST_KERNEL if layer == 0 else (3, 3, 3)
      block = rematerialised(ConvBlock, self.remat)(
        width,
        kernel,
        window,
        polyphase=self.polyphase and layer == 0,
        name=f'conv{layer + 1}',
        **self._common(),
      )
      x, places, at_rest = block(x, train, at_rest)
      self.sow('intermediates', f'conv{layer + 1}_map', x)
      all_places.append(
        jnp.zeros_like(places) if self.unpooling == 'fixed' and places is not None else places
      )
    return x, all_places[:-1]

  def _decode(self, x, all_places, train):
    layers = len(self.widths)
    windows = pool_windows(layers)
    for layer in range(layers - 2, -1, -1):
      unpooled = layer < layers - 2  # nothing was pooled after the encoder's last layer
      block = rematerialised(DeconvBlock, self.remat)(
        self.widths[layer],
        (3, 3, 3),
        windows[layer + 1] if unpooled else None,
        name=f'deconv{layers - 1 - layer}',
        **self._common(),
      )
      x = block(x, train, all_places[layer + 1] if unpooled else None)
    return self._last(x, all_places[0], windows[0])

  def _last(self, x, places, window):
    kernel = self.param(
      f'deconv{len(self.widths)}_kernel', torch_uniform, (*FIRST_KERNEL, x.shape[-1], 1)
    )
    bias = self.param(f'deconv{len(self.widths)}_bias', nn.initializers.zeros, (1,))

    def layer(x, places, kernel):
      if self.polyphase:
        return deconv_unpooled(x, places, kernel)
      return deconv3d(
        max_unpool3d(x, places, window),
        kernel.astype(self.dtype),
        conv_algorithm=self.conv_algorithm,
      )

    recon = rematerialised(layer, self.remat)(x, places, kernel).astype(jnp.float32) + bias
    return recon if self.output_gain == 1.0 else recon * self.output_gain
