"""Steps that the kernels of pooling and of polyphase layers share.

A phase is one position in the pool window: the values of a map at that position of every window.
These functions run inside Pallas kernels, so they use only operations that all back ends of Pallas
support.
"""

import jax
import jax.numpy as jnp

Argmax = tuple[jax.Array, jax.Array]


def update_argmax(best: Argmax | None, phase: jax.Array, index: int) -> Argmax:
  """Update a running maximum with one more phase.

  Args:
    best: the maximum so far and the int32 index of its phase; None before the first phase.
    phase: the next values.
    index: index of this phase.

  Returns:
    The new maximum and index. The first of equal maxima wins, and a NaN wins over every number.
  """
  if best is None:
    return phase, jnp.zeros(phase.shape, jnp.int32)
  maximum, indices = best
  larger = phase > maximum
  # A NaN differs from itself.
  first_nan = (phase != phase) & (maximum == maximum)
  better = larger | first_nan
  maximum = jnp.where(better, phase, maximum)
  indices = jnp.where(better, index, indices)
  return maximum, indices


def masked_phases(values: jax.Array, pool_indices: jax.Array) -> list[jax.Array]:
  """Return the values recorded at each position of a 1x2x2 window, zero elsewhere.

  Args:
    values: any shape.
    pool_indices: same shape, 0 to 3.
  """
  pool_indices = pool_indices.astype(jnp.int32)
  phases = []
  for index in range(4):
    recorded = pool_indices == index
    zero = jnp.zeros((), values.dtype)
    phases.append(jnp.where(recorded, values, zero))
  return phases
