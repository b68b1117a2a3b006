"""Times every 3D convolution of the paper's networks on this machine's accelerator, forward and both gradients, in each conv_algorithm: which is best?

  python tools/conv_rates.py --json=FILE [--batch=32] [--conv_algorithms=direct,folded,summed] [--torch]

Of those that a pool follows also as `ops.conv_pool` computes them: to float32, and as this platform does it (on GPUs to float16, about rest; with the padding
that takes). TFLOP/s are of the direct method's products. --torch times PyTorch's convolution (channels last, cuDNN's best algorithm) of the same sizes too.
"""

import argparse
import json
import pathlib
import time

from a3dcae_jax.common.tuning import tune_process

# name, (T, H, W), Cin, Cout of the convolutions between the two outermost ones; De-Conv n has the sizes of Conv 6 - n, channels exchanged. XLA
# asks cuDNN for a deconvolution as the gradient of a convolution; 'narrow' is the same size asked for as a convolution.
LAYERS = (
  ('conv2', (16, 112, 112), 64, 128),
  ('deconv4', (16, 112, 112), 128, 64),
  ('narrow', (16, 112, 112), 128, 64),
  ('conv3', (8, 56, 56), 128, 256),
  ('deconv3', (8, 56, 56), 256, 128),
  ('conv4', (4, 28, 28), 256, 512),
  ('conv5', (2, 14, 14), 512, 512),
)

POOLED = ('conv2', 'conv3', 'conv4')


def seconds_of(run, wait, reps):
  """Seconds of one of `reps` runs handed out one after another."""
  wait(run())
  wait(run())
  start = time.perf_counter()
  for _ in range(reps):
    result = run()
  wait(result)
  return (time.perf_counter() - start) / reps


def jax_times(name, size, features_in, features_out, batch, conv_algorithm, reps):
  import jax
  import jax.numpy as jnp

  from a3dcae_jax.ops.conv3d import conv3d, deconv3d

  x_key, k_key, y_key = jax.random.split(jax.random.key(0), 3)
  convolve = deconv3d if name.startswith('deconv') else conv3d
  x = jax.random.normal(x_key, (batch, *size, features_in), jnp.bfloat16)
  kernel = jax.random.normal(k_key, (3, 3, 3, features_in, features_out), jnp.bfloat16)
  y = jax.random.normal(y_key, (batch, *size, features_out), jnp.bfloat16)
  f = lambda x, kernel: convolve(x, kernel, conv_algorithm=conv_algorithm)  # noqa: E731
  programs = {
    'forward': lambda: forward(x, kernel),
    'input': lambda: to_input(y, kernel),
    'kernel': lambda: to_kernel(y, x),
  }
  forward = jax.jit(f)
  to_input = jax.jit(lambda y, kernel: jax.vjp(lambda x: f(x, kernel), jnp.zeros_like(x))[1](y))
  to_kernel = jax.jit(
    lambda y, x: jax.vjp(lambda k: f(x, k), jnp.zeros_like(kernel))[1](y)
  )  # linear: the forward pass is not computed
  return {name: seconds_of(run, jax.block_until_ready, reps) for name, run in programs.items()}


def pooled_times(size, features_in, features_out, batch, reps):
  import jax
  import jax.numpy as jnp

  from a3dcae_jax.ops.conv3d import correlate, same_pads
  from a3dcae_jax.ops.conv_pool import fine_sums

  x_key, k_key = jax.random.split(jax.random.key(0))
  x = jax.random.normal(x_key, (batch, *size, features_in), jnp.bfloat16)
  kernel, at_rest = (
    jax.random.normal(k_key, (3, 3, 3, features_in, features_out)),
    jnp.full(features_in, 0.5),
  )
  as_used = jax.jit(lambda x, kernel: fine_sums(x, kernel, at_rest, 'auto'))
  to_float32 = jax.jit(
    lambda x, kernel: correlate(x, kernel.astype(x.dtype), same_pads(kernel), 'direct', jnp.float32)
  )
  return {
    'as_used': seconds_of(lambda: as_used(x, kernel), jax.block_until_ready, reps),
    'float32': seconds_of(lambda: to_float32(x, kernel), jax.block_until_ready, reps),
  }


def torch_times(size, features_in, features_out, batch, reps):
  import torch

  torch.backends.cudnn.benchmark = True
  options = {'device': 'cuda', 'dtype': torch.bfloat16}
  draw = lambda *shape: torch.randn(*shape, **options).contiguous(
    memory_format=torch.channels_last_3d
  )  # noqa: E731
  x, kernel, y = (
    draw(batch, features_in, *size),
    draw(features_out, features_in, 3, 3, 3),
    draw(batch, features_out, *size),
  )
  back = lambda wanted: torch.ops.aten.convolution_backward(  # noqa: E731
    y,
    x,
    kernel,
    None,
    (1, 1, 1),
    (1, 1, 1),
    (1, 1, 1),
    False,
    (0, 0, 0),
    1,
    (wanted == 'input', wanted == 'kernel', False),
  )
  programs = {
    'forward': lambda: torch.conv3d(x, kernel, padding=1),
    'input': lambda: back('input'),
    'kernel': lambda: back('kernel'),
  }
  return {
    name: seconds_of(run, lambda _: torch.cuda.synchronize(), reps)
    for name, run in programs.items()
  }


def main(argv=None):
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--json', type=pathlib.Path, required=True)
  parser.add_argument('--batch', type=int, default=32)
  parser.add_argument('--reps', type=int, default=10)
  parser.add_argument('--conv_algorithms', default='direct,folded,summed')
  parser.add_argument('--torch', action='store_true')
  arguments = parser.parse_args(argv)
  rows = []
  for name, size, features_in, features_out in LAYERS:
    flops = 2 * 27 * features_in * features_out * arguments.batch * size[0] * size[1] * size[2]
    pooled = ['pooled'] if name in POOLED else []
    for conv_algorithm in [
      *arguments.conv_algorithms.split(','),
      *pooled,
      *(['torch'] if arguments.torch else []),
    ]:
      sizes = (size, features_in, features_out, arguments.batch)
      try:
        if conv_algorithm in ('pooled', 'torch'):
          times = {'pooled': pooled_times, 'torch': torch_times}[conv_algorithm](
            *sizes, arguments.reps
          )
        else:
          times = jax_times(name, *sizes, conv_algorithm, arguments.reps)
      except (
        Exception
      ) as error:  # one conv_algorithm that does not run says so; the others are still measured
        print(
          f'{name:8s} {conv_algorithm:7s} {type(error).__name__}: {str(error).splitlines()[0]}',
          flush=True,
        )
        continue
      rows.append(
        {
          'layer': name,
          'conv_algorithm': conv_algorithm,
          'batch': arguments.batch,
          'seconds': times,
        }
      )
      print(
        f'{name:8s} {conv_algorithm:7s}'
        + ''.join(
          f' {part} {1e3 * t:7.3f} ms {flops / t / 1e12:4.0f} TFLOP/s' for part, t in times.items()
        ),
        flush=True,
      )
      arguments.json.write_text(json.dumps({'rows': rows}, indent=1) + '\n')


if __name__ == '__main__':
  tune_process()
  main()
