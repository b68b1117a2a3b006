"""The program that scores clips, the same in evaluation and in bundles."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
from flax import traverse_util

from a3dcae_jax.config import fields
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.models.networks import make_networks
from a3dcae_jax.ops.conv_algorithm import target_platform, tracing_for
from a3dcae_jax.ops.masking import predict_masked
from a3dcae_jax.scoring.errors import error_maps, frame_errors
from a3dcae_jax.scoring.local import local_errors
from a3dcae_jax.training.state import TrainState

MOTION_STATISTICS = 'calibration/motion_statistics'  # name of these statistics among the weights

Weights = dict[str, jax.Array]


class ScoringRecipe(NamedTuple):
  """The settings of a scoring program.

  Attributes:
    model: the config's `model`; only the auto-encoder is used.
    prepare: (clips, mean image) -> input of the network, float32 [B, T, H, W, 1].
    loss: the config's `loss`. If training masks frames, scoring masks each frame in turn.
    eval: the config's `eval`; `error` and `network_weight` are used.
  """

  model: fields.Model
  prepare: Callable[[jax.Array, jax.Array], jax.Array]
  loss: fields.Loss
  eval: fields.Eval


def make_recipe(settings: fields.Config, row_scale: tuple[float, float]) -> ScoringRecipe:
  """Return the recipe of a run.

  Args:
    settings: settings of the run.
    row_scale: reference speed of the top and the bottom row.
  """
  prepare = input_function(settings.input, row_scale)
  return ScoringRecipe(settings.model, prepare, settings.loss, settings.eval)


def input_function(
  options: fields.Input, row_scale: tuple[float, float]
) -> Callable[[jax.Array, jax.Array], jax.Array]:
  """Return a function (clips, mean image) -> input of the networks.

  Args:
    options: the config's `input`.
    row_scale: reference speed of the top and the bottom row.
  """
  return functools.partial(
    network_input, kind=options.kind, target_rms=options.target_rms, row_scale=row_scale
  )


def scoring_program(
  recipe: ScoringRecipe, platform: str | None = None, conv_algorithm: str = 'auto'
) -> Callable[[Weights, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
  """Return the pure function (weights, mean image, clips) -> (errors, maps).

  Args:
    recipe: settings of the program.
    platform: platform to trace for: 'cpu', 'accelerator' or as in `ops.conv_algorithm.tracing_for`.
      It selects the convolutions and the dtype. None is the platform that JAX runs on.
    conv_algorithm: algorithm of the 3D convolutions.

  Returns:
    A function of weights (see `scoring_weights`), mean image (float32 [H, W] or [B, 1, H, W]) and
    clips (uint8 [B, T, H, W], or float32 in [0, 1]). It returns the errors [B, T], as `eval.error`
    defines them, and the maps [B, T, H, W] from which they are computed.
  """

  def program(weights, mean_image, clips):
    with tracing_for(platform or target_platform()):
      real = recipe.prepare(clips, mean_image)
      maps = error_maps(real, reconstruction(recipe, weights, real, conv_algorithm))
    if recipe.eval.error == 'local':
      statistics = weights[MOTION_STATISTICS]
      return local_errors(maps, real, statistics, recipe.eval.network_weight)
    return frame_errors(maps), maps

  return program


def reconstruction(
  recipe: ScoringRecipe, weights: Weights, real: jax.Array, conv_algorithm: str = 'auto'
) -> jax.Array:
  """Reconstruct prepared clips [B, T, H, W, 1].

  A network trained on masked frames has to predict every frame: each is masked in turn.
  """
  generator, _ = make_networks(recipe.model, conv_algorithm=conv_algorithm)
  variables = network_variables(weights)

  def apply(clips):
    return generator.apply(variables, clips, train=False)

  period = recipe.loss.mask_period
  if period:
    return predict_masked(apply, real, every=period, run=recipe.loss.mask_length)
  return apply(real)


def scoring_weights(state: TrainState) -> Weights:
  """Return the auto-encoder's arrays, 'params/conv1/kernel' -> array."""
  variables = {'params': state.generator, 'batch_stats': state.batch_stats}
  return traverse_util.flatten_dict(variables, sep='/')


def network_variables(weights: Weights) -> dict:
  """Return the auto-encoder's Flax variables; the inverse of `scoring_weights`."""
  flat = {name: array for name, array in weights.items() if name != MOTION_STATISTICS}
  return traverse_util.unflatten_dict(flat, sep='/')
