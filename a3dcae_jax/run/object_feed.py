"""Training clips of objects, as the training loop takes them."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import fields
from a3dcae_jax.data.batches import batch_indices
from a3dcae_jax.data.frame_cache import Split
from a3dcae_jax.objects.boxes import Boxes
from a3dcae_jax.objects.clips import ObjectTable, object_rows, object_table
from a3dcae_jax.run.clip_feed import shared_input_pipeline, trained_on
from a3dcae_jax.run.feed import Feed
from a3dcae_jax.training import parallel
from a3dcae_jax.training.object_step import make_object_step


def object_feed(settings: fields.Config, split: Split, boxes: Boxes) -> Feed:
  """Return the feed of a run on objects.

  Args:
    settings: settings of the run.
    split: the training split.
    boxes: its boxes, already selected.

  Raises:
    UserError: if there are no boxes in the videos to train on.
  """
  table = training_objects(settings, split, boxes)
  input_pipeline = shared_input_pipeline(settings.train.input_pipeline, split.frames)
  shared = [np.asarray(split.frames)] if input_pipeline == 'device_cached' else []
  return Feed(
    description=f'{len(table.frame)} training objects',
    input_pipeline=input_pipeline,
    step=make_object_step(settings, input_pipeline),
    shared=shared,
    batches=lambda first_step: object_batches(settings, split, input_pipeline, table, first_step),
  )


def training_objects(settings: fields.Config, split: Split, boxes: Boxes) -> ObjectTable:
  """Return the objects of the videos to train on."""
  videos = trained_on(split.videos, settings.train.holdout_videos)
  last = videos[-1]
  table = object_table(boxes, split)
  table = table.take(table.frame < last.first + last.num_frames)
  if not len(table.frame):
    raise UserError(
      f'objects.detector {settings.objects.detector!r} finds no object in the training videos: '
      'lower objects.min_score or objects.min_size_px, or use another detector'
    )
  return table


def object_batches(
  settings: fields.Config,
  split: Split,
  input_pipeline: str,
  table: ObjectTable,
  first_step: int,
) -> Iterator[Any]:
  """Yield batches on the devices without end, the first for update `first_step + 1`.

  A batch holds the rows of this process; `make_object_step` describes its parts.
  """
  size = settings.train.batch_size
  mine = parallel.my_rows(size)

  def indices():
    for step in itertools.count(first_step):
      chosen = batch_indices(len(table.frame), batch_size=size, seed=settings.seed, step=step)
      objects = table.take(chosen[mine])
      rows = object_rows(objects.frame, objects.low, objects.high, window=settings.clips.window)
      mirrored = np.zeros(size, bool)
      if settings.objects.mirrored:
        mirrored = _drawn_mirrors(settings.seed, step, size)
      yield rows, objects.corners, mirrored[mine]

  if input_pipeline == 'device_cached':
    return (parallel.shard(batch) for batch in indices())
  # TensorFlow is imported only here, since a device-cached run does not need it.
  from a3dcae_jax.data.pipeline import prefetch_to_device

  clips = ((split.frames[rows], *rest) for rows, *rest in indices())
  return prefetch_to_device(clips, parallel.shard)


def _drawn_mirrors(seed: int, step: int, size: int) -> np.ndarray:
  """Draw which clips of a batch are mirrored, bool [B], by seed and step alone."""
  bits = np.random.Philox(key=[seed, step], counter=[0, 0, 0, 1])  # differs from permutations
  return np.random.Generator(bits).random(size) < 0.5
