"""Compares this machine's accelerator with its CPU: every operator and one training step. Writes JSON, ends with 1 where they differ.

  python tools/check_device.py --json=FILE [--preset=small]

float32 is compared at the highest matrix precision; bfloat16 by how it ranks frames (Spearman's correlation with float32).
"""

import argparse
import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.config.presets import PRESETS
from a3dcae_jax.ops.cases import CONV_CASES, OUTER_CASES, POOL_CASES
from a3dcae_jax.ops.conv3d import conv3d, deconv3d
from a3dcae_jax.ops.conv_algorithm import tracing_for
from a3dcae_jax.ops.conv_pool import conv_pool3d
from a3dcae_jax.ops.polyphase import deconv_unpooled, extract_patches, phase_weights, pool_patches
from a3dcae_jax.ops.pooling import max_pool3d_argmax, max_pool3d_moments, max_unpool3d
from a3dcae_jax.scoring.errors import error_maps, frame_errors
from a3dcae_jax.training.state import init_state, make_optimizer
from a3dcae_jax.training.step import Objective, make_train_step

OPERATOR_LIMIT, STEP_LIMIT, RANK_LIMIT, PLACES_LIMIT = 1e-5, 1e-3, 0.999, 0.01


def operators():
  """(name, function, arguments) of every case in `ops.cases`."""
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
  for case in CONV_CASES:
    x, kernel = draw(*case.shape), draw(*case.kernel, case.shape[-1], case.features)
    yield f'conv3d {case.name}', conv3d, (x, kernel)
    yield f'deconv3d {case.name}', deconv3d, (x, kernel)
  for case in POOL_CASES:
    yield (
      f'pool and unpool {case.name}',
      lambda x, w=case.window: max_unpool3d(*max_pool3d_argmax(x, w), w),
      (draw(*case.shape),),
    )
    yield (
      f'pool with moments {case.name}',
      lambda x, w=case.window: pooled_and_moments(x, w),
      (draw(*case.shape),),
    )
  for shape, kernel, features in OUTER_CASES:
    yield (
      f'pool_patches {kernel}',
      lambda x, k, s: pool_patches(extract_patches(x, k.shape[1:3]), phase_weights(k), s, 'tanh')[
        0
      ],
      (draw(*shape), draw(1, *kernel, 1, features), draw(features)),
    )
    values = draw(shape[0], shape[1], shape[2] // 2, shape[3] // 2, features)
    places = rng.integers(0, 4, values.shape, dtype=np.uint8)
    yield (
      f'deconv_unpooled {kernel}',
      lambda v, k, p=places: deconv_unpooled(v, jnp.asarray(p), k),
      (values, draw(1, *kernel, features, 1)),
    )


def pooled_and_moments(x, window):
  """One array of what `max_pool3d_moments` gives, places aside."""
  values, _, mean, squares = max_pool3d_moments(x, window)
  return jnp.concatenate([values.ravel(), mean, squares])


def on(device, function, *arguments):
  """`function(*arguments)` computed on `device`, traced afresh: each platform chooses its own conv_algorithm."""
  with jax.default_device(device), tracing_for(device.platform):
    return jax.device_get(jax.jit(lambda *a: function(*a))(*jax.device_put(arguments, device)))


def relative(a, b):
  """Largest difference over the largest value, over all leaves."""
  leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return max(float(np.abs(x - y).max() / max(np.abs(y).max(), 1e-12)) for x, y in leaves)


def value_and_gradient(function):
  def both(*arguments):
    value, pullback = jax.vjp(function, *arguments)
    return value, pullback(jnp.cos(jnp.arange(value.size, dtype=value.dtype)).reshape(value.shape))

  return both


def place_differences(accelerator, cpu):
  """Shares of maxima that bfloat16 finds elsewhere than float32, in a map that is nearly flat: by `conv_pool3d`, and if the map is rounded first."""
  rng, window, rest = (
    np.random.default_rng(0),
    (2, 2, 2),
    np.linspace(-0.7, 0.7, 32, dtype=np.float32),
  )
  x = (rest + 0.01 * rng.standard_normal((1, 8, 28, 28, 32))).astype(jnp.bfloat16)
  kernel = (
    (rest[:, None] + rng.standard_normal((3, 3, 3, 32, 64))).astype(jnp.bfloat16).astype(np.float32)
  )
  exact = on(
    cpu, lambda x, k: max_pool3d_argmax(conv3d(x.astype(jnp.float32), k), window)[1], x, kernel
  )
  found = on(
    accelerator, lambda x, k: conv_pool3d(x, k, window, at_rest=jnp.asarray(rest))[1], x, kernel
  )
  rounded_first = on(
    accelerator, lambda x, k: max_pool3d_argmax(conv3d(x, k.astype(x.dtype)), window)[1], x, kernel
  )
  return {
    'conv_pool3d': float((found != exact).mean()),
    'rounded_first': float((rounded_first != exact).mean()),
  }


def step_differences(accelerator, cpu, preset, clip_shape):
  """(metrics of one update on each, relative difference; Spearman's correlation of bfloat16 and float32 frame errors)."""
  networks = (
    AutoEncoder(preset.widths),
    Discriminator(preset.discriminator_widths, preset.discriminator_units),
  )
  optimizer = make_optimizer()
  with jax.default_device(cpu):
    state = jax.device_get(init_state(*networks, optimizer, clip_shape=clip_shape, seed=0))
  clips = np.random.default_rng(0).integers(0, 256, (2, *clip_shape), dtype=np.uint8)
  # Frames of different target_rms, so that their errors have an order to keep.
  clips = (
    127
    + (clips.astype(np.float32) - 127)
    * np.linspace(0.1, 1, 2 * clip_shape[0]).reshape(2, clip_shape[0], 1, 1)
  ).astype(np.uint8)
  mean_image = np.full(clip_shape[1:], 0.5, np.float32)
  step = make_train_step(*networks, optimizer, Objective(), seed=0)
  metrics = [
    on(device, lambda s, c, m: step(s, c, m)[1], state, clips, mean_image)
    for device in (accelerator, cpu)
  ]
  errors = []
  for dtype in (jnp.float32, jnp.bfloat16):
    network = AutoEncoder(preset.widths, dtype=dtype)

    def frames(s, c, m, network=network):
      real = network_input(c, m)
      return frame_errors(
        error_maps(real, network.apply({'params': s.generator, 'batch_stats': s.batch_stats}, real))
      )

    errors.append(on(accelerator, frames, state, clips, mean_image).ravel())
  return {name: [float(metrics[0][name]), float(metrics[1][name])] for name in metrics[0]}, float(
    stats.spearmanr(*errors).statistic
  )


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--json', type=pathlib.Path, required=True)
  parser.add_argument('--preset', choices=tuple(PRESETS), default='small')
  arguments = parser.parse_args()
  preset, cpu, accelerator = PRESETS[arguments.preset], jax.devices('cpu')[0], jax.devices()[0]
  with jax.default_matmul_precision('highest'):
    found = {
      name: relative(*(on(device, value_and_gradient(f), *args) for device in (accelerator, cpu)))
      for name, f, args in operators()
    }
    places = place_differences(accelerator, cpu)
    metrics, rank = step_differences(accelerator, cpu, preset, (16, preset.size_px, preset.size_px))
  step = {name: abs(a - b) / max(abs(b), 1e-12) for name, (a, b) in metrics.items()}
  passed = (
    max(found.values()) < OPERATOR_LIMIT
    and max(step.values()) < STEP_LIMIT
    and rank > RANK_LIMIT
    and places['conv_pool3d'] < PLACES_LIMIT
  )
  result = {
    'device': accelerator.device_kind,
    'platform': accelerator.platform,
    'operators': found,
    'step': metrics,
    'bfloat16_rank': rank,
    'bfloat16_places': places,
    'passed': passed,
  }
  arguments.json.write_text(json.dumps(result, indent=2) + '\n')
  print(
    f"{accelerator.device_kind}: operators differ by at most {max(found.values()):.1e}, the step's metrics by {max(step.values()):.1e}, "
    f'bfloat16 ranks frames as float32 does to {rank:.5f} '
    f'and finds {places["conv_pool3d"]:.2%} of maxima elsewhere: {"as it should" if passed else "NOT as it should"}'
  )
  sys.exit(not passed)


if __name__ == '__main__':
  main()
