"""Where the batches of a timed program come from: nowhere, frames on the device, or the tf.data pipeline. As in training, on made frames."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.batches import clip_batch
from a3dcae_jax.data.device_cache import gather_clips
from a3dcae_jax.data.frame_cache import CachedVideo
from a3dcae_jax.data.windows import training_clips

INPUT_PIPELINES = ('none', 'device_cached', 'streaming')
_FRAMES = 256  # made frames: what a batch costs does not depend on their number


class TimedBatches(NamedTuple):
  """`batches`: endless iterator of what the program takes a step. `frames`: what every step reads whole, () or (uint8 [N, H, W] on the device,)."""

  batches: object
  frames: tuple


def timed_batches(setting, input_pipeline):
  """The `TimedBatches` of a `programs.Setting`.

  'none': the same clips every time, already on the device: what the program does by itself. 'device_cached': indices, copied to the device each
  step; the program gathers the clips from frames there. 'streaming': clips read by tf.data and copied ahead of the step.
  """
  if input_pipeline not in INPUT_PIPELINES:
    raise UserError(f'--input_pipeline {input_pipeline!r}: known are {", ".join(INPUT_PIPELINES)}')
  frames = np.random.default_rng(0).integers(
    0, 256, (_FRAMES, *setting.clip_shape[1:]), dtype=np.uint8
  )
  table = training_clips(
    [CachedVideo('made', 0, _FRAMES, '')], window=setting.window, strides=(1, 2, 3), every_frames=2
  )
  if input_pipeline == 'none':
    first, stride = clip_batch(table, batch_size=setting.batch, seed=0, step=0)
    clips = gather_clips(jnp.asarray(frames), first, stride, window=setting.window)
    return TimedBatches(itertools.repeat(clips), ())
  if input_pipeline == 'device_cached':
    indices = (
      jax.device_put(clip_batch(table, batch_size=setting.batch, seed=0, step=step))
      for step in itertools.count()
    )
    return TimedBatches(indices, (jax.device_put(frames),))
  from a3dcae_jax.data.pipeline import (
    prefetch_to_device,
    stream_batches,
  )  # TensorFlow, which the others do not need

  return TimedBatches(
    prefetch_to_device(
      stream_batches(frames, table, batch_size=setting.batch, window=setting.window, seed=0),
      jax.device_put,
    ),
    (),
  )


def fed(program, setting):
  """`program(carry, clips, mean_image)` as a function of (carry, batch, mean_image, *frames), `batch` and `frames` being of `TimedBatches`."""

  def step(carry, batch, mean_image, *frames):
    return program(
      carry, gather_clips(*frames, *batch, window=setting.window) if frames else batch, mean_image
    )

  return step
