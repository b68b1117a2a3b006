r"""Time each 3D convolution of the paper's networks on this machine's accelerator.

  python -m tools.conv_rates --json=FILE [--batch=32] \
    [--conv_algorithms=direct,folded,summed] [--torch]

The forward pass and both gradients are timed, with each algorithm of `ops.conv_algorithm`.
Convolutions that are followed by a pool are also timed as `ops.conv_pool` computes them: in
float32, and as it does on this platform, on GPUs in float16 with centring and padding. TFLOP/s
refer to the products of the direct method. --torch also times PyTorch's convolutions of the same
sizes, channels last, with cuDNN's best algorithm.
"""

import argparse
import functools
import json
import math
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from a3dcae_jax.common.tuning import tune_process


class Layer(NamedTuple):
  """A convolution of 3x3x3 taps.

  Attributes:
    name: name in Fig. 2, or 'narrow'.
    size: (T, H, W) of the maps.
    features_in: input channels.
    features_out: output channels.
    pooled: whether a pool comes next.
  """

  name: str
  size: tuple[int, int, int]
  features_in: int
  features_out: int
  pooled: bool = False


# All layers but the first and last one. De-Conv n has the sizes of Conv 6 - n with its channels
# swapped. XLA asks cuDNN for a deconvolution as the gradient of a convolution; 'narrow' is
# De-Conv 4 as a convolution.
LAYERS = (
  Layer('conv2', (16, 112, 112), 64, 128, pooled=True),
  Layer('deconv4', (16, 112, 112), 128, 64),
  Layer('narrow', (16, 112, 112), 128, 64),
  Layer('conv3', (8, 56, 56), 128, 256, pooled=True),
  Layer('deconv3', (8, 56, 56), 256, 128),
  Layer('conv4', (4, 28, 28), 256, 512, pooled=True),
  Layer('conv5', (2, 14, 14), 512, 512),
)


def seconds_of(run: Callable[[], Any], wait: Callable[[Any], Any], reps: int) -> float:
  """Return the mean seconds of a run, over `reps` runs dispatched in sequence."""
  wait(run())
  wait(run())
  start = time.perf_counter()
  for _ in range(reps):
    result = run()
  wait(result)
  return (time.perf_counter() - start) / reps


def jax_times(layer: Layer, conv_algorithm: str, batch: int, reps: int) -> dict[str, float]:
  """Time the forward pass and the gradients of input and kernel, in bfloat16."""
  import jax
  import jax.numpy as jnp

  from a3dcae_jax.ops.conv3d import conv3d, deconv3d

  convolve = deconv3d if layer.name.startswith('deconv') else conv3d
  forward = functools.partial(convolve, conv_algorithm=conv_algorithm)
  x, kernel, y = _jax_operands(layer, batch)

  # A convolution is linear in each operand, so the gradients do not need its own result.
  def input_gradient(y: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.vjp(lambda x: forward(x, kernel), jnp.zeros_like(x))[1](y)

  def kernel_gradient(y: jax.Array, x: jax.Array) -> jax.Array:
    return jax.vjp(lambda kernel: forward(x, kernel), jnp.zeros_like(kernel))[1](y)

  runs = {
    'forward': functools.partial(jax.jit(forward), x, kernel),
    'input': functools.partial(jax.jit(input_gradient), y, kernel),
    'kernel': functools.partial(jax.jit(kernel_gradient), y, x),
  }
  return {part: seconds_of(run, jax.block_until_ready, reps) for part, run in runs.items()}


def _jax_operands(layer: Layer, batch: int) -> tuple[Any, Any, Any]:
  """Return random (x, kernel, y) in bfloat16."""
  import jax
  import jax.numpy as jnp

  shapes = (
    (batch, *layer.size, layer.features_in),
    (3, 3, 3, layer.features_in, layer.features_out),
    (batch, *layer.size, layer.features_out),
  )
  keys = jax.random.split(jax.random.key(0), 3)
  operands = []
  for key, shape in zip(keys, shapes, strict=True):
    operands.append(jax.random.normal(key, shape, jnp.bfloat16))
  return tuple(operands)


def pooled_times(layer: Layer, batch: int, reps: int) -> dict[str, float]:
  """Time the convolution of `ops.conv_pool`, as it is computed here and in float32."""
  import jax
  import jax.numpy as jnp

  from a3dcae_jax.ops.conv3d import correlate, same_pads
  from a3dcae_jax.ops.conv_pool import precise_sums

  x, kernel, _ = _jax_operands(layer, batch)
  kernel = kernel.astype(jnp.float32)
  centre = jnp.full(layer.features_in, 0.5)

  def as_used(x: jax.Array, kernel: jax.Array) -> Any:
    return precise_sums(x, kernel, centre, 'auto')

  def in_float32(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return correlate(x, kernel.astype(x.dtype), same_pads(kernel), 'direct', jnp.float32)

  runs = {
    'as_used': functools.partial(jax.jit(as_used), x, kernel),
    'float32': functools.partial(jax.jit(in_float32), x, kernel),
  }
  return {part: seconds_of(run, jax.block_until_ready, reps) for part, run in runs.items()}


def torch_times(layer: Layer, batch: int, reps: int) -> dict[str, float]:
  """Time PyTorch's convolution and its gradients, in bfloat16 with channels last."""
  import torch

  torch.backends.cudnn.benchmark = True

  def draw(*shape: int) -> Any:
    array = torch.randn(*shape, device='cuda', dtype=torch.bfloat16)
    return array.contiguous(memory_format=torch.channels_last_3d)

  x = draw(batch, layer.features_in, *layer.size)
  kernel = draw(layer.features_out, layer.features_in, 3, 3, 3)
  y = draw(batch, layer.features_out, *layer.size)

  def gradient(of_input: bool, of_kernel: bool) -> Any:
    ones = (1, 1, 1)  # stride, padding and dilation
    wanted = (of_input, of_kernel, False)
    return torch.ops.aten.convolution_backward(
      y, x, kernel, None, ones, ones, ones, False, (0, 0, 0), 1, wanted
    )

  runs = {
    'forward': lambda: torch.conv3d(x, kernel, padding=1),
    'input': lambda: gradient(True, False),
    'kernel': lambda: gradient(False, True),
  }

  def wait(_: Any) -> None:
    torch.cuda.synchronize()

  return {part: seconds_of(run, wait, reps) for part, run in runs.items()}


def times_of(layer: Layer, algorithm: str, batch: int, reps: int) -> dict[str, float]:
  """Return the seconds of each part of a layer by an algorithm.

  Args:
    layer: the convolution.
    algorithm: one of `ops.conv_algorithm`, 'pooled' or 'torch'.
    batch: clips.
    reps: timed runs.
  """
  if algorithm == 'pooled':
    return pooled_times(layer, batch, reps)
  if algorithm == 'torch':
    return torch_times(layer, batch, reps)
  return jax_times(layer, algorithm, batch, reps)


def describe(layer: Layer, algorithm: str, batch: int, times: dict[str, float]) -> str:
  """Return the times of a layer as one line."""
  pixels = batch * math.prod(layer.size)
  products = 27 * layer.features_in * layer.features_out * pixels
  text = f'{layer.name:8s} {algorithm:7s}'
  for part, seconds in times.items():
    milliseconds = 1e3 * seconds
    rate = 2 * products / seconds / 1e12
    text += f' {part} {milliseconds:7.3f} ms {rate:4.0f} TFLOP/s'
  return text


def parse_flags(argv: list[str] | None = None) -> argparse.Namespace:
  """Parse the command line; None takes that of the process."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--json', type=pathlib.Path, required=True, help='file for the times')
  parser.add_argument('--batch', type=int, default=32, help='clips')
  parser.add_argument('--reps', type=int, default=10, help='timed runs of each convolution')
  parser.add_argument(
    '--conv_algorithms', default='direct,folded,summed', help='names, separated by commas'
  )
  parser.add_argument('--torch', action='store_true', help='time PyTorch too')
  return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
  """Time all layers."""
  arguments = parse_flags(argv)
  rows = []
  for layer in LAYERS:
    algorithms = arguments.conv_algorithms.split(',')
    if layer.pooled:
      algorithms.append('pooled')
    if arguments.torch:
      algorithms.append('torch')
    for algorithm in algorithms:
      try:
        times = times_of(layer, algorithm, arguments.batch, arguments.reps)
      except Exception as error:  # a failure is reported, and the others are measured
        message = str(error).splitlines()[0]
        print(f'{layer.name:8s} {algorithm:7s} {type(error).__name__}: {message}', flush=True)
        continue
      rows.append(
        {
          'layer': layer.name,
          'conv_algorithm': algorithm,
          'batch': arguments.batch,
          'seconds': times,
        }
      )
      print(describe(layer, algorithm, arguments.batch, times), flush=True)
      arguments.json.write_text(json.dumps({'rows': rows}, indent=1) + '\n')


if __name__ == '__main__':
  tune_process()
  main()
