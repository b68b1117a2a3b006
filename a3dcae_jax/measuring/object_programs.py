"""The measured programs of objects: from frames to errors; the update.

The frames are resident, and the programs cut the objects out of them. `object_infer` measures
objects, `object_train` is the training step; both have the networks of the variant `best`.
`object_detect` is the one program that also finds the objects, by YOLOX nano at 416x416.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.config import checked, fields, make_config
from a3dcae_jax.evaluation.detected_program import (
  DetectedRecipe,
  detected_program,
  detector_arrays,
)
from a3dcae_jax.evaluation.object_scorer import make_object_recipe, object_program
from a3dcae_jax.evaluation.program import scoring_weights
from a3dcae_jax.measuring.programs import DETECT_MODE, OBJECT_PRESET, Setting
from a3dcae_jax.models.inputs import num_streams
from a3dcae_jax.models.networks import make_networks
from a3dcae_jax.models.yolox import Yolox, YoloxSize
from a3dcae_jax.objects.yolox_file import YoloxModel
from a3dcae_jax.serving.object_statistics import ObjectStatistics
from a3dcae_jax.training.object_step import make_object_step
from a3dcae_jax.training.state import TrainState, init_state, make_optimizer

_NUM_FRAMES = 256  # does not affect the cost of a batch
_SIDES_PX = (20, 40)  # of the boxes
_YOLOX_NANO = YoloxSize(width=16, depth=1, depthwise=True, classes=80)
_YOLOX_PX = (416, 416)


def object_settings(setting: Setting) -> fields.Config:
  """Return the settings of a run with the program's data type and memory."""
  settings = checked(make_config('ucsd_ped2', OBJECT_PRESET))
  model = dataclasses.replace(settings.model, dtype=setting.dtype, remat=setting.remat)
  return dataclasses.replace(settings, model=model)


def fresh_object_state(settings: fields.Config) -> TrainState:
  """Return the state of a run on objects before its first update."""
  streams = num_streams(settings.input.kind)
  generator, discriminator = make_networks(settings.model, streams=streams)
  size = settings.objects.crop_px
  return init_state(
    generator,
    discriminator,
    make_optimizer(settings.optimizer, settings.train.steps),
    clip_shape=(settings.clips.window, size, size),
    seed=0,
    streams=streams,
  )


def object_error_program(setting: Setting) -> Callable[..., jax.Array]:
  """Return the function (weights, (rows, corners), frames) -> measurements [B, 5]."""
  recipe = make_object_recipe(object_settings(setting))
  program = object_program(recipe, **_networks(setting))

  def errors(weights, batch, frames):
    return program(weights, frames, *batch)

  return errors


def object_detect_program(setting: Setting) -> Callable[..., tuple[jax.Array, ...]]:
  """Return the function of arrays, (rows,) and frames, see `detected_program`."""
  settings = object_settings(setting)
  recipe = make_object_recipe(settings)
  weights = settings.eval.object_weights
  model = YoloxModel(_YOLOX_NANO, _YOLOX_PX, {})
  program = detected_program(DetectedRecipe(recipe, model, settings.objects, weights))

  def scored(arrays, batch, frames):
    return program(arrays, frames, *batch)

  return scored


def detect_arrays(weights: Any, model: YoloxModel) -> dict[str, Any]:
  """Return the arrays of `detected_program`, with random statistics of objects.

  Args:
    weights: arrays of the auto-encoders.
    model: the detector.
  """
  rng = np.random.default_rng(0)
  statistics = ObjectStatistics.fit(rng.random((50, 2)), rng.random((50, 5)))
  return {**weights, **detector_arrays(model), **statistics.program_arrays()}


def _random_detector() -> YoloxModel:
  frames = jnp.zeros((1, *_YOLOX_PX), jnp.float32)
  variables = Yolox(_YOLOX_NANO).init(jax.random.key(0), frames)
  return YoloxModel(_YOLOX_NANO, _YOLOX_PX, variables)


def object_train_program(setting: Setting, axis_name: str | None = None) -> Callable[..., Any]:
  """Return the update (state, batch, frames) -> (state, metrics)."""
  settings = object_settings(setting)
  return make_object_step(settings, 'device_cached', axis_name, **_networks(setting))


def object_carry(setting: Setting) -> Any:
  """Return the first argument of a program: the state, or the weights."""
  state = fresh_object_state(object_settings(setting))
  if setting.trains:
    return state
  weights = scoring_weights(state)
  if setting.mode == DETECT_MODE:
    return detect_arrays(weights, _random_detector())
  return weights


def object_batch(setting: Setting) -> tuple[tuple[jax.Array, ...], jax.Array]:
  """Return a batch of random objects, and the frames that they are in."""
  settings = object_settings(setting)
  height, width = settings.data.height, settings.data.width
  rng = np.random.default_rng(0)
  frames = rng.integers(0, 256, (_NUM_FRAMES, height, width), np.uint8)
  first = rng.integers(0, _NUM_FRAMES - setting.window, (setting.batch, 1))
  rows = (first + np.arange(setting.window)).astype(np.int32)
  most = np.asarray([width, height]) - _SIDES_PX[1]
  low = rng.uniform(0, 1, (setting.batch, 2)) * most
  high = low + rng.uniform(*_SIDES_PX, (setting.batch, 2))
  corners = np.concatenate([low, high], axis=1).astype(np.float32)
  batch = (jnp.asarray(rows),)
  if setting.mode != DETECT_MODE:
    batch += (jnp.asarray(corners),)
  if setting.trains:
    batch += (jnp.asarray(rng.random(setting.batch) < 0.5),)
  return batch, jnp.asarray(frames)


def object_arguments(setting: Setting) -> tuple[Any, Any, tuple[jax.Array, ...]]:
  """Return the arguments of a timed program: carry, batches without end, frames."""
  batch, frames = object_batch(setting)
  return object_carry(setting), itertools.repeat(batch), (frames,)


def _networks(setting: Setting) -> dict[str, Any]:
  return {'conv_algorithm': setting.conv_algorithm, 'polyphase': setting.polyphase}
