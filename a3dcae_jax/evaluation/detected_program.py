"""One program from frames to the errors of their objects, detector included.

    frames uint8 [N, H, W] -> boxes -> crops -> measurements -> z-scores -> errors

It computes what `object_program` and `serving.object_statistics` compute from boxes that
`objects.box_program` finds, without a transfer between host and device.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from a3dcae_jax.config import fields
from a3dcae_jax.evaluation.object_scorer import ObjectRecipe, object_program
from a3dcae_jax.objects.box_program import FoundBoxes, find_boxes, selected
from a3dcae_jax.objects.yolox_file import YoloxModel
from a3dcae_jax.ops.conv_algorithm import target_platform, tracing_for
from a3dcae_jax.serving.object_statistics import (
  IN_PROGRAM,
  RAW_MEASUREMENTS,
  ObjectStatistics,
  vertical_edges,
)

DETECTOR = 'detector/'
_FRAMES_PER_CHUNK = 8  # on accelerators


class DetectedRecipe(NamedTuple):
  """The settings of the program.

  Attributes:
    objects: of the measurement of objects.
    model: of the detector; only its sizes are used.
    boxes: the config's `objects`; a frame has at most its `max_per_frame` objects.
    weights: of appearance, motion and speed in the error of an object.
  """

  objects: ObjectRecipe
  model: YoloxModel
  boxes: fields.Objects
  weights: tuple[float, ...]


def detector_arrays(model: YoloxModel) -> dict[str, np.ndarray]:
  """Return the weights of a detector as the program reads them, by flat names."""
  flat = traverse_util.flatten_dict(model.variables, sep='/')
  return {DETECTOR + name: array for name, array in flat.items()}


def detected_program(
  recipe: DetectedRecipe, platform: str | None = None
) -> Callable[[Mapping[str, jax.Array], jax.Array, jax.Array], tuple[jax.Array, ...]]:
  """Return the function from arrays, frames and rows to objects and errors.

  `frames` are uint8 [N, H, W] and `rows` int32 [B, T], the frames of each clip. Objects are found
  in the frame at position T // 2. It returns the corners of K objects, float32 [B, K, 4]; whether
  there is such an object, bool [B, K]; their errors, float32 [B, K], 0 where there is none; and the
  error of each frame, that of its worst object, float32 [B]. Last come the z-scores of the objects,
  float32 [B, K, 3], for errors with other weights.

  Args:
    recipe: what to compute. `arrays` are `program.scoring_weights`, `detector_arrays` and
      `ObjectStatistics.program_arrays`.
    platform: platform to trace for; see `program.scoring_program`.
  """

  def program(arrays, frames, rows):
    with tracing_for(platform or target_platform()):
      return _scored(recipe, arrays, frames, rows)

  return program


def _scored(recipe, arrays, frames, rows):
  height = frames.shape[1]
  weights, detector, statistics = _parts_of(arrays)
  middle = jnp.take(frames, rows[:, rows.shape[1] // 2], axis=0, mode='clip')
  found = selected(find_boxes(recipe.model, detector, middle), recipe.boxes)
  corners = found.corners.reshape(-1, 4)
  most = recipe.boxes.max_per_frame
  raw = _measured(recipe.objects, weights, frames, rows, found)
  edges = vertical_edges(corners, height)
  zscores = ObjectStatistics.in_program(statistics).zscores(edges, raw, jnp)
  errors = (jnp.maximum(zscores, 0) * np.float32(recipe.weights)).sum(1).reshape(-1, most)
  errors = jnp.where(found.valid, errors, 0)
  zscores = zscores.reshape(*errors.shape, len(recipe.weights))
  return found.corners, found.valid, errors, errors.max(1), zscores


def _parts_of(arrays: Mapping[str, jax.Array]) -> tuple[dict, dict, dict]:
  """Return the arrays of the auto-encoder, the detector and the statistics."""
  parts = {'': {}, DETECTOR: {}, IN_PROGRAM: {}}
  for name, array in arrays.items():
    prefix = next((each for each in (DETECTOR, IN_PROGRAM) if name.startswith(each)), '')
    parts[prefix][name.removeprefix(prefix)] = array
  return parts[''], traverse_util.unflatten_dict(parts[DETECTOR], sep='/'), parts[IN_PROGRAM]


def _measured(
  recipe: ObjectRecipe, weights: dict, frames: jax.Array, rows: jax.Array, found: FoundBoxes
) -> jax.Array:
  """Measure the objects that were found, in chunks; return [B K, 5].

  Places with an object come first, and chunks without any object are left out.
  """
  corners = found.corners.reshape(-1, 4)
  valid = found.valid.reshape(-1)
  order = jnp.argsort(~valid, stable=True).astype(jnp.int32)
  clips = order // found.valid.shape[1]
  size = _chunk_size(*found.valid.shape)
  program = object_program(recipe)

  def measure(index, raw):
    chosen = jax.lax.dynamic_slice_in_dim(order, index * size, size)
    clip = jax.lax.dynamic_slice_in_dim(clips, index * size, size)
    measured = program(weights, frames, rows[clip], corners[chosen])
    return raw.at[chosen].set(measured)

  chunks = (valid.sum() + size - 1) // size
  start = jnp.ones((corners.shape[0], len(RAW_MEASUREMENTS)), jnp.float32)
  return jax.lax.fori_loop(0, chunks, measure, start)


def _chunk_size(batch: Any, most: int) -> int:
  """Return the number of objects of a chunk; it divides the number of all."""
  if target_platform() == 'cpu' or not isinstance(batch, int):
    return most
  return most * math.gcd(batch, _FRAMES_PER_CHUNK)
