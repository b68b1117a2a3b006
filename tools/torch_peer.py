"""Our network and the compared ones in PyTorch, for `--peer` of two commands.

  python -m a3dcae_jax.benchmark --preset=small,small_conv_ae,small_convlstm_ae,small_plain_3d \
    --batch=4 --peer=tools/torch_peer.py --peer_python=PYTHON
  python -m a3dcae_jax.experiments --table=VII --config=configs/ucsd_ped2.py:small \
    --peer=tools/torch_peer.py --peer_python=PYTHON

PYTHON is one that has torch, which needs nothing else of this project. The script measures one
setting and prints one line of JSON. Clips are resident, uint8; the mean image is subtracted in the
program.

The default layout is the faster one on 2 CPU cores; the flags try the others. A deconvolution of
stride 1 is a convolution whose kernel is turned around.
"""

import argparse
import collections
import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

Size = tuple[int, ...]
_LEARNING_RATE = 2e-4
_NOISE_STD = 0.005
_ADVERSARIAL_WEIGHT = 1e-5


def _layer(
  features_in: int, features: int, kernel: Size, strides: Size = (), *, bias: bool = True
) -> nn.Module:
  """Return a convolution that divides the size of a map by its strides."""
  strides = strides or (1,) * len(kernel)
  pads = _pads(kernel, strides)
  layer = nn.Conv2d if len(kernel) == 2 else nn.Conv3d
  return layer(features_in, features, kernel, strides, pads, bias=bias)


def _transposed(
  features_in: int, features: int, kernel: Size, strides: Size, *, bias: bool = True
) -> nn.Module:
  """Return a deconvolution that multiplies the size of a map by its strides."""
  pads = _pads(kernel, strides)
  rest = tuple(
    stride - size + 2 * pad for size, stride, pad in zip(kernel, strides, pads, strict=True)
  )
  layer = nn.ConvTranspose2d if len(kernel) == 2 else nn.ConvTranspose3d
  return layer(features_in, features, kernel, strides, pads, rest, bias=bias)


def _pads(kernel: Size, strides: Size) -> Size:
  return tuple(math.ceil((size - stride) / 2) for size, stride in zip(kernel, strides, strict=True))


class Block(nn.Sequential):
  """Convolution or deconvolution, normalisation of 3D maps, activation."""

  def __init__(self, layer: nn.Module, activation: nn.Module, *, normalised: bool = False):
    parts = {'layer': layer}
    if normalised:
      parts['norm'] = nn.BatchNorm3d(layer.out_channels)
    parts['activation'] = activation
    super().__init__(collections.OrderedDict(parts))


class Network(nn.Module):
  """Layers with the names that they have in our networks.

  Attributes:
    layout: the memory format with channels last.
  """

  layout = torch.channels_last_3d

  def layer(self, name: str) -> nn.Module:
    """Return a layer by its name."""
    return getattr(self, name)


class A3DCAE(Network):
  """The network of Fig. 2: `models.autoencoder`."""

  def __init__(self, widths: Size, window: int):
    super().__init__()
    del window
    self.depth = len(widths)
    self.pools = ((1, 2, 2), *((2, 2, 2),) * (self.depth - 2))
    for index, (before, width) in enumerate(zip((1, *widths), widths, strict=False)):
      kernel = (3 if index else 1, 3, 3)
      self.add_module(f'conv{index + 1}', self._block(before, width, kernel))
    outwards = widths[::-1]
    for index, (before, width) in enumerate(zip(outwards, outwards[1:], strict=False)):
      self.add_module(f'deconv{index + 1}', self._block(before, width, (3, 3, 3)))
    self.add_module(f'deconv{self.depth}', _layer(widths[0], 1, (1, 3, 3)))

  @staticmethod
  def _block(features_in: int, features: int, kernel: Size) -> Block:
    layer = _layer(features_in, features, kernel, bias=False)
    return Block(layer, nn.Tanh(), normalised=True)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Reconstruct [B, 1, T, H, W]."""
    places = []
    for index, pool in enumerate(self.pools):
      x = self.layer(f'conv{index + 1}')(x)
      x, indices = F.max_pool3d(x, pool, pool, return_indices=True)
      places.append(indices)
    x = self.layer(f'conv{self.depth}')(x)
    for index in range(self.depth - 1):
      x = self.layer(f'deconv{index + 1}')(x)
      x = F.max_unpool3d(x, places.pop(), self.pools[-1 - index], self.pools[-1 - index])
    return self.layer(f'deconv{self.depth}')(x)


class ConvAE(Network):
  """The network of Hasan et al. (2016): `models.conv_ae`."""

  layout = torch.channels_last

  def __init__(self, widths: Size, window: int):
    super().__init__()
    first, second, third = widths
    self.conv1 = Block(_layer(window, first, (11, 11), (4, 4)), nn.Tanh())
    self.conv2 = Block(_layer(first, second, (5, 5)), nn.Tanh())
    self.conv3 = Block(_layer(second, third, (3, 3)), nn.Tanh())
    self.deconv1 = Block(_layer(third, second, (3, 3)), nn.Tanh())
    self.deconv2 = Block(_layer(second, first, (5, 5)), nn.Tanh())
    self.deconv3 = Block(_transposed(first, window, (11, 11), (4, 4)), nn.Identity())

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Reconstruct [B, 1, T, H, W]."""
    x, outer = F.max_pool2d(self.conv1(x[:, 0]), 2, return_indices=True)
    x, inner = F.max_pool2d(self.conv2(x), 2, return_indices=True)
    x = self.deconv1(self.conv3(x))
    x = self.deconv2(F.max_unpool2d(x, inner, 2))
    x = self.deconv3(F.max_unpool2d(x, outer, 2))
    return x[:, None]


class ConvLSTM(nn.Module):
  """A convolutional LSTM layer; one convolution sees the inputs of all frames."""

  def __init__(self, features_in: int, features: int):
    super().__init__()
    self.ih = _layer(features_in, 4 * features, (3, 3))
    self.hh = _layer(features, 4 * features, (3, 3), bias=False)

  def forward(self, x: torch.Tensor, window: int) -> torch.Tensor:
    """Apply the layer to [T B, C, H, W], frame by frame, from a state of zeros."""
    outputs = []
    cell = None
    for gates in self.ih(x).chunk(window):
      if outputs:
        gates = gates + self.hh(outputs[-1])
      enter, new, keep, leave = gates.chunk(4, 1)
      entered = torch.sigmoid(enter) * torch.tanh(new)
      cell = entered if cell is None else torch.sigmoid(keep) * cell + entered
      outputs.append(torch.sigmoid(leave) * torch.tanh(cell))
    return torch.cat(outputs)


class ConvLSTMAE(Network):
  """The network of Chong and Tay (2017): `models.convlstm_ae`."""

  layout = torch.channels_last

  def __init__(self, widths: Size, window: int):
    super().__init__()
    del window
    first, second, middle = widths
    self.conv1 = Block(_layer(1, first, (11, 11), (4, 4)), nn.Tanh())
    self.conv2 = Block(_layer(first, second, (5, 5), (2, 2)), nn.Tanh())
    self.lstm1 = ConvLSTM(second, second)
    self.lstm2 = ConvLSTM(second, middle)
    self.lstm3 = ConvLSTM(middle, second)
    self.deconv1 = Block(_transposed(second, first, (5, 5), (2, 2)), nn.Tanh())
    self.deconv2 = Block(_transposed(first, 1, (11, 11), (4, 4)), nn.Identity())

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Reconstruct [B, 1, T, H, W]."""
    batch, _, window = x.shape[:3]
    x = x.permute(2, 0, 1, 3, 4).flatten(0, 1)
    x = self.conv2(self.conv1(x))
    for lstm in (self.lstm1, self.lstm2, self.lstm3):
      x = lstm(x, window)
    x = self.deconv2(self.deconv1(x))
    return x.unflatten(0, (window, batch)).permute(1, 2, 0, 3, 4)


class Plain3D(Network):
  """The auto-encoder of MemAE without its memory: `models.plain_3d`."""

  def __init__(self, widths: Size, window: int):
    super().__init__()
    del window
    strides = ((1, 2, 2), *((2, 2, 2),) * (len(widths) - 1))
    kernel = (3, 3, 3)
    self.names = []
    for index, (before, width) in enumerate(zip((1, *widths), widths, strict=False)):
      layer = _layer(before, width, kernel, strides[index], bias=False)
      self._add(f'conv{index + 1}', Block(layer, nn.LeakyReLU(0.2), normalised=True))
    outwards = widths[::-1]
    for index, (before, width) in enumerate(zip(outwards, outwards[1:], strict=False)):
      layer = _transposed(before, width, kernel, strides[-1 - index], bias=False)
      self._add(f'deconv{index + 1}', Block(layer, nn.LeakyReLU(0.2), normalised=True))
    last = _transposed(widths[0], 1, kernel, strides[0])
    self._add(f'deconv{len(widths)}', Block(last, nn.Identity()))

  def _add(self, name: str, block: Block) -> None:
    self.add_module(name, block)
    self.names.append(name)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Reconstruct [B, 1, T, H, W]."""
    for name in self.names:
      x = self.layer(name)(x)
    return x


class Discriminator(nn.Module):
  """The discriminator of Fig. 2: `models.discriminator`."""

  def __init__(self, widths: Size, units: int, clip_shape: Size):
    super().__init__()
    first, second, third = widths
    window, height, width = clip_shape
    self.convs = nn.ModuleList(
      [
        _layer(1, first, (1, 3, 3)),
        _layer(first, second, (3, 3, 3)),
        _layer(second, third, (3, 3, 3)),
      ]
    )
    self.fc4 = nn.Linear(third * (window // 4) * (height // 8) * (width // 8), units)
    self.fc5 = nn.Linear(units, 1)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Return the logits [B] of clips [B, 1, T, H, W]."""
    for conv, pool in zip(self.convs, ((1, 2, 2), (2, 2, 2), (2, 2, 2)), strict=True):
      x = F.max_pool3d(F.relu(conv(x)), pool)
    return self.fc5(F.relu(self.fc4(x.flatten(1))))[:, 0]


NETWORKS: dict[str, type[Network]] = {
  'a3dcae': A3DCAE,
  'conv_ae': ConvAE,
  'convlstm_ae': ConvLSTMAE,
  'plain_3d': Plain3D,
}


class Preset(NamedTuple):
  """Sizes as in `config.presets`, whose fields these are."""

  kind: str
  widths: Size
  size_px: int
  window: int = 16
  discriminator: Size = ()


PRESETS = {
  'paper': Preset('a3dcae', (64, 128, 256, 512, 512), 224, discriminator=(64, 128, 256, 256)),
  'paper6': Preset('a3dcae', (64, 128, 256), 224, discriminator=(64, 128, 256, 256)),
  'small': Preset('a3dcae', (16, 32, 64, 128, 128), 112, discriminator=(16, 32, 64, 64)),
  'small6': Preset('a3dcae', (16, 32, 64), 112, discriminator=(16, 32, 64, 64)),
  'tiny': Preset('a3dcae', (4, 4, 6, 6, 8), 32, discriminator=(2, 2, 4, 4)),
  'conv_ae': Preset('conv_ae', (512, 256, 128), 224, 10),
  'convlstm_ae': Preset('convlstm_ae', (128, 64, 32), 224, 10),
  'plain_3d': Preset('plain_3d', (96, 128, 256, 256), 224),
  'small_conv_ae': Preset('conv_ae', (128, 64, 32), 112, 10),
  'small_convlstm_ae': Preset('convlstm_ae', (32, 16, 8), 112, 10),
  'small_plain_3d': Preset('plain_3d', (24, 32, 64, 64), 112),
}


def load(net: Network, weights: Mapping[str, np.ndarray]) -> None:
  """Copy the weights of `evaluation.program.scoring_weights` into a network.

  Kernels there are [kt, kh, kw, Cin, Cout], with kt = 1 in 2D, or [kh, kw, Cin, Cout] in an LSTM.
  """
  for name, layer in net.named_children():
    path = f'params/{name}'
    flipped = name.startswith('deconv')
    if isinstance(layer, ConvLSTM):
      _load_lstm(layer, path, weights)
    elif isinstance(layer, Block):
      _copy(layer.layer.weight, _kernel(layer.layer, weights[f'{path}/kernel'], flipped))
      if hasattr(layer, 'norm'):
        _copy(layer.norm.weight, weights[f'{path}/norm/scale'])
        _copy(layer.norm.bias, weights[f'{path}/norm/bias'])
        _copy(layer.norm.running_mean, weights[f'batch_stats/{name}/norm/mean'])
        _copy(layer.norm.running_var, weights[f'batch_stats/{name}/norm/var'])
      else:
        _copy(layer.layer.bias, weights[f'{path}/bias'])
    else:
      _copy(layer.weight, _kernel(layer, weights[f'{path}_kernel'], flipped))
      _copy(layer.bias, weights[f'{path}_bias'])


def _load_lstm(layer: ConvLSTM, path: str, weights: Mapping[str, np.ndarray]) -> None:
  """Copy both kernels, and one bias for the two of Flax.

  Flax adds 1 to the gate that keeps the state, which is in the bias here.
  """
  for name in ('ih', 'hh'):
    part = getattr(layer, name)
    _copy(part.weight, _kernel(part, weights[f'{path}/cell/{name}/kernel'], False))
  bias = np.array(weights[f'{path}/cell/ih/bias'] + weights[f'{path}/cell/hh/bias'])
  bias.reshape(4, -1)[2] += 1
  _copy(layer.ih.bias, bias)


def _kernel(layer: nn.Module, kernel: np.ndarray, flipped: bool) -> np.ndarray:
  """Return a kernel as a layer has it.

  Args:
    layer: the layer.
    kernel: [..., Cin, Cout].
    flipped: turned around if the layer is a convolution.
  """
  taps = len(layer.kernel_size)
  kernel = kernel.reshape(*layer.kernel_size, *kernel.shape[-2:])
  if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d):
    return kernel.transpose(taps, taps + 1, *range(taps))
  if flipped:
    kernel = np.flip(kernel, tuple(range(taps)))
  return kernel.transpose(taps + 1, taps, *range(taps))


def _copy(target: torch.Tensor, values: np.ndarray) -> None:
  with torch.no_grad():
    target.copy_(torch.from_numpy(np.array(values)))


class Inputs(NamedTuple):
  """Clips uint8 [B, 1, T, H, W] and the mean image [H, W]."""

  clips: torch.Tensor
  mean_image: torch.Tensor

  @classmethod
  def random(cls, batch: int, clip_shape: Size, device: str) -> 'Inputs':
    """Return random clips and a grey mean image."""
    clips = torch.randint(0, 256, (batch, 1, *clip_shape), dtype=torch.uint8)
    return cls(clips.to(device), torch.full(clip_shape[1:], 0.5, device=device))

  def real(self) -> torch.Tensor:
    """Return the input of the network, float32 [B, 1, T, H, W]."""
    return self.clips.float() / 255 - self.mean_image


def make_scoring(net: Network, inputs: Inputs, run: Callable, amp: Callable) -> Callable[[], Any]:
  """Return the program that scores clips: the error of each frame, [B, T] (Eq. 13)."""
  net.eval()

  def errors() -> torch.Tensor:
    real = inputs.real()
    return (net(real).float() - real).square().mean((1, 3, 4))

  errors = run(errors)

  def score() -> torch.Tensor:
    with torch.inference_mode(), amp():
      return errors()

  return score


def make_update(
  net: Network, judge: Discriminator | None, inputs: Inputs, run: Callable, amp: Callable
) -> Callable[[], Any]:
  """Return one update; adversarial with a discriminator."""
  foreach = inputs.clips.is_cuda or None
  optimizer = torch.optim.RMSprop(net.parameters(), _LEARNING_RATE, foreach=foreach)
  reconstruct = run(net)
  if judge:
    judging = torch.optim.RMSprop(judge.parameters(), _LEARNING_RATE, foreach=foreach)
    logits = run(judge)

  def update() -> torch.Tensor:
    optimizer.zero_grad(set_to_none=True)
    real = inputs.real()
    with amp():
      recon = reconstruct(real + _NOISE_STD * torch.randn_like(real))
      loss = F.mse_loss(recon.float(), real)
      if judge:
        loss = loss + _ADVERSARIAL_WEIGHT * F.softplus(-logits(recon).float()).mean()
    loss.backward()
    if judge:
      judging.zero_grad(set_to_none=True)
      with amp():
        of_real = F.softplus(-logits(real).float()).mean()
        judged = of_real + F.softplus(logits(recon.detach()).float()).mean()
      judged.backward()
      judging.step()
    optimizer.step()
    return loss.detach()

  return update


def make_step(options: argparse.Namespace, device: str) -> Callable[[], Any]:
  """Return the program that is timed, without arguments."""
  preset = PRESETS[options.preset]
  network = NETWORKS[preset.kind]
  clip_shape = (options.window, *options.size)
  layout = network.layout if options.layout == 'ndhwc' else torch.contiguous_format
  net = network(options.widths, options.window).to(device, memory_format=layout)
  inputs = Inputs.random(options.batch, clip_shape, device)
  amp = contextlib.nullcontext
  if options.dtype == 'bf16':
    amp = lambda: torch.autocast(device, torch.bfloat16)  # noqa: E731
  mode = None if options.compile == 'default' else options.compile
  run = (lambda part: torch.compile(part, mode=mode)) if options.compile else lambda part: part
  if options.mode == 'infer':
    return make_scoring(net, inputs, run, amp)
  judge = None
  if preset.discriminator:
    *widths, units = preset.discriminator
    judge = Discriminator(tuple(widths), units, clip_shape).to(device, memory_format=layout)
  return make_update(net, judge, inputs, run, amp)


def main(arguments: Sequence[str] | None = None) -> None:
  """Time one program and print its figures as one line of JSON."""
  options = _options(arguments)
  torch.manual_seed(0)
  torch.set_num_threads(options.threads)
  cuda = torch.cuda.is_available()
  torch.backends.cudnn.benchmark = True
  torch.set_float32_matmul_precision('highest' if options.dtype == 'f32' else 'high')
  torch.backends.cudnn.allow_tf32 = options.dtype != 'f32'
  step = make_step(options, 'cuda' if cuda else 'cpu')

  def timed() -> float:
    start = time.perf_counter()
    step()
    if cuda:
      torch.cuda.synchronize()
    return time.perf_counter() - start

  first = timed()
  for _ in range(options.warmup):
    timed()
  times = sorted(timed() for _ in range(options.reps))
  median = times[len(times) // 2]
  figures = {
    'torch': torch.__version__,
    'device': torch.cuda.get_device_name() if cuda else 'cpu',
    'first_step_s': first,
    'median_s': median,
    'min_s': times[0],
    'max_s': times[-1],
    'clips_per_s': options.batch / median,
    'frames_per_s': options.batch * options.window / median,
    'peak_gib': torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
  }
  print(json.dumps(vars(options) | figures))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser()
  parser.add_argument('--mode', choices=('infer', 'train'), default='infer')
  parser.add_argument('--preset', choices=tuple(PRESETS), default='small')
  parser.add_argument('--widths', type=_numbers, help="as in 16,32,64; by default the preset's")
  parser.add_argument('--window', type=int, help="frames per clip; by default the preset's")
  parser.add_argument('--size', type=_size, help="N or HxW pixels; by default the preset's")
  parser.add_argument('--batch', type=int, default=4)
  parser.add_argument('--reps', type=int, default=9)
  parser.add_argument('--warmup', type=int, default=3)
  parser.add_argument('--dtype', choices=('f32', 'tf32', 'bf16'), default='f32')
  parser.add_argument('--layout', choices=('ncdhw', 'ndhwc'), default='ndhwc')
  parser.add_argument('--compile', default='', help="'', default, reduce-overhead, max-autotune")
  parser.add_argument('--threads', type=int, default=os.cpu_count())
  options = parser.parse_args(arguments)
  preset = PRESETS[options.preset]
  options.widths = options.widths or preset.widths
  options.window = options.window or preset.window
  options.size = options.size or (preset.size_px, preset.size_px)
  return options


def _numbers(text: str) -> Size:
  return tuple(int(number) for number in text.split(','))


def _size(text: str) -> Size:
  sizes = tuple(int(number) for number in text.split('x'))
  return sizes if len(sizes) == 2 else sizes * 2


if __name__ == '__main__':
  main()
