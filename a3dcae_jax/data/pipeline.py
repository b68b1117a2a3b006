"""The streaming input pipeline: tf.data reads clips from the frame cache.

This is the only file outside the TFDS builders that needs TensorFlow.
"""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.batches import clip_batch
from a3dcae_jax.data.clip_reader import ClipReader
from a3dcae_jax.data.windows import ClipTable

# Batches that are read at once. A disk is fastest with many reads in flight, whatever the number of
# cores. Measured on 2 cores with a cold cache, in clips/s of 16x224x224: 2 readers 470 to 570,
# 4 readers 920, 8 readers 1330. All readers together use at most _IN_FLIGHT_BYTES.
_MAX_READERS = 8
_IN_FLIGHT_BYTES = 2**28
_PREFETCHED_BATCHES = 2


def import_tensorflow() -> ModuleType:
  """Return TensorFlow, kept off the accelerator, which JAX alone uses.

  Raises:
    UserError: if it does not import.
  """
  try:
    import tensorflow as tf
  except Exception as error:  # a broken installation raises errors of many types
    reason = (str(error) or type(error).__name__).splitlines()[0]
    raise UserError(
      f'train.input_pipeline=streaming needs TensorFlow, which does not import ({reason}): install '
      'tensorflow-cpu again, or set device_cached if the frames fit on the device'
    ) from None
  tf.config.set_visible_devices([], 'GPU')
  return tf


def stream_batches(
  frames: np.ndarray,
  table: ClipTable,
  *,
  batch_size: int,
  window: int,
  seed: int,
  first_step: int = 0,
  rows: slice = slice(None),
) -> Iterator[np.ndarray]:
  """Yield the batches from `first_step` on, without end.

  The clips are the same, bit for bit, as those of `device_cache.gather_clips`. Reading runs in
  parallel with the consumer and touches only the frames that a clip needs.

  Args:
    frames: uint8 [N, H, W], usually memory-mapped.
    table: the training clips.
    batch_size: as in `clip_batch`.
    window: frames per clip, T.
    seed: as in `clip_batch`.
    first_step: number of the first batch.
    rows: the part of each batch that is read and yielded: the share of one process.

  Returns:
    Iterator over uint8 [B, T, H, W], where B is the number of clips in `rows`.
  """
  tf = import_tensorflow()
  reader = ClipReader(frames, window=window)
  all_rows = range(batch_size)
  count = len(all_rows[rows])

  def read(step):
    first, stride = clip_batch(table, batch_size=batch_size, seed=seed, step=int(step))
    return reader(first[rows], stride[rows])

  def load(step):
    clips = tf.numpy_function(read, [step], tf.uint8, stateful=False)
    return tf.ensure_shape(clips, (count, window, *frames.shape[1:]))

  batch_bytes = batch_size * window * frames[0].size
  readers = min(_MAX_READERS, max(2, _IN_FLIGHT_BYTES // batch_bytes))

  options = tf.data.Options()
  # The default is one thread per core, which leaves a disk idle.
  options.threading.private_threadpool_size = readers

  dataset = tf.data.Dataset.counter(start=first_step, dtype=tf.int64)
  dataset = dataset.map(load, num_parallel_calls=readers, deterministic=True)
  dataset = dataset.prefetch(_PREFETCHED_BATCHES).with_options(options)
  return dataset.as_numpy_iterator()


def prefetch_to_device(batches: Iterable[Any], put: Callable[[Any], Any]) -> Iterator[Any]:
  """Yield batches on the device, with two on their way ahead of the consumer.

  Args:
    batches: batches on the host.
    put: starts the copy of a batch to the device and returns at once.
  """
  batches = iter(batches)
  queue = collections.deque()
  for batch in itertools.islice(batches, _PREFETCHED_BATCHES):
    queue.append(put(batch))
  while queue:
    yield queue.popleft()
    for batch in itertools.islice(batches, 1):
      queue.append(put(batch))
