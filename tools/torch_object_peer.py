"""The object programs of the variant `best` in PyTorch, for `benchmark --peer`.

  python -m a3dcae_jax.benchmark --modes=object_infer,object_train --batch=48 --pairs=3 \
    --peer=tools/torch_object_peer.py --peer_python=PYTHON

PYTHON is one that has torch, which needs nothing else of this project. The script prints one line
of JSON. Frames are resident, uint8; crops are cut out of them in the program.

The settings are PyTorch's fastest on 2 CPU cores; the flags try the others. Un-pooling at the upper
left of a window, followed by a deconvolution, is one transposed convolution of stride 2.
"""

import argparse
import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

WIDTHS = (16, 32, 64)
WINDOW = 8
FRAME_SHAPE = (240, 352)
SAMPLES = 2  # per bin and direction, as in RoIAlign
_LEARNING_RATE = 1e-3
_NOISE_STD = 0.005


class Encode(nn.Module):
  """Convolution, batch normalisation, tanh and pool."""

  def __init__(self, features_in: int, features: int, taps: int, pool: tuple[int, ...] | None):
    super().__init__()
    self.conv = nn.Conv3d(
      features_in, features, (taps, 3, 3), padding=(taps // 2, 1, 1), bias=False
    )
    self.norm = nn.BatchNorm3d(features)
    self.pool = pool

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Apply the layer."""
    x = torch.tanh(self.norm(self.conv(x)))
    return F.max_pool3d(x, self.pool) if self.pool else x


class Decode(nn.Module):
  """Un-pooling at the upper left, deconvolution, batch normalisation and tanh."""

  def __init__(self, features_in: int, features: int, stride: int):
    super().__init__()
    self.conv = nn.ConvTranspose3d(
      features_in, features, 3, stride, padding=1, output_padding=stride - 1, bias=False
    )
    self.norm = nn.BatchNorm3d(features)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Apply the layer."""
    return torch.tanh(self.norm(self.conv(x)))


class AutoEncoder(nn.Module):
  """The six layers of one stream."""

  def __init__(self) -> None:
    super().__init__()
    first, second, third = WIDTHS
    self.layers = nn.Sequential(
      Encode(1, first, 1, (1, 2, 2)),
      Encode(first, second, 3, (2, 2, 2)),
      Encode(second, third, 3, None),
      Decode(third, second, 1),
      Decode(second, first, 2),
      nn.ConvTranspose3d(
        first, 1, (1, 3, 3), (1, 2, 2), padding=(0, 1, 1), output_padding=(0, 1, 1)
      ),
    )

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Reconstruct [B, 1, T, S, S]."""
    return self.layers(x)


class Streams(nn.Module):
  """An auto-encoder for each channel."""

  def __init__(self) -> None:
    super().__init__()
    self.streams = nn.ModuleList([AutoEncoder(), AutoEncoder()])

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Reconstruct [B, 2, T, S, S]."""
    return torch.cat([net(x[:, i : i + 1]) for i, net in enumerate(self.streams)], 1)


def load(net: Streams, weights: Mapping[str, np.ndarray]) -> None:
  """Copy the weights of `evaluation.program.scoring_weights` into the network.

  Kernels there are [kt, kh, kw, Cin, Cout]. A transposed convolution of PyTorch has its kernel as
  [Cin, Cout, kt, kh, kw].
  """
  for index, stream in enumerate(net.streams, start=1):
    names = ('conv1', 'conv2', 'conv3', 'deconv1', 'deconv2')
    *blocks, last = stream.layers
    for name, block in zip(names, blocks, strict=True):
      kernel = weights[f'params/stream{index}/{name}/kernel']
      axes = (4, 3, 0, 1, 2) if name.startswith('conv') else (3, 4, 0, 1, 2)
      _copy(block.conv.weight, kernel.transpose(axes))
      _copy(block.norm.weight, weights[f'params/stream{index}/{name}/norm/scale'])
      _copy(block.norm.bias, weights[f'params/stream{index}/{name}/norm/bias'])
      _copy(block.norm.running_mean, weights[f'batch_stats/stream{index}/{name}/norm/mean'])
      _copy(block.norm.running_var, weights[f'batch_stats/stream{index}/{name}/norm/var'])
    _copy(last.weight, weights[f'params/stream{index}/deconv3_kernel'].transpose(3, 4, 0, 1, 2))
    _copy(last.bias, weights[f'params/stream{index}/deconv3_bias'])


def _copy(target: torch.Tensor, values: np.ndarray) -> None:
  with torch.no_grad():
    target.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def crops_by_grid(
  frames: torch.Tensor, rows: torch.Tensor, boxes: torch.Tensor, size: int
) -> torch.Tensor:
  """Cut boxes out of clips by `grid_sample`, as `ops.crops.crop_clips` does.

  Args:
    frames: uint8 [N, H, W].
    rows: int64 [B, T].
    boxes: float32 [B, 4].
    size: S.

  Returns:
    float32 [B, T, S, S] in [0, 1].
  """
  height, width = frames.shape[1:]
  clips = frames[rows].float()
  steps = (torch.arange(size * SAMPLES, device=frames.device) + 0.5) / (size * SAMPLES)
  x = boxes[:, :1] + steps * (boxes[:, 2:3] - boxes[:, :1])
  y = boxes[:, 1:2] + steps * (boxes[:, 3:4] - boxes[:, 1:2])
  x = 2 * x / width - 1
  y = 2 * y / height - 1
  shape = (len(boxes), size * SAMPLES, size * SAMPLES)
  grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1)
  sampled = F.grid_sample(clips, grid, padding_mode='border', align_corners=False)
  return F.avg_pool2d(sampled, SAMPLES) / 255


def crops_by_rows(
  frames: torch.Tensor, rows: torch.Tensor, boxes: torch.Tensor, size: int
) -> torch.Tensor:
  """Cut boxes out of clips by a gather of image rows and a product over columns.

  It computes what `crops_by_grid` does, without a copy of whole frames.
  """
  count, height, width = frames.shape
  batch, window = rows.shape
  y = _positions(boxes[:, 1:2], boxes[:, 3:4], size, height)
  x = _positions(boxes[:, 0:1], boxes[:, 2:3], size, width)
  pixels = torch.arange(width, device=frames.device)
  columns = (1 - (x[..., None] - pixels).abs()).clamp(min=0)
  columns = columns.view(batch, size, SAMPLES, width).mean(2)
  top = y.floor()
  share = (y - top)[:, None, :, None]
  top = top.long()[:, None]
  bottom = (top + 1).clamp(max=height - 1)
  image_rows = frames.view(count * height, width)
  first = rows[:, :, None] * height
  sampled = image_rows[first + top] * (1 - share) + image_rows[first + bottom] * share
  resized = sampled.view(batch, window * size, SAMPLES, width).mean(2)
  crops = torch.bmm(resized, columns.transpose(1, 2))
  return crops.view(batch, window, size, size) / 255


def _positions(low, high, size, length):
  steps = (torch.arange(size * SAMPLES, device=low.device) + 0.5) / (size * SAMPLES)
  return (low + steps * (high - low) - 0.5).clamp(0, length - 1)


CROPS = {'grid': crops_by_grid, 'rows': crops_by_rows}


def network_input(crops: torch.Tensor) -> torch.Tensor:
  """Return frames without their mean and frame differences, [B, 2, T, S, S]."""
  frames = crops - crops.mean((1, 2, 3), keepdim=True)
  inner = (crops[:, 2:] - crops[:, :-2]) / 2
  first = crops[:, 1:2] - crops[:, :1]
  last = crops[:, -1:] - crops[:, -2:-1]
  return torch.stack([frames, torch.cat([first, inner, last], 1)], 1)


def object_errors(net: nn.Module, real: torch.Tensor) -> torch.Tensor:
  """Return errors and energies of both streams over the two middle frames, [B, 4]."""
  middle = WINDOW // 2
  inside = slice(middle - 1, middle + 1)
  recon = net(real)
  errors = (recon[:, :, inside].float() - real[:, :, inside]).square().mean((2, 3, 4))
  energies = real[:, :, inside].square().mean((2, 3, 4))
  return torch.stack([errors, energies], 2).flatten(1)


def make_inputs(batch: int, device: str) -> tuple[torch.Tensor, ...]:
  """Return random frames, the frames of each clip, and boxes of people's sizes."""
  rng = np.random.default_rng(0)
  height, width = FRAME_SHAPE
  frames = rng.integers(0, 256, (256, height, width), np.uint8)
  rows = rng.integers(0, 256 - WINDOW, (batch, 1)) + np.arange(WINDOW)
  corner = rng.uniform(0, 1, (batch, 2)) * (width - 40, height - 60)
  boxes = np.concatenate([corner, corner + rng.uniform(20, 40, (batch, 2))], 1)
  boxes = boxes.astype(np.float32)
  return tuple(torch.from_numpy(array).to(device) for array in (frames, rows, boxes))


def make_step(options: argparse.Namespace, device: str) -> Callable[[], Any]:
  """Return the program that is timed, without arguments."""
  layout = torch.channels_last_3d if options.layout == 'ndhwc' else torch.contiguous_format
  net = Streams().to(device, memory_format=layout)
  frames, rows, boxes = make_inputs(options.batch, device)
  cut = CROPS[options.crops]
  amp = contextlib.nullcontext
  if options.dtype == 'bf16':
    amp = lambda: torch.autocast(device, torch.bfloat16)  # noqa: E731
  mode = None if options.compile == 'default' else options.compile
  compiled = torch.compile if options.compile else lambda function, **_: function

  def real_of(mirrored: torch.Tensor | None = None) -> torch.Tensor:
    crops = cut(frames, rows, boxes, options.size)
    if mirrored is not None:
      crops = torch.where(mirrored[:, None, None, None], crops.flip(3), crops)
    return network_input(crops).contiguous(memory_format=layout)

  if options.mode == 'object_infer':
    net.eval()

    def errors():
      return object_errors(net, real_of())

    run = compiled(errors, mode=mode)

    def infer():
      with torch.inference_mode(), amp():
        return run()

    return infer

  optimizer = torch.optim.RMSprop(
    net.parameters(), _LEARNING_RATE, foreach=True if options.foreach else None
  )
  mirrored = torch.arange(options.batch, device=device) % 2 == 0

  def loss_of():
    real = real_of(mirrored)
    recon = net(real + _NOISE_STD * torch.randn_like(real))
    return F.mse_loss(recon.float(), real)

  run = compiled(loss_of, mode=mode)

  def train():
    optimizer.zero_grad(set_to_none=True)
    with amp():
      loss = run()
    loss.backward()
    optimizer.step()
    return loss.detach()

  return train


def main() -> None:
  """Time one program and print its figures as one line of JSON."""
  options = _parser().parse_args()
  torch.manual_seed(0)
  torch.set_num_threads(options.threads)
  cuda = torch.cuda.is_available()
  torch.backends.cudnn.benchmark = True
  torch.set_float32_matmul_precision('highest' if options.dtype == 'f32' else 'high')
  step = make_step(options, 'cuda' if cuda else 'cpu')

  def timed():
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
    'frames_per_s': options.batch * WINDOW / median,
  }
  print(json.dumps(vars(options) | figures))


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser()
  parser.add_argument('--mode', choices=('object_infer', 'object_train'), default='object_infer')
  parser.add_argument('--preset', choices=('best',), default='best')
  parser.add_argument('--size', type=int, default=32, help='height and width of a crop')
  parser.add_argument('--batch', type=int, default=48)
  parser.add_argument('--reps', type=int, default=9)
  parser.add_argument('--warmup', type=int, default=3)
  parser.add_argument('--dtype', choices=('f32', 'tf32', 'bf16'), default='f32')
  parser.add_argument('--layout', choices=('ncdhw', 'ndhwc'), default='ndhwc')
  parser.add_argument('--compile', default='', help="'', default, reduce-overhead, max-autotune")
  parser.add_argument('--crops', choices=tuple(CROPS), default='rows')
  parser.add_argument('--foreach', type=int, default=0)
  parser.add_argument('--threads', type=int, default=os.cpu_count())
  return parser


if __name__ == '__main__':
  main()
