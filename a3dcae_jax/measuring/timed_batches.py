"""Batches for a timed program, from one of three input pipelines.

The frames are random. The pipelines are those of training.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.batches import clip_batch
from a3dcae_jax.data.device_cache import gather_clips
from a3dcae_jax.data.frame_cache import CachedVideo
from a3dcae_jax.data.windows import ClipTable, training_clips
from a3dcae_jax.measuring.programs import Setting

INPUT_PIPELINES = ('none', 'device_cached', 'streaming')
_NUM_FRAMES = 256  # does not affect the cost of a batch


class TimedBatches(NamedTuple):
  """Input of a timed program.

  Attributes:
    batches: endless; one item per step, clips or indices of clips.
    frames: () if items are clips; (uint8 [N, H, W] on the device,) if they are indices.
  """

  batches: Iterator[Any]
  frames: tuple[jax.Array, ...]


def check_input_pipeline(name: str) -> None:
  """Raise a `UserError` if there is no such input pipeline."""
  if name not in INPUT_PIPELINES:
    raise UserError(f'--input_pipeline {name!r}: known are {", ".join(INPUT_PIPELINES)}')


def timed_batches(setting: Setting, input_pipeline: str) -> TimedBatches:
  """Make the input of a timed program.

  Args:
    setting: the program, which has the shape of a batch.
    input_pipeline: 'none': the same clips each time, already on the device, to time the program
      alone. 'device_cached': indices, copied to the device in each step; the program gathers the
      clips from frames on the device. 'streaming': clips read by tf.data and copied to the device
      ahead of the step.

  Raises:
    UserError: if there is no such input pipeline.
  """
  check_input_pipeline(input_pipeline)
  shape = (_NUM_FRAMES, *setting.clip_shape[1:])
  frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
  video = CachedVideo('random', 0, _NUM_FRAMES, '')
  clips = training_clips([video], window=setting.window, strides=(1, 2, 3))
  if input_pipeline == 'none':
    first, stride = clip_batch(clips, batch_size=setting.batch, seed=0, step=0)
    batch = gather_clips(jnp.asarray(frames), first, stride, window=setting.window)
    return TimedBatches(itertools.repeat(batch), ())
  if input_pipeline == 'device_cached':
    indices = _indices(clips, setting.batch)
    return TimedBatches(indices, (jax.device_put(frames),))
  # Imported here, because the other pipelines do not need TensorFlow.
  from a3dcae_jax.data.pipeline import prefetch_to_device, stream_batches

  read = stream_batches(frames, clips, batch_size=setting.batch, window=setting.window, seed=0)
  return TimedBatches(prefetch_to_device(read, jax.device_put), ())


def _indices(clips: ClipTable, batch_size: int) -> Iterator[Any]:
  """Yield the frame indices of each batch, on the device."""
  for step in itertools.count():
    batch = clip_batch(clips, batch_size=batch_size, seed=0, step=step)
    yield jax.device_put(batch)


def with_batches(program: Callable[..., Any], setting: Setting) -> Callable[..., Any]:
  """Make a program take its input from `TimedBatches`.

  Args:
    program: a function of (carry, clips, mean_image).
    setting: the program, which has the number of frames per clip.

  Returns:
    A function of (carry, batch, mean_image, *frames), with `batch` and `frames` as in
    `TimedBatches`.
  """

  def step(carry: Any, batch: Any, mean_image: jax.Array, *frames: jax.Array) -> Any:
    clips = gather_clips(*frames, *batch, window=setting.window) if frames else batch
    return program(carry, clips, mean_image)

  return step
