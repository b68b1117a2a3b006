"""Compare this machine's accelerator with its CPU.

  python -m tools.check_device --json=FILE [--preset=small]

In float32, values and gradients of each operator and the metrics of one training step are
compared, at the highest matrix precision. In bfloat16, the order of frames by their error is
compared with that in float32 (Spearman's correlation). The script writes JSON and ends with status
1 if the accelerator differs.
"""

import argparse
import functools
import json
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from a3dcae_jax.config.presets import PRESETS
from a3dcae_jax.measuring.programs import (
  Setting,
  error_program,
  fresh_state,
  train_program,
  variables_of,
)
from a3dcae_jax.ops.cases import CONV_CASES, POLYPHASE_CASES, POOL_CASES
from a3dcae_jax.ops.conv3d import conv3d, deconv3d
from a3dcae_jax.ops.conv_algorithm import tracing_for
from a3dcae_jax.ops.conv_pool import conv_pool3d
from a3dcae_jax.ops.polyphase import deconv_unpooled, extract_patches, phase_weights, pool_patches
from a3dcae_jax.ops.pooling import max_pool3d_argmax, max_pool3d_moments, max_unpool3d

# Largest differences of the two devices, relative to the largest value.
OPERATOR_LIMIT = 1e-5
STEP_LIMIT = 1e-3
RANK_LIMIT = 0.999  # least correlation of frame errors in bfloat16 and float32
POOL_INDEX_LIMIT = 0.01  # largest share of maxima that bfloat16 finds at another position


class Check(NamedTuple):
  """An operator to compare.

  Attributes:
    name: name in the JSON.
    function: function of arrays.
    arguments: float32 arrays for `function`.
  """

  name: str
  function: Callable[..., jax.Array]
  arguments: tuple[np.ndarray, ...]


def operators() -> Iterator[Check]:
  """Yield a check for each case of `ops.cases`."""
  rng = np.random.default_rng(0)
  yield from _convolution_checks(rng)
  yield from _pool_checks(rng)
  yield from _polyphase_checks(rng)


def _draw(rng: np.random.Generator, *shape: int) -> np.ndarray:
  return rng.standard_normal(shape).astype(np.float32)


def _convolution_checks(rng: np.random.Generator) -> Iterator[Check]:
  for case in CONV_CASES:
    features_in = case.shape[-1]
    x = _draw(rng, *case.shape)
    kernel = _draw(rng, *case.kernel, features_in, case.features)
    yield Check(f'conv3d {case.name}', conv3d, (x, kernel))
    yield Check(f'deconv3d {case.name}', deconv3d, (x, kernel))


def _pool_checks(rng: np.random.Generator) -> Iterator[Check]:
  for case in POOL_CASES:
    unpooled = functools.partial(_pool_and_unpool, window=case.window)
    x = _draw(rng, *case.shape)
    yield Check(f'pool and unpool {case.name}', unpooled, (x,))
    moments = functools.partial(_pool_with_moments, window=case.window)
    x = _draw(rng, *case.shape)
    yield Check(f'pool with moments {case.name}', moments, (x,))


def _polyphase_checks(rng: np.random.Generator) -> Iterator[Check]:
  for shape, kernel_size, features in POLYPHASE_CASES:
    x = _draw(rng, *shape)
    kernel = _draw(rng, 1, *kernel_size, 1, features)
    shift = _draw(rng, features)
    yield Check(f'pool_patches {kernel_size}', _first_layer, (x, kernel, shift))
    batch, frames, height, width, _ = shape
    values = _draw(rng, batch, frames, height // 2, width // 2, features)
    pool_indices = rng.integers(0, 4, values.shape, dtype=np.uint8)
    kernel = _draw(rng, 1, *kernel_size, features, 1)
    last_layer = functools.partial(_last_layer, pool_indices=pool_indices)
    yield Check(f'deconv_unpooled {kernel_size}', last_layer, (values, kernel))


def _pool_and_unpool(x: jax.Array, window: tuple[int, ...]) -> jax.Array:
  values, pool_indices = max_pool3d_argmax(x, window)
  return max_unpool3d(values, pool_indices, window)


def _pool_with_moments(x: jax.Array, window: tuple[int, ...]) -> jax.Array:
  """Return all results of `max_pool3d_moments` but the pool indices, in one array."""
  values, _, mean, mean_square = max_pool3d_moments(x, window)
  return jnp.concatenate([values.ravel(), mean, mean_square])


def _first_layer(x: jax.Array, kernel: jax.Array, shift: jax.Array) -> jax.Array:
  patches = extract_patches(x, kernel.shape[1:3])
  values, _ = pool_patches(patches, phase_weights(kernel), shift, 'tanh')
  return values


def _last_layer(values: jax.Array, kernel: jax.Array, pool_indices: np.ndarray) -> jax.Array:
  return deconv_unpooled(values, jnp.asarray(pool_indices), kernel)


def on(device: jax.Device, function: Callable[..., Any], *arguments: Any) -> Any:
  """Compute a function on a device.

  It is traced anew, since the operators choose their implementation by platform.
  """
  with jax.default_device(device), tracing_for(device.platform):
    compiled = jax.jit(lambda *placed: function(*placed))
    placed = jax.device_put(arguments, device)
    result = compiled(*placed)
    return jax.device_get(result)


def relative_difference(found: Any, expected: Any) -> float:
  """Return the largest difference in units of the largest value, over all leaves."""
  differences = []
  leaves = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
  for a, b in leaves:
    largest = np.abs(b).max()
    difference = np.abs(a - b).max()
    differences.append(float(difference / max(largest, 1e-12)))
  return max(differences)


def value_and_gradient(function: Callable[..., jax.Array]) -> Callable[..., Any]:
  """Make a function that returns a value and the gradients under a fixed cotangent."""

  def both(*arguments: jax.Array) -> Any:
    value, pullback = jax.vjp(function, *arguments)
    numbers = jnp.arange(value.size, dtype=value.dtype)
    cotangent = jnp.cos(numbers).reshape(value.shape)
    return value, pullback(cotangent)

  return both


def operator_differences(accelerator: jax.Device, cpu: jax.Device) -> dict[str, float]:
  """Return the relative difference of each operator and its gradients."""
  differences = {}
  for check in operators():
    function = value_and_gradient(check.function)
    found = on(accelerator, function, *check.arguments)
    expected = on(cpu, function, *check.arguments)
    differences[check.name] = relative_difference(found, expected)
  return differences


def pool_index_differences(accelerator: jax.Device, cpu: jax.Device) -> dict[str, float]:
  """Count the maxima that bfloat16 finds at another position than float32.

  The map is nearly flat, where rounding makes neighbours equal.

  Returns:
    Shares for `conv_pool3d`, and for a map that is rounded before it is pooled.
  """
  window = (2, 2, 2)
  rng = np.random.default_rng(0)
  centre = np.linspace(-0.7, 0.7, 32, dtype=np.float32)
  deviation = 0.01 * rng.standard_normal((1, 8, 28, 28, 32))
  x = (centre + deviation).astype(jnp.bfloat16)
  kernel = centre[:, None] + rng.standard_normal((3, 3, 3, 32, 64))
  kernel = kernel.astype(jnp.bfloat16).astype(np.float32)  # exact in both data types

  def exact(x: jax.Array, kernel: jax.Array) -> jax.Array:
    y = conv3d(x.astype(jnp.float32), kernel)
    return max_pool3d_argmax(y, window)[1]

  def pooled_before_rounding(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return conv_pool3d(x, kernel, window, centre=jnp.asarray(centre))[1]

  def rounded_first(x: jax.Array, kernel: jax.Array) -> jax.Array:
    y = conv3d(x, kernel.astype(x.dtype))
    return max_pool3d_argmax(y, window)[1]

  expected = on(cpu, exact, x, kernel)
  in_use = on(accelerator, pooled_before_rounding, x, kernel)
  rounded = on(accelerator, rounded_first, x, kernel)
  return {
    'conv_pool3d': np.mean(in_use != expected).item(),
    'rounded_first': np.mean(rounded != expected).item(),
  }


def step_differences(
  accelerator: jax.Device, cpu: jax.Device, preset: str
) -> tuple[dict[str, list[float]], float]:
  """Compare one update, and the order of frames in bfloat16.

  Returns:
    (metric -> its values on both devices, Spearman's correlation of the frame errors in bfloat16
    and float32 on the accelerator).
  """
  setting = Setting('train', preset, 2, 'float32', target_rms=0.0)
  with jax.default_device(cpu):
    state = jax.device_get(fresh_state(setting))
  clips = _clips(setting)
  mean_image = np.full(setting.clip_shape[1:], 0.5, np.float32)
  step = train_program(setting)

  def metrics(*arguments: Any) -> dict[str, jax.Array]:
    return step(*arguments)[1]

  found = on(accelerator, metrics, state, clips, mean_image)
  expected = on(cpu, metrics, state, clips, mean_image)
  both = {}
  for name, value in found.items():
    both[name] = [float(value), float(expected[name])]
  variables = variables_of(state)
  errors = []
  for dtype in ('float32', 'bfloat16'):
    program = error_program(setting._replace(dtype=dtype))
    frame_errors = on(accelerator, program, variables, clips, mean_image)
    errors.append(frame_errors.ravel())
  correlation = stats.spearmanr(*errors).statistic
  return both, float(correlation)


def _clips(setting: Setting) -> np.ndarray:
  """Return random clips.

  Their frames differ in contrast, so that their errors have an order.
  """
  rng = np.random.default_rng(0)
  shape = (setting.batch, *setting.clip_shape)
  noise = rng.integers(0, 256, shape, dtype=np.uint8)
  num_frames = setting.batch * setting.window
  contrast = np.linspace(0.1, 1, num_frames)
  contrast = contrast.reshape(setting.batch, setting.window, 1, 1)
  deviation = noise.astype(np.float32) - 127
  return (127 + deviation * contrast).astype(np.uint8)


def parse_flags(argv: list[str] | None = None) -> argparse.Namespace:
  """Parse the command line; None takes that of the process."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--json', type=pathlib.Path, required=True, help='file for the differences')
  parser.add_argument(
    '--preset', choices=tuple(PRESETS), default='small', help='networks of the training step'
  )
  return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
  """Compare the devices and return the exit status."""
  arguments = parse_flags(argv)
  cpu = jax.devices('cpu')[0]
  accelerator = jax.devices()[0]
  with jax.default_matmul_precision('highest'):
    differences = operator_differences(accelerator, cpu)
    pool_indices = pool_index_differences(accelerator, cpu)
    metrics, rank = step_differences(accelerator, cpu, arguments.preset)
  operator_worst = max(differences.values())
  step_worst = max(abs(a - b) / max(abs(b), 1e-12) for a, b in metrics.values())
  passed = (
    operator_worst < OPERATOR_LIMIT
    and step_worst < STEP_LIMIT
    and rank > RANK_LIMIT
    and pool_indices['conv_pool3d'] < POOL_INDEX_LIMIT
  )
  result = {
    'device': accelerator.device_kind,
    'platform': accelerator.platform,
    'operators': differences,
    'step': metrics,
    'bfloat16_rank': rank,
    'bfloat16_pool_indices': pool_indices,
    'passed': passed,
  }
  arguments.json.write_text(json.dumps(result, indent=2) + '\n')
  print(
    f'{accelerator.device_kind}: operators differ by at most {operator_worst:.1e}, '
    f'metrics of one step by {step_worst:.1e}; in bfloat16 the rank correlation of frames is '
    f'{rank:.5f}, and {pool_indices["conv_pool3d"]:.2%} of maxima move: '
    f'{"passed" if passed else "FAILED"}'
  )
  return 0 if passed else 1


if __name__ == '__main__':
  sys.exit(main())
