"""Scorers compute the errors of clips, from a checkpoint or a bundle."""

import abc

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.evaluation.program import (
  MOTION_STATISTICS,
  ScoringRecipe,
  network_variables,
  reconstruction,
  scoring_program,
  scoring_weights,
)
from a3dcae_jax.models.inputs import clip_means
from a3dcae_jax.models.networks import make_networks
from a3dcae_jax.scoring.errors import error_maps, frame_errors
from a3dcae_jax.serving.bundle import Bundle
from a3dcae_jax.training import parallel
from a3dcae_jax.training.state import TrainState


class Scorer(abc.ABC):
  """The interface of scorers.

  Clips are uint8 [B, T, H, W]; `ids`, int32 [B], has the mean image id of each clip.

  Attributes:
    window: frames per clip, T.
    step: number of updates before the checkpoint.
  """

  window: int
  step: int

  @abc.abstractmethod
  def errors(self, clips: jax.Array, ids: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Return (errors [B, T], maps [B, T, H, W])."""

  def batch_errors(self, clips: jax.Array, ids: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Return what `errors` returns, computed on all devices, whose number divides B."""
    return self.errors(clips, ids)

  def explain(self, clips: jax.Array, ids: np.ndarray) -> tuple[jax.Array, jax.Array] | None:
    """Return (input, reconstruction) [B, T, H, W, 1], or None without a network."""
    del clips, ids
    return None

  def feature_maps(self, clips: jax.Array, ids: np.ndarray) -> dict[str, jax.Array]:
    """Return the pooled maps of the encoder by name; empty without a network."""
    del clips, ids
    return {}


def map_scoring(recipe: ScoringRecipe) -> parallel.LocalMap:
  """Return the scoring program over all devices: weights, mean images, clips."""
  return parallel.LocalMap(scoring_program(recipe), num_shared=1)


class CheckpointScorer(Scorer):
  """Scorer of a checkpoint."""

  def __init__(
    self,
    recipe: ScoringRecipe,
    state: TrainState,
    mean_images: np.ndarray,
    window: int,
    batch_program: parallel.LocalMap | None = None,
  ) -> None:
    """Keep the weights; nothing is compiled yet.

    Args:
      recipe: settings of the scoring program.
      state: training state of the checkpoint.
      mean_images: float32 [S, H, W], mean images of the network's input.
      window: frames per clip.
      batch_program: `map_scoring` of the recipe, if it is already compiled.
    """
    self.window = window
    self.step = int(state.step)
    self.recipe = recipe
    self.weights = scoring_weights(state)
    self.mean_images = jnp.asarray(mean_images)
    # Weights are arguments, as in a bundle: XLA would fold constants, which rounds differently.
    self._program = jax.jit(scoring_program(recipe))
    self._mapped = batch_program or map_scoring(recipe)
    self._on_devices = None
    self._explain = jax.jit(self._explained)
    self._feature_maps = jax.jit(self._features)

  def errors(self, clips: jax.Array, ids: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """See `Scorer`."""
    return self._program(self.weights, clip_means(self.mean_images, ids), clips)

  def batch_errors(self, clips: jax.Array, ids: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """See `Scorer`."""
    if self._on_devices is None:
      self._on_devices = parallel.replicate(self.weights)
    return self._mapped(self._on_devices, clip_means(self.mean_images, ids), clips)

  def compiled(self, clips: jax.Array, ids: np.ndarray) -> jax.stages.Compiled:
    """Return the program of `errors`, compiled for such clips."""
    means = clip_means(self.mean_images, ids)
    return self._program.lower(self.weights, means, clips).compile()

  def explain(self, clips: jax.Array, ids: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """See `Scorer`."""
    return self._explain(self.weights, clip_means(self.mean_images, ids), clips)

  def feature_maps(self, clips: jax.Array, ids: np.ndarray) -> dict[str, jax.Array]:
    """See `Scorer`."""
    return self._feature_maps(self.weights, clip_means(self.mean_images, ids), clips)

  def add_motion_statistics(self, statistics: np.ndarray) -> None:
    """Add the motion statistics that error=local needs to the weights."""
    self.weights = self.weights | {MOTION_STATISTICS: jnp.asarray(statistics)}
    self._on_devices = None

  def _explained(self, weights, mean_image, clips):
    real = self.recipe.prepare(clips, mean_image)
    return real, reconstruction(self.recipe, weights, real)

  def _features(self, weights, mean_image, clips):
    generator, _ = make_networks(self.recipe.model)
    variables = network_variables(weights)
    real = self.recipe.prepare(clips, mean_image)
    _, sown = generator.apply(variables, real, train=False, mutable=['intermediates'])
    return {name: value[0] for name, value in sown['intermediates'].items()}


class BundleScorer(Scorer):
  """Scorer of a bundle, which has its own weights and one mean image."""

  def __init__(self, bundle: Bundle) -> None:
    self.window = bundle.window
    self.step = bundle.manifest['provenance']['checkpoint_step']
    self._bundle = bundle
    self._mapped = parallel.LocalMap(bundle.scoring.call, num_shared=2)
    self._on_devices = None

  def errors(self, clips: jax.Array, ids: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """See `Scorer`."""
    del ids  # a bundle has one mean image
    return self._bundle(clips)

  def batch_errors(self, clips: jax.Array, ids: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """See `Scorer`."""
    if self._on_devices is None:
      self._on_devices = parallel.replicate(self._bundle.scoring.arrays)
    return self._mapped(*self._on_devices, clips)


class MeanInputScorer(Scorer):
  """Scorer of the baseline whose reconstruction is the mean image."""

  def __init__(self, recipe: ScoringRecipe, mean_images: np.ndarray, window: int) -> None:
    self.window = window
    self.step = 0
    self._mean_images = jnp.asarray(mean_images)
    self._program = jax.jit(lambda mean_image, clips: _energy(recipe, mean_image, clips))

  def errors(self, clips: jax.Array, ids: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """See `Scorer`."""
    return self._program(clip_means(self._mean_images, ids), clips)


def _energy(recipe, mean_image, clips):
  images = recipe.prepare(clips, mean_image)
  maps = error_maps(images, jnp.zeros_like(images))
  return frame_errors(maps), maps
