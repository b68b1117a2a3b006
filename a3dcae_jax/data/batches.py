"""The clips of each batch: a function of the seed and the step alone.

A run can therefore resume at any step, on any number of devices.
"""

import functools

import numpy as np

from a3dcae_jax.data.windows import ClipTable


def clip_batch(
  table: ClipTable, *, batch_size: int, seed: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
  """Return the clips of one batch: (first int32 [B], stride float32 [B]).

  `batch_indices` chooses them.
  """
  chosen = batch_indices(len(table.first), batch_size=batch_size, seed=seed, step=step)
  return table.first[chosen].astype(np.int32), table.stride[chosen]


def batch_indices(count: int, *, batch_size: int, seed: int, step: int) -> np.ndarray:
  """Return the examples of one batch, int64 [B].

  Examples are drawn from an endless sequence of epochs. Each epoch is a permutation of all of them,
  so each occurs once in every `count` positions of the sequence. Batch k is the positions k * B to
  (k + 1) * B - 1.

  Args:
    count: number of examples.
    batch_size: examples per batch, B.
    seed: of the permutations.
    step: number of the batch, k, from 0.
  """
  start = step * batch_size
  positions = np.arange(start, start + batch_size)
  epochs = positions // count

  chosen = np.empty(batch_size, np.int64)
  for epoch in np.unique(epochs):
    in_epoch = epochs == epoch
    permutation = _permutation(count, seed, int(epoch))
    chosen[in_epoch] = permutation[positions[in_epoch] % count]

  return chosen


@functools.lru_cache(maxsize=2)  # a batch has clips of two epochs at most, if epochs are longer
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
  bits = np.random.Philox(key=[seed, epoch])
  return np.random.Generator(bits).permutation(count)
