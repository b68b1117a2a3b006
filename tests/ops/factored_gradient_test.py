"""The exchanged product against the plain one, mapped over devices: value, both gradients, what is sent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.measuring import hlo
from a3dcae_jax.ops.factored_gradient import factored_product

AXIS, ROWS, UNITS = 'replica', 3, 5
SHARED = {'axis_name': AXIS, 'in_axes': (0, None, 0)}


def mapped(devices):
  """(y, dL/dx of each replica, dL/dkernel as each replica has it) for L = sum of y * cotangent over all replicas."""

  def both(x, kernel, cotangent):
    y, pull = jax.vjp(lambda x, kernel: factored_product(x, kernel, AXIS), x, kernel)
    return y, *pull(cotangent)

  return jax.pmap(both, devices=jax.devices()[:devices], **SHARED)


def arrays(rng, devices, features, dtype=np.float32):
  return [
    jnp.asarray(rng.standard_normal(shape), dtype)
    for shape in ((devices, ROWS, features), (features, UNITS), (devices, ROWS, UNITS))
  ]


@pytest.mark.parametrize(
  ('devices', 'features'), [(4, 8), (2, 8), (1, 8), (4, 6)]
)  # the last does not divide: it is all-reduced
def test_every_replica_has_the_gradient_of_all(rng, devices, features):
  x, kernel, cotangent = arrays(rng, devices, features)
  y, x_grad, kernel_grads = mapped(devices)(x, kernel, cotangent)
  np.testing.assert_allclose(y, x @ kernel, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(x_grad, cotangent @ kernel.T, rtol=1e-5, atol=1e-6)
  expected = np.einsum('rbf,rbu->fu', x, cotangent)
  for grad in kernel_grads:
    np.testing.assert_allclose(grad, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(
      grad, kernel_grads[0]
    )  # to the bit: replicas must not drift apart


def test_in_bfloat16_the_sum_is_rounded_once(rng):
  """256 addends, and no larger error than that of rounding their sum."""
  x, kernel, cotangent = arrays(rng, 4, 8, jnp.bfloat16)
  x, cotangent = (jnp.tile(array, (1, 64, 1)) for array in (x, cotangent))
  grad = mapped(4)(x, kernel, cotangent)[2][0]
  assert grad.dtype == jnp.bfloat16
  exact = np.einsum('rbf,rbu->fu', *(np.asarray(array, np.float64) for array in (x, cotangent)))
  np.testing.assert_allclose(np.asarray(grad, np.float64), exact, rtol=2.0**-8, atol=1e-3)


def test_no_whole_gradient_is_reduced(rng):
  x, kernel, cotangent = arrays(rng, 4, 64)
  sent = hlo.collectives(mapped(4).lower(x, kernel, cotangent).compile().as_text())
  assert sorted({row['opcode'].removesuffix('-start') for row in sent}) == [
    'all-gather',
    'all-to-all',
  ]
