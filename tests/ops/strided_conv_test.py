"""Convolution and deconvolution with strides, against the float64 reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.ops import reference
from a3dcae_jax.ops.cases import STRIDED_CASES
from a3dcae_jax.ops.conv_algorithm import CONV_ALGORITHMS, tracing_for
from a3dcae_jax.ops.strided_conv import strided_conv3d, strided_deconv3d

OPERATORS = {
  'strided_conv3d': (strided_conv3d, reference.strided_conv3d),
  'strided_deconv3d': (strided_deconv3d, reference.strided_deconv3d),
}
cases = pytest.mark.parametrize('case', STRIDED_CASES, ids=[case.name for case in STRIDED_CASES])
operators = pytest.mark.parametrize('name', OPERATORS)


def draw(rng, shape):
  return rng.standard_normal(shape).astype(np.float32)


def draw_case(rng, case):
  """Return an input and a kernel of a case."""
  return draw(rng, case.shape), draw(rng, (*case.kernel, case.shape[-1], case.features))


def test_convolution_by_hand():
  # Kernel of 3, stride 2: output n reads positions 2 n - 1, 2 n and 2 n + 1.
  row = jnp.arange(1.0, 5.0).reshape(1, 4, 1, 1, 1)
  kernel = jnp.asarray([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1, 1)
  np.testing.assert_array_equal(strided_conv3d(row, kernel, (2, 1, 1)).ravel(), [210.0, 432.0])


def test_deconvolution_by_hand():
  # The response to an impulse is the kernel, around position 2 n.
  impulse = jnp.asarray([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1, 1)
  kernel = jnp.asarray([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1, 1)
  result = strided_deconv3d(impulse, kernel, (2, 1, 1)).ravel()
  np.testing.assert_array_equal(result, [0.0, 1.0, 10.0, 100.0, 0.0, 0.0])


@cases
@operators
@pytest.mark.parametrize('conv_algorithm', CONV_ALGORITHMS)
def test_value_and_gradient_equal_reference(rng, name, case, conv_algorithm):
  operator, slow = OPERATORS[name]
  x, kernel = draw_case(rng, case)

  def compute(x, kernel):
    return operator(x, kernel, case.strides, conv_algorithm=conv_algorithm)

  value, pull = jax.vjp(compute, x, kernel)
  cotangent = draw(rng, value.shape)
  x_grad, kernel_grad = pull(cotangent)
  # The transforms of minimal filtering lose two bits.
  atol = 5e-5 if conv_algorithm == 'winograd' else 1e-5
  np.testing.assert_allclose(value, slow(x, kernel, case.strides), rtol=1e-5, atol=atol)
  # Both operators are linear in each argument, so for every direction d
  # <cotangent, operator(d, kernel)> = <gradient, d>.
  direction = rng.standard_normal(x.shape)
  change = np.sum(cotangent * slow(direction, kernel, case.strides))
  np.testing.assert_allclose(change, np.vdot(x_grad, direction), rtol=2e-5, atol=2e-4)
  direction = rng.standard_normal(kernel.shape)
  change = np.sum(cotangent * slow(x, direction, case.strides))
  np.testing.assert_allclose(change, np.vdot(kernel_grad, direction), rtol=2e-5, atol=2e-4)


@cases
def test_deconvolution_is_adjoint_of_convolution(rng, case):
  x, kernel = draw_case(rng, case)
  convolved = np.asarray(strided_conv3d(x, kernel, case.strides), np.float64)
  y = draw(rng, convolved.shape)
  deconvolved = strided_deconv3d(y, kernel.swapaxes(3, 4), case.strides)
  assert deconvolved.shape == x.shape
  np.testing.assert_allclose(np.vdot(convolved, y), np.vdot(deconvolved, x), rtol=1e-5, atol=1e-4)


def convolutions(platform):
  """Return the parameters of the convolutions in a deconvolution that is traced for a platform."""
  with tracing_for(platform):
    traced = jax.make_jaxpr(lambda x, kernel: strided_deconv3d(x, kernel, (1, 4, 4)))(
      jnp.zeros((1, 1, 4, 4, 8)), jnp.zeros((1, 11, 11, 8, 2))
    )
  return [each.params for each in traced.eqns if each.primitive.name == 'conv_general_dilated']


def test_cpus_multiply_no_zeros_between_pixels():
  assert all(set(each['lhs_dilation']) == {1} for each in convolutions('cpu'))
  assert [each['lhs_dilation'] for each in convolutions('gpu')] == [(1, 4, 4)]


@operators
def test_a_kernel_below_its_stride_is_refused(name):
  operator, _ = OPERATORS[name]
  with pytest.raises(ValueError, match=r'kernel \(1, 1, 1\) must be at least the strides'):
    operator(jnp.zeros((1, 2, 2, 2, 1)), jnp.zeros((1, 1, 1, 1, 1)), (1, 2, 1))


def test_a_size_that_the_stride_does_not_divide_is_named():
  with pytest.raises(ValueError, match=r'H \(=5\) must be divisible'):
    strided_conv3d(jnp.zeros((1, 1, 5, 4, 1)), jnp.zeros((1, 3, 3, 1, 1)), (1, 2, 2))
