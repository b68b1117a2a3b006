"""Which clips make batch k: a function of (seed, k) alone, so a run resumes anywhere and on any number of devices."""

import functools

import numpy as np


def clip_batch(table, *, batch_size, seed, step):
  """Clips of batch `step` (0-based): positions step*B .. (step+1)*B of an endless row of shuffled epochs.

  Args:
    table: `windows.ClipTable` of M clips. batch_size: B. seed, step: what the batch depends on.

  Returns:
    (first int32 [B], stride float32 [B]). Each clip comes once in every M positions.
  """
  count = len(table.first)
  positions = np.arange(step * batch_size, (step + 1) * batch_size)
  epochs = positions // count
  chosen = np.empty(batch_size, np.int64)
  for epoch in np.unique(epochs):
    here = epochs == epoch
    chosen[here] = _permutation(count, seed, int(epoch))[positions[here] % count]
  return table.first[chosen].astype(np.int32), table.stride[chosen]


@functools.lru_cache(maxsize=2)  # a batch straddles two epochs at most, if they are longer than it
def _permutation(count, seed, epoch):
  return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(count)
