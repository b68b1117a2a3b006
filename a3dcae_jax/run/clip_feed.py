"""Training clips of whole frames, as the training loop takes them."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import fields
from a3dcae_jax.data.batches import clip_batch
from a3dcae_jax.data.device_cache import fits_on_device, gather_clips
from a3dcae_jax.data.frame_cache import CachedVideo, Split, videos_of
from a3dcae_jax.data.pipeline import prefetch_to_device, stream_batches
from a3dcae_jax.data.windows import ClipTable, training_clips
from a3dcae_jax.evaluation.calibration import InputStatistics
from a3dcae_jax.evaluation.program import input_function
from a3dcae_jax.models.dtypes import gradient_dtype
from a3dcae_jax.models.inputs import clip_means
from a3dcae_jax.models.networks import make_networks
from a3dcae_jax.run.feed import Feed
from a3dcae_jax.training import parallel, processes
from a3dcae_jax.training.state import TrainState, make_optimizer
from a3dcae_jax.training.step import make_train_step


class TrainingData(NamedTuple):
  """The training videos of a run with their input statistics.

  Attributes:
    split: the training split.
    inputs: mean images and perspective.
    ids: int32 [V], mean image id of each training video.
  """

  split: Split
  inputs: InputStatistics
  ids: np.ndarray


def clip_feed(settings: fields.Config, data: TrainingData) -> Feed:
  """Return the feed of a run on whole frames."""
  input_pipeline = shared_input_pipeline(settings.train.input_pipeline, data.split.frames)
  videos = trained_on(data.split.videos, settings.train.holdout_videos)
  table = training_clips(videos, window=settings.clips.window, strides=settings.clips.strides)
  shared = [data.inputs.input_means]
  if input_pipeline == 'device_cached':
    shared.append(np.asarray(data.split.frames))
  return Feed(
    description=f'{len(table.first)} training clips',
    input_pipeline=input_pipeline,
    step=make_step(settings, data.inputs.row_scale, input_pipeline),
    shared=shared,
    batches=lambda first_step: batches(settings, data, input_pipeline, table, first_step),
  )


def shared_input_pipeline(name: str, frames: np.ndarray) -> str:
  """Return the input pipeline that process 0 chooses, the same on every process."""
  return processes.run_on_primary('input pipeline', lambda: choose_input_pipeline(name, frames))


def make_step(
  settings: fields.Config,
  row_scale: tuple[float, float],
  input_pipeline: str,
  axis_name: str | None = parallel.AXIS,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
  """Return the update of one replica.

  Args:
    settings: settings of the run.
    row_scale: reference speed of the top and the bottom row.
    input_pipeline: 'streaming' or 'device_cached'.
    axis_name: name of the axis over the replicas.

  Returns:
    For 'streaming', a function (state, batch, mean images) -> (state, metrics), where a batch is
    (clips, ids). For 'device_cached' it takes the frames on the device as a fourth argument, and a
    batch is (first, stride, ids).
  """
  generator, discriminator = make_networks(settings.model, axis_name=axis_name)
  step = make_train_step(
    generator,
    discriminator,
    make_optimizer(settings.optimizer, settings.train.steps),
    settings.loss,
    seed=settings.seed,
    prepare=input_function(settings.input, row_scale),
    axis_name=axis_name,
    gradient_dtype=gradient_dtype(settings.model.dtype),
  )
  window = settings.clips.window

  def streaming_step(state, batch, mean_images):
    clips, ids = batch
    return step(state, clips, clip_means(mean_images, ids))

  def device_cached_step(state, batch, mean_images, frames):
    first, stride, ids = batch
    clips = gather_clips(frames, first, stride, window=window)
    return step(state, clips, clip_means(mean_images, ids))

  return device_cached_step if input_pipeline == 'device_cached' else streaming_step


def choose_input_pipeline(name: str, frames: np.ndarray) -> str:
  """Return the input pipeline; for 'auto', 'device_cached' if the frames fit."""
  if name != 'auto':
    return name
  return 'device_cached' if fits_on_device(frames.size) else 'streaming'


def trained_on(videos: Sequence[CachedVideo], holdout: int) -> Sequence[CachedVideo]:
  """Return the training videos without the last `holdout`, which only calibrate.

  Raises:
    UserError: if no video would be left.
  """
  if holdout and holdout >= len(videos):
    raise UserError(
      f'train.holdout_videos (={holdout}) must leave some of the {len(videos)} training videos'
    )
  return videos[: len(videos) - holdout]


def batches(
  settings: fields.Config,
  data: TrainingData,
  input_pipeline: str,
  table: ClipTable,
  first_step: int,
) -> Iterator[Any]:
  """Yield batches on the devices without end, the first for update `first_step + 1`.

  A batch holds the rows of this process; `make_step` describes its parts.
  """
  size = settings.train.batch_size
  rows = parallel.my_rows(size)

  def indices():
    for step in itertools.count(first_step):
      first, stride = clip_batch(table, batch_size=size, seed=settings.seed, step=step)
      ids = data.ids[videos_of(data.split, first[rows])]
      yield first[rows], stride[rows], ids

  if input_pipeline == 'device_cached':
    return (parallel.shard(batch) for batch in indices())
  clips = stream_batches(
    data.split.frames,
    table,
    batch_size=size,
    window=settings.clips.window,
    seed=settings.seed,
    first_step=first_step,
    rows=rows,
  )
  pairs = ((batch, ids) for batch, (_, _, ids) in zip(clips, indices(), strict=False))
  return prefetch_to_device(pairs, parallel.shard)
