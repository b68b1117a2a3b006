"""The tf.data pipeline: clips read by index from the memory-mapped frame store. The only file of the core that needs TensorFlow."""

import collections
import itertools
import os

from a3dcae_jax.data.batches import clip_batch
from a3dcae_jax.data.clip_reader import ClipReader


def stream_batches(frames, table, *, batch_size, window, seed, first_step=0, prefetch_batches=2):
  """Endless batches from batch `first_step` on: the same clips, bit for bit, that `resident.gather_clips` gives.

  Reading runs in parallel with the consumer and touches only the frames that a clip needs.

  Args:
    frames: uint8 [N, H, W], usually memory-mapped. table: `windows.ClipTable`. Others as in `batches.clip_batch`.

  Returns:
    Iterator of uint8 arrays [B, T, H, W].
  """
  import tensorflow as tf

  tf.config.set_visible_devices([], 'GPU')  # the accelerator is JAX's alone
  reader = ClipReader(frames, window=window)

  def read(step):
    return reader(*clip_batch(table, batch_size=batch_size, seed=seed, step=int(step)))

  def load(step):
    clips = tf.numpy_function(read, [step], tf.uint8, stateful=False)
    return tf.ensure_shape(clips, (batch_size, window, *frames.shape[1:]))

  dataset = tf.data.Dataset.counter(start=first_step, dtype=tf.int64)
  dataset = dataset.map(load, num_parallel_calls=os.cpu_count() or 1, deterministic=True).prefetch(prefetch_batches)
  return dataset.as_numpy_iterator()


def prefetch_to_device(batches, put, *, size=2):
  """Keeps `size` batches on their way to the device ahead of the one in use; `put` starts a copy and returns at once."""
  queue = collections.deque(put(batch) for batch in itertools.islice(batches, size))
  while queue:
    yield queue.popleft()
    queue.extend(put(batch) for batch in itertools.islice(batches, 1))
