"""ConvLSTM-AE: the spatio-temporal auto-encoder of Chong and Tay (2017)."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from a3dcae_jax.models.blocks import rematerialised
from a3dcae_jax.models.strided import ComparedNetwork


class ConvLSTMAE(ComparedNetwork):
  """2D convolutions of each frame, three ConvLSTM layers over frames, and back.

  Conv 11x11 stride 4, 128 - Conv 5x5 stride 2, 64 - ConvLSTM 3x3, 64 - ConvLSTM 3x3, 32 -
  ConvLSTM 3x3, 64 - De-Conv 5x5 stride 2, 128 - De-Conv 11x11 stride 4, 1. Tanh follows the
  convolutions and the first deconvolution; the last is linear, as in `AutoEncoder`. The widths are
  those of both convolutions and of the middle LSTM layer.

  Source: Chong and Tay, Abnormal event detection in videos using spatiotemporal autoencoder, ISNN
  2017, arXiv:1701.01546, section 3.2. Compared with the Keras code of
  github.com/harshtikuu/Abnormal_Event_Detection (model.py: tanh, no normalisation, dropout in the
  LSTM, which is left out) and github.com/snehil/abnormal-spatiotemporal-ae (classifier.py: the
  same sizes at 224x224, with normalisation and ReLU). `nn.ConvLSTMCell` has no peepholes, like
  Keras's layer, and one bias more per gate.
  """

  @nn.compact
  def __call__(self, clips: jax.Array, train: bool = False) -> jax.Array:
    """Reconstruct clips.

    The maps of both convolutions and of the middle LSTM layer are sown as conv1_map.. in the
    collection 'intermediates'.

    Args:
      clips: float32 [B, T, H, W, 1], zero-mean; H and W divisible by 8.
      train: without effect, since nothing is normalised.

    Returns:
      float32 [B, T, H, W, 1].
    """
    first, second, middle = self.widths
    x = self.block('conv1', first, (1, 11, 11), strides=(1, 4, 4))(clips, train)
    self.sow('intermediates', 'conv1_map', x)
    x = self.block('conv2', second, (1, 5, 5), strides=(1, 2, 2))(x, train)
    self.sow('intermediates', 'conv2_map', x)
    # 'folded' is the form for ONNX, whose converter cannot trace Flax's loops.
    unrolled = self.conv_algorithm == 'folded'
    lstm = rematerialised(ConvLSTMLayer, self.remat)
    x = lstm(second, self.dtype, unrolled, name='lstm1')(x, train)
    x = lstm(middle, self.dtype, unrolled, name='lstm2')(x, train)
    self.sow('intermediates', 'lstm2_map', x)
    x = lstm(second, self.dtype, unrolled, name='lstm3')(x, train)
    x = self.block('deconv1', first, (1, 5, 5), strides=(1, 2, 2), transposed=True)(x, train)
    last = self.block(
      'deconv2', 1, (1, 11, 11), strides=(1, 4, 4), transposed=True, activation=None
    )
    return self.output(last(x, train))


class ConvLSTMLayer(nn.Module):
  """One convolutional LSTM layer over all frames of a clip, from a state of zeros.

  Attributes:
    features: output channels.
    dtype: data type of the computation and of the state.
    unrolled: compute frame after frame without a loop in the program.

  Source: Shi et al. 2015, arXiv:1506.04214.
  """

  features: int
  dtype: DTypeLike = jnp.float32
  unrolled: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    """Apply the layer to [B, T, H, W, C]; returns [B, T, H, W, features].

    Args:
      x: maps of all frames.
      train: without effect; all layers have it.
    """
    del train
    cell = nn.ConvLSTMCell(self.features, (3, 3), dtype=self.dtype, name='cell')
    batch, frames, height, width, _ = x.shape
    # The cell would start in float32, whatever the data type of the computation is.
    zeros = jnp.zeros((batch, height, width, self.features), self.dtype)
    state = (zeros, zeros)
    if not self.unrolled:
      return nn.RNN(cell, name='frames')(x, initial_carry=state)
    outputs = []
    for frame in range(frames):
      state, output = cell(state, x[:, frame])
      outputs.append(output)
    return jnp.stack(outputs, 1)
