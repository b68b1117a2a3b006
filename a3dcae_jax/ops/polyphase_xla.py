"""Products of the polyphase layers for XLA: one product over all four phases.

`ops.polyphase` explains the layers.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from a3dcae_jax.ops.conv_algorithm import materialise
from a3dcae_jax.ops.pooling_xla import running_argmax

_F32 = jnp.float32


def pool(
  patches: jax.Array,
  weights: jax.Array,
  shift: jax.Array,
  activation: Callable[[jax.Array], jax.Array],
) -> tuple[jax.Array, jax.Array]:
  """Compute activation(max over phases of patches @ weights + shift).

  Args:
    patches: [B, T, H, W, K].
    weights: [K, 4, F].
    shift: [F].
    activation: a non-decreasing function.

  Returns:
    Values [B, T, H, W, F] in the data type of `patches`, and the phase of each maximum.
  """
  phases = _phases(patches, weights, _F32)
  maxima, pool_indices = materialise(running_argmax(phases))
  values = activation(maxima + shift)
  return values.astype(patches.dtype), pool_indices


def gather(patches: jax.Array, weights: jax.Array, pool_indices: jax.Array) -> jax.Array:
  """Compute patches @ weights for the recorded phase of each window alone.

  Args:
    patches: [B, T, H, W, K].
    weights: [K, 4, F].
    pool_indices: [B, T, H, W, F].

  Returns:
    [B, T, H, W, F], data type of `patches`.
  """
  zero = jnp.zeros((), patches.dtype)
  phases = _phases(patches, weights, patches.dtype)
  total = 0
  for index, phase in enumerate(phases):
    recorded = pool_indices == index
    total = total + jnp.where(recorded, phase, zero)
  return total


def unpool(values: jax.Array, pool_indices: jax.Array, weights: jax.Array) -> jax.Array:
  """Multiply every value by the weights of its recorded phase.

  Args:
    values: [B, T, H, W, F].
    pool_indices: [B, T, H, W, F].
    weights: [K, 4, F].

  Returns:
    Patches [B, T, H, W, K].
  """
  value_rows = _in_phases(values, pool_indices)
  flat_weights = weights.reshape(weights.shape[0], -1)
  return materialise(value_rows @ flat_weights.T)


def weight_gradient(patches: jax.Array, values: jax.Array, pool_indices: jax.Array) -> jax.Array:
  """Add up patches times values over all windows, each value in its recorded phase.

  Args:
    patches: [B, T, H, W, K].
    values: [B, T, H, W, F].
    pool_indices: [B, T, H, W, F].

  Returns:
    float32 [K, 4, F].
  """
  taps = patches.shape[-1]
  features = values.shape[-1]
  patch_rows = patches.reshape(-1, taps)
  value_rows = _in_phases(values, pool_indices)
  value_rows = value_rows.reshape(len(patch_rows), -1)
  product = jnp.einsum(
    'nk,nf->kf',
    patch_rows,
    value_rows,
    preferred_element_type=_F32,
  )
  return product.reshape(taps, 4, features)


def _phases(patches: jax.Array, weights: jax.Array, dtype: DTypeLike) -> list[jax.Array]:
  """Compute patches @ weights, one array [B, T, H, W, F] per phase."""
  taps, _, features = weights.shape
  flat_weights = weights.reshape(taps, 4 * features)
  product = jnp.matmul(patches, flat_weights, preferred_element_type=dtype)
  product = materialise(product)
  phases = []
  for start in range(0, 4 * features, features):
    phase = lax.slice_in_dim(product, start, start + features, axis=-1)
    phases.append(phase)
  return phases


def _in_phases(values: jax.Array, pool_indices: jax.Array) -> jax.Array:
  """Return [..., 4 * F]: each value in its recorded phase, zero in the others."""
  *leading, features = values.shape
  phases = jnp.arange(4, dtype=jnp.uint8)[:, None]
  selected = jnp.where(
    jnp.expand_dims(pool_indices, -2) == phases,
    jnp.expand_dims(values, -2),
    jnp.zeros((), values.dtype),
  )
  selected = selected.reshape(*leading, 4 * features)
  return materialise(selected)
