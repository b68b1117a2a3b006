"""The factored product equals the plain one, and its replicas send only factors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.measuring import hlo
from a3dcae_jax.ops.factored_gradient import factored_product

AXIS = 'replica'
ROWS = 3
UNITS = 5


def mapped(devices):
  """Return a function that computes product and gradients on several devices.

  It maps (x, kernel, cotangent) to (y, gradient of x, gradient of kernel), each per replica.
  """

  def compute(x, kernel, cotangent):
    y, pull = jax.vjp(lambda x, kernel: factored_product(x, kernel, AXIS), x, kernel)
    return y, *pull(cotangent)

  return jax.pmap(
    compute,
    axis_name=AXIS,
    in_axes=(0, None, 0),
    devices=jax.devices()[:devices],
  )


def draw_arguments(rng, devices, features, dtype=np.float32):
  """Return x, kernel and cotangent."""
  shapes = ((devices, ROWS, features), (features, UNITS), (devices, ROWS, UNITS))
  return [jnp.asarray(rng.standard_normal(shape), dtype) for shape in shapes]


# In the last case the replicas do not divide the features, so whole gradients are all-reduced.
@pytest.mark.parametrize(('devices', 'features'), [(4, 8), (2, 8), (1, 8), (4, 6)])
def test_every_replica_has_the_gradient_of_all(rng, devices, features):
  x, kernel, cotangent = draw_arguments(rng, devices, features)
  y, x_grad, kernel_grads = mapped(devices)(x, kernel, cotangent)
  np.testing.assert_allclose(y, x @ kernel, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(x_grad, cotangent @ kernel.T, rtol=1e-5, atol=1e-6)
  expected = np.einsum('rbf,rbu->fu', x, cotangent)
  for kernel_grad in kernel_grads:
    np.testing.assert_allclose(kernel_grad, expected, rtol=1e-5, atol=1e-5)
    # They must be equal to the bit, or replicas would drift apart.
    np.testing.assert_array_equal(kernel_grad, kernel_grads[0])


def test_in_bfloat16_the_sum_is_rounded_once(rng):
  """The error of 256 addends is not larger than that of rounding their sum once."""
  x, kernel, cotangent = draw_arguments(rng, 4, 8, jnp.bfloat16)
  x = jnp.tile(x, (1, 64, 1))
  cotangent = jnp.tile(cotangent, (1, 64, 1))
  _, _, kernel_grads = mapped(4)(x, kernel, cotangent)
  assert kernel_grads.dtype == jnp.bfloat16
  exact = np.einsum('rbf,rbu->fu', np.float64(x), np.float64(cotangent))
  np.testing.assert_allclose(np.float64(kernel_grads[0]), exact, rtol=2.0**-8, atol=1e-3)


def test_no_whole_gradient_is_all_reduced(rng):
  arguments = draw_arguments(rng, 4, 64)
  compiled = mapped(4).lower(*arguments).compile()
  sent = hlo.collectives(compiled.as_text())
  opcodes = {row['opcode'].removesuffix('-start') for row in sent}
  assert opcodes == {'all-gather', 'all-to-all'}
