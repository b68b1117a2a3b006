"""The tf.data pipeline: clips read by index from the memory-mapped frame cache. The only file of the core that needs TensorFlow."""

import collections
import itertools

from a3dcae_jax.data.batches import clip_batch
from a3dcae_jax.data.clip_reader import ClipReader

# Batches read at once: a disk is fastest with many reads in flight, whatever the number of cores (measured on 2 cores, cold, clips/s of
# 16x224x224: 2 readers 470 to 570, 4 920, 8 1330); together they take no more than this.
_MOST_READERS, _IN_FLIGHT_BYTES = 8, 2**28


def stream_batches(
  frames, table, *, batch_size, window, seed, first_step=0, rows=slice(None), prefetch_batches=2
):
  """Endless batches from batch `first_step` on: the same clips, bit for bit, that `resident.gather_clips` gives.

  Reading runs in parallel with the consumer and touches only the frames that a clip needs.

  Args:
    frames: uint8 [N, H, W], usually memory-mapped. table: `windows.ClipTable`. Others as in `batches.clip_batch`.
    rows: of each batch, those that are read and given: a process's share of it.

  Returns:
    Iterator of uint8 arrays [B, T, H, W], B being as many as `rows` are.
  """
  import tensorflow as tf

  tf.config.set_visible_devices([], 'GPU')  # the accelerator is JAX's alone
  reader, count = ClipReader(frames, window=window), len(range(batch_size)[rows])

  def read(step):
    first, stride = clip_batch(table, batch_size=batch_size, seed=seed, step=int(step))
    return reader(first[rows], stride[rows])

  def load(step):
    clips = tf.numpy_function(read, [step], tf.uint8, stateful=False)
    return tf.ensure_shape(clips, (count, window, *frames.shape[1:]))

  dataset = tf.data.Dataset.counter(start=first_step, dtype=tf.int64)
  readers = min(_MOST_READERS, max(2, _IN_FLIGHT_BYTES // (batch_size * window * frames[0].size)))
  dataset = dataset.map(load, num_parallel_calls=readers, deterministic=True).prefetch(
    prefetch_batches
  )
  options = tf.data.Options()
  options.threading.private_threadpool_size = (
    readers  # tf.data's own default is one thread a core, which leaves a disk idle
  )
  dataset = dataset.with_options(options)
  return dataset.as_numpy_iterator()


def prefetch_to_device(batches, put, *, size=2):
  """Keeps `size` batches on their way to the device ahead of the one in use; `put` starts a copy and returns at once."""
  queue = collections.deque(put(batch) for batch in itertools.islice(batches, size))
  while queue:
    yield queue.popleft()
    queue.extend(put(batch) for batch in itertools.islice(batches, 1))
