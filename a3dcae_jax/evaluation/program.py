"""The one program that scores clips: evaluation runs it, a bundle holds it."""

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

MOTION_STATISTICS = 'calibration/motion_statistics'  # what error=local needs among the weights

Weights = dict[str, jax.Array]


class ScoringRecipe(NamedTuple):
  """All that a scoring program depends on besides its weights.

  Attributes:
    model: the auto-encoder.
    prepare: (clips, mean image) -> input of the network, float32 [B, T, H, W, 1].
    loss: its masked frames are masked at test as well, each in turn.
    eval: its `error` and `network_weight`.
  """

  model: fields.Model
  prepare: Callable[[jax.Array, jax.Array], jax.Array]
  loss: fields.Loss
  eval: fields.Eval


def make_recipe(settings: fields.Config, row_scale: tuple[float, float]) -> ScoringRecipe:
  """Return the recipe of a run. row_scale: as found in its training videos."""
  prepare = input_function(settings.input, row_scale)
  return ScoringRecipe(settings.model, prepare, settings.loss, settings.eval)


def input_function(
  options: fields.Input, row_scale: tuple[float, float]
) -> Callable[[jax.Array, jax.Array], jax.Array]:
  """Return (clips, mean image) -> input of the networks, as the config's `input` says."""
  return functools.partial(
    network_input, kind=options.kind, target_rms=options.target_rms, row_scale=row_scale
  )


def scoring_program(
  recipe: ScoringRecipe, platform: str | None = None, conv_algorithm: str = 'auto'
) -> Callable[[Weights, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
  """Return the pure function (weights, mean image, clips) -> (errors, maps).

  Args:
    recipe: what to compute.
    platform: whose convolutions and dtype are traced: 'cpu', 'accelerator' or as in
      `ops.conv_algorithm.tracing_for`; None takes the platform that JAX runs on.
    conv_algorithm: of 3D convolutions.

  Returns:
    The function of weights (see `scoring_weights`), mean image (float32 [H, W] or [B, 1, H, W]) and
    clips (uint8 [B, T, H, W], or float32 in [0, 1]). It gives errors [B, T], by `eval.error`, and
    the maps [B, T, H, W] that they were taken from.
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
  """Reconstruct prepared clips [B, T, H, W, 1]; masked frames are each predicted in turn."""
  generator, _ = make_networks(recipe.model, conv_algorithm=conv_algorithm)
  variables = network_variables(weights)

  def apply(clips):
    return generator.apply(variables, clips, train=False)

  period = recipe.loss.mask_period
  if period:
    return predict_masked(apply, real, every=period, run=recipe.loss.mask_length)
  return apply(real)


def scoring_weights(state: TrainState) -> Weights:
  """Return the auto-encoder's arrays of a state as a flat dict: 'params/conv1/kernel' -> array."""
  variables = {'params': state.generator, 'batch_stats': state.batch_stats}
  return traverse_util.flatten_dict(variables, sep='/')


def network_variables(weights: Weights) -> dict:
  """Return the auto-encoder's Flax variables from the flat dict of `scoring_weights`."""
  flat = {name: array for name, array in weights.items() if name != MOTION_STATISTICS}
  return traverse_util.unflatten_dict(flat, sep='/')
