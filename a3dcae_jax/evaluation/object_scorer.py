"""Measure objects by a checkpoint or a bundle, over a batch or a split."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.config import fields
from a3dcae_jax.evaluation.clip_program import ClipProgram
from a3dcae_jax.evaluation.program import Weights, network_variables, scoring_weights
from a3dcae_jax.models.inputs import num_streams, object_input
from a3dcae_jax.models.networks import make_networks
from a3dcae_jax.objects.clips import ObjectTable, object_rows
from a3dcae_jax.ops.conv_algorithm import target_platform, tracing_for
from a3dcae_jax.ops.crops import crop_clips
from a3dcae_jax.scoring.objects import measure_objects
from a3dcae_jax.serving.object_bundle import ObjectBundle
from a3dcae_jax.training.state import TrainState


class ObjectRecipe(NamedTuple):
  """The settings of the program that measures objects.

  Attributes:
    model: the config's `model`; only the auto-encoder is used.
    input_kind: the config's `input.kind`.
    window: frames per clip, T.
    crop_px: height and width of the crops.
  """

  model: fields.Model
  input_kind: str
  window: int
  crop_px: int


def make_object_recipe(settings: fields.Config) -> ObjectRecipe:
  """Return the recipe of a run."""
  return ObjectRecipe(
    settings.model, settings.input.kind, settings.clips.window, settings.objects.crop_px
  )


class ObjectPictures(NamedTuple):
  """What a report shows of objects.

  Attributes:
    real: input of the networks, [B, T, S, S, C].
    recon: its reconstruction.
    crops: [B, T, S, S] in [0, 1].
  """

  real: jax.Array
  recon: jax.Array
  crops: jax.Array


def object_pictures(
  recipe: ObjectRecipe,
  weights: Weights,
  frames: jax.Array,
  rows: jax.Array,
  corners: jax.Array,
  **networks: Any,
) -> ObjectPictures:
  """Cut objects out of frames and reconstruct them.

  Args:
    recipe: what to compute.
    weights: see `program.scoring_weights`.
    frames: uint8 [N, H, W].
    rows: int32 [B, T], frames of each clip.
    corners: float32 [B, 4], x1, y1, x2, y2 in pixels.
    **networks: further arguments of `make_networks`.
  """
  streams = num_streams(recipe.input_kind)
  generator, _ = make_networks(recipe.model, streams=streams, **networks)
  crops = crop_clips(frames, rows, corners, size=recipe.crop_px)
  real = object_input(crops, kind=recipe.input_kind)
  recon = generator.apply(network_variables(weights), real, train=False)
  return ObjectPictures(real, recon.astype(jnp.float32), crops)


def object_program(
  recipe: ObjectRecipe, platform: str | None = None, **networks: Any
) -> Callable[[Weights, jax.Array, jax.Array, jax.Array], jax.Array]:
  """Return the function (weights, frames, rows, corners) -> measurements [B, 5].

  Args:
    recipe: what to compute.
    platform: platform to trace for; see `program.scoring_program`.
    **networks: further arguments of `make_networks`.
  """

  def program(weights, frames, rows, corners):
    with tracing_for(platform or target_platform()):
      pictures = object_pictures(recipe, weights, frames, rows, corners, **networks)
    return measure_objects(pictures.real, pictures.recon, pictures.crops, corners)

  return program


class ObjectScorer(abc.ABC):
  """The interface of what measures objects.

  Attributes:
    window: frames per clip, T.
    step: number of updates before the checkpoint.
    program: (arrays, frames, rows, corners) -> measurements [B, 5], for any number of objects.
    weights: arrays of the auto-encoders.
  """

  window: int
  step: int
  program: ClipProgram
  weights: Weights

  @abc.abstractmethod
  def measure(self, frames: jax.Array, rows: np.ndarray, corners: np.ndarray) -> jax.Array:
    """Return the measurements of objects, [B, 5]; arguments as of the program."""

  def pictures(
    self, frames: jax.Array, rows: np.ndarray, corners: np.ndarray
  ) -> ObjectPictures | None:
    """Return crops and their reconstructions, or None without a network."""
    del frames, rows, corners
    return None


class ObjectCheckpointScorer(ObjectScorer):
  """Measures objects by a checkpoint.

  Attributes:
    recipe: what is computed.
    weights: arrays of the auto-encoders.
  """

  def __init__(
    self, recipe: ObjectRecipe, state: TrainState, program: ClipProgram | None = None
  ) -> None:
    """Keep the weights; nothing is compiled yet.

    Args:
      recipe: what is computed.
      state: training state of the checkpoint.
      program: `object_program` of the recipe, if it is already compiled.
    """
    self.recipe = recipe
    self.window = recipe.window
    self.step = int(state.step)
    self.weights = scoring_weights(state)
    self.program = program or ClipProgram(object_program(recipe))
    self._measure = jax.jit(object_program(recipe))
    self._pictures = jax.jit(
      lambda weights, frames, rows, corners: object_pictures(recipe, weights, frames, rows, corners)
    )

  def measure(self, frames: jax.Array, rows: np.ndarray, corners: np.ndarray) -> jax.Array:
    """See `ObjectScorer`."""
    return self._measure(self.weights, frames, rows, corners)

  def pictures(self, frames: jax.Array, rows: np.ndarray, corners: np.ndarray) -> ObjectPictures:
    """See `ObjectScorer`."""
    return self._pictures(self.weights, frames, rows, corners)


class ObjectBundleScorer(ObjectScorer):
  """Measures objects by a bundle."""

  def __init__(self, bundle: ObjectBundle) -> None:
    self.window = bundle.window
    self.step = bundle.manifest['provenance']['checkpoint_step']
    self.program = ClipProgram(bundle.measuring.call)
    (self.weights,) = bundle.measuring.arrays
    self._bundle = bundle

  def measure(self, frames: jax.Array, rows: np.ndarray, corners: np.ndarray) -> jax.Array:
    """See `ObjectScorer`."""
    return self._bundle(frames, rows, corners)


def shared_measurements(
  scorer: ObjectScorer,
  frames: np.ndarray,
  table: ObjectTable,
  *,
  batch_size: int,
  progress: str = '',
) -> np.ndarray:
  """Measure the objects of a split on all devices, in a pod by shares.

  Args:
    scorer: measures a batch.
    frames: uint8 [N, H, W]; copied to the devices as a whole if they fit.
    table: M objects.
    batch_size: objects per batch and device.
    progress: title of a progress bar; empty for none.

  Returns:
    float32 [M, 5], see `serving.object_statistics.RAW_MEASUREMENTS`.
  """
  rows = object_rows(table.frame, table.low, table.high, window=scorer.window)
  return scorer.program.results(
    scorer.weights, frames, rows, table.corners, batch_size=batch_size, progress=progress
  )
