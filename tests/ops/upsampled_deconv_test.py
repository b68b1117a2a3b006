"""Deconvolution after un-pooling at the upper left, against the float64 references."""

import jax
import numpy as np
import pytest

from a3dcae_jax.ops import reference
from a3dcae_jax.ops.cases import UPSAMPLED_CASES
from a3dcae_jax.ops.upsampled_deconv import deconv_upsampled

cases = pytest.mark.parametrize(
  'case', UPSAMPLED_CASES, ids=[case.name for case in UPSAMPLED_CASES]
)


def slow(x, kernel, window):
  """Un-pool, then deconvolve, in float64."""
  batch, *sizes, features = x.shape
  upsampled = [size * step for size, step in zip(sizes, window, strict=True)]
  unpooled = np.zeros((batch, *upsampled, features))
  steps = tuple(slice(None, None, step) for step in window)
  unpooled[(slice(None), *steps)] = x
  return reference.deconv3d(unpooled, kernel)


def test_an_impulse_by_hand():
  impulse = np.asarray([0.0, 1.0, 0.0], np.float32).reshape(1, 3, 1, 1, 1)
  kernel = np.asarray([1.0, 10.0, 100.0], np.float32).reshape(3, 1, 1, 1, 1)
  found = deconv_upsampled(impulse, kernel, (2, 1, 1))
  np.testing.assert_array_equal(np.ravel(found), [0, 1, 10, 100, 0, 0])


@cases
def test_value_and_gradient_equal_reference(rng, case):
  x = rng.standard_normal(case.shape).astype(np.float32)
  kernel = rng.standard_normal((*case.kernel, case.shape[-1], case.features)).astype(np.float32)
  value, pull = jax.vjp(lambda x, kernel: deconv_upsampled(x, kernel, case.strides), x, kernel)
  np.testing.assert_allclose(value, slow(x, kernel, case.strides), rtol=1e-5, atol=1e-5)

  # Linear in each argument: <cotangent, operator(d)> = <gradient, d> for every direction d.
  cotangent = rng.standard_normal(value.shape).astype(np.float32)
  x_grad, kernel_grad = (np.asarray(grad, np.float64) for grad in pull(cotangent))
  direction = rng.standard_normal(x.shape)
  change = np.sum(cotangent * slow(direction, kernel, case.strides))
  np.testing.assert_allclose(np.sum(x_grad * direction), change, rtol=1e-4, atol=1e-4)
  direction = rng.standard_normal(kernel.shape)
  change = np.sum(cotangent * slow(x, direction, case.strides))
  np.testing.assert_allclose(np.sum(kernel_grad * direction), change, rtol=1e-4, atol=1e-4)
