"""The one program that scores clips: evaluation runs it, `export` ships it, so the two cannot disagree."""

import jax.numpy as jnp
from flax import traverse_util

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.ops.conv_algorithm import target_platform, tracing_for
from a3dcae_jax.ops.masking import predict_masked
from a3dcae_jax.run.networks import frame_options, make_networks
from a3dcae_jax.scoring.errors import (
  block_errors,
  error_maps,
  frame_errors,
  motion_maps,
  smoothed_errors,
)
from a3dcae_jax.scoring.local import local_errors, make_rule

ERRORS = ('eq13', 'block', 'smoothed', 'motion', 'local')
USUAL = 'calibration/usual'  # what 'local' needs beside the network's weights


def scoring_program(config, platform=None):
  """The pure function `(weights, mean_image, clips) -> (errors, maps)` of a run's config.

  Args:
    config: of the run; `model`, `frames`, `objective.hide_*` and `eval.error`, `eval.block_px`, `eval.sigma_px` are read.
    platform: whose conv_algorithm and dtype it is traced with, as in `ops.conv_algorithm.tracing_for`; None is the one JAX runs on.

  Returns:
    The function of weights (dict, see `scoring_weights`; 'calibration/NAME' for what an error needs beside them), mean_image (float32
    [H, W]) and clips (uint8 [B, T, H, W], or float32 in [0, 1]). errors [B, T] is by `eval.error`: 'eq13' (mean over pixels), 'block'
    (largest mean of a `block_px` block), 'smoothed' (largest value after smoothing by `sigma_px`), 'motion' (root of the mean of
    `motion_maps`), 'local' (`scoring.local`). maps [B, T, H, W] is what it was taken of.

  Raises: UserError for an unknown `eval.error`.
  """
  kind = config.eval.error
  if kind not in ERRORS:
    raise UserError(f'eval.error {kind!r}: known are {", ".join(ERRORS)}')
  reduce = {
    'eq13': frame_errors,
    'block': lambda maps: block_errors(maps, config.eval.block_px),
    'smoothed': lambda maps: smoothed_errors(maps, config.eval.sigma_px),
    'motion': lambda maps: jnp.sqrt(frame_errors(maps)),
  }.get(kind)

  rule = local_rule(config.eval)

  def program(weights, mean_image, clips):
    with tracing_for(platform or target_platform()):
      real = network_input(clips, mean_image, **frame_options(config))
      maps = error_maps(real, reconstruction(config, weights, real))
    if kind == 'local':
      return local_errors(maps, real, weights[USUAL], rule)
    maps = motion_maps(maps, real) if kind == 'motion' else maps
    return reduce(maps), maps

  return program


def local_rule(options):
  """The `Rule` of the config's `eval` subtree; its defaults where a run is older than the rule."""
  return make_rule(**options.get('local', {}))


def reconstruction(config, weights, real):
  """Clips as the auto-encoder gives them back, every frame hidden in turn where the run hides frames: [B, T, H, W, 1] -> the same."""
  generator, _ = make_networks(**config.model)
  variables = traverse_util.unflatten_dict(
    {name: array for name, array in weights.items() if not name.startswith('calibration/')}, sep='/'
  )
  every, run = config.objective.mask_period, config.objective.mask_length
  if every:
    return predict_masked(
      lambda seen: generator.apply(variables, seen, train=False), real, every=every, run=run
    )
  return generator.apply(variables, real, train=False)


def scoring_weights(state):
  """What the program reads of a `TrainState`, as one flat dict: 'params/conv1/kernel' -> array."""
  return traverse_util.flatten_dict(
    {'params': state.generator, 'batch_stats': state.batch_stats}, sep='/'
  )
