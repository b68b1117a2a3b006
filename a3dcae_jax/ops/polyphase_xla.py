"""The products of the phase-split outer layers as XLA computes them: one matrix product over the four phases side by side.

`ops.outer` says what each computes; `weights` are [K, 4, F]. `ops.outer_pallas` has the same four for TPUs.
"""

import jax.numpy as jnp
from jax import lax

from a3dcae_jax.ops.conv_algorithm import laid_out
from a3dcae_jax.ops.pooling_xla import running_argmax

_F32 = jnp.float32


def pool(patches, weights, shift, activation):
  """(values, places): activation(max over phases of patches @ weights + shift) and the phase that had it."""
  values, places = laid_out(running_argmax(_phases(patches, weights, _F32)))
  return activation(values + shift).astype(patches.dtype), places


def select(patches, weights, places):
  """patches @ weights, of each four phases the one at `places`: [B, T, H, W, F]."""
  zero = jnp.zeros((), patches.dtype)
  return sum(
    jnp.where(places == place, phase, zero)
    for place, phase in enumerate(_phases(patches, weights, patches.dtype))
  )


def spread(values, places, weights):
  """Patches [B, T, H, W, K]: every value times the weights of its place."""
  return laid_out(_masked(values, places) @ weights.reshape(weights.shape[0], -1).T)


def weight_gradient(patches, values, places):
  """[K, 4, F] float32: the sum over windows of patches times values, each value at its place."""
  rows, masked = patches.reshape(-1, patches.shape[-1]), _masked(values, places)
  product = jnp.einsum(
    'nk,nf->kf', rows, masked.reshape(len(rows), -1), preferred_element_type=_F32
  )
  return product.reshape(patches.shape[-1], 4, values.shape[-1])


def _phases(patches, weights, dtype):
  taps, _, features = weights.shape
  product = laid_out(
    jnp.matmul(patches, weights.reshape(taps, 4 * features), preferred_element_type=dtype)
  )
  return [
    lax.slice_in_dim(product, place * features, (place + 1) * features, axis=-1)
    for place in range(4)
  ]


def _masked(values, places):
  """[..., F] -> [..., 4 * F]: each value in the phase of its place, zero in the others. Laid out once for whoever reads it."""
  phases = jnp.arange(4, dtype=jnp.uint8)[:, None]
  spread_out = jnp.where(
    jnp.expand_dims(places, -2) == phases, jnp.expand_dims(values, -2), jnp.zeros((), values.dtype)
  )
  return laid_out(spread_out.reshape(*values.shape[:-1], 4 * values.shape[-1]))
