"""One update of the networks from objects, cut out of frames on the device."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from a3dcae_jax.config import fields
from a3dcae_jax.models.dtypes import gradient_dtype
from a3dcae_jax.models.inputs import num_streams, object_input
from a3dcae_jax.models.networks import make_networks
from a3dcae_jax.ops.crops import crop_clips
from a3dcae_jax.training import parallel
from a3dcae_jax.training.state import TrainState, make_optimizer
from a3dcae_jax.training.step import make_train_step


def make_object_step(
  settings: fields.Config,
  input_pipeline: str,
  axis_name: str | None = parallel.AXIS,
  **networks: Any,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
  """Return the update of one replica.

  Args:
    settings: settings of the run.
    input_pipeline: 'streaming' or 'device_cached'.
    axis_name: name of the axis over the replicas; None for a single replica.
    **networks: further arguments of `make_networks`.

  Returns:
    For 'device_cached', a function (state, batch, frames) -> (state, metrics), where a batch is
    (rows [B, T], corners [B, 4], mirrored [B]). For 'streaming', a function (state, batch), where
    the batch has clips uint8 [B, T, H, W] in place of the rows.
  """
  generator, discriminator = make_networks(
    settings.model,
    axis_name=axis_name,
    streams=num_streams(settings.input.kind),
    **networks,
  )
  prepare = functools.partial(object_input, kind=settings.input.kind)
  step = make_train_step(
    generator,
    discriminator,
    make_optimizer(settings.optimizer, settings.train.steps),
    settings.loss,
    seed=settings.seed,
    prepare=lambda crops, _: prepare(crops),
    axis_name=axis_name,
    gradient_dtype=gradient_dtype(settings.model.dtype),
  )
  no_mean_image = jnp.zeros(())

  def object_step(state, frames, rows, corners, mirrored):
    crops = crop_clips(frames, rows, corners, size=settings.objects.crop_px)
    crops = jnp.where(mirrored[:, None, None, None], crops[..., ::-1], crops)
    return step(state, crops, no_mean_image)

  def device_cached_step(state, batch, frames):
    rows, corners, mirrored = batch
    return object_step(state, frames, rows, corners, mirrored)

  def streaming_step(state, batch):
    clips, corners, mirrored = batch
    count, window, *image = clips.shape
    rows = jnp.arange(count * window, dtype=jnp.int32).reshape(count, window)
    return object_step(state, clips.reshape(-1, *image), rows, corners, mirrored)

  return device_cached_step if input_pipeline == 'device_cached' else streaming_step
