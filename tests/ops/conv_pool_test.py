"""Convolution and pool in one: pool indices of float32 on every platform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.ops import conv_pool
from a3dcae_jax.ops.conv3d import conv3d
from a3dcae_jax.ops.conv_algorithm import tracing_for
from a3dcae_jax.ops.conv_pool import conv_pool3d
from a3dcae_jax.ops.pooling import max_pool3d_argmax, max_pool3d_moments

WINDOW = (2, 2, 2)
CENTRE = np.array([0.7, -0.4, 0.2], np.float32)

platforms = pytest.mark.parametrize(
  ('platform', 'centre'),
  [('cpu', None), ('tpu', None), ('gpu', None), ('gpu', CENTRE)],
  ids=str,
)


@pytest.fixture
def operands(rng):
  """A map and a kernel with values that bfloat16 can represent.

  The map hardly differs from `CENTRE`, like that of a scene without motion, except in one box.
  """
  x = CENTRE + 0.01 * rng.standard_normal((2, 4, 8, 12, 3))
  x[0, 1:3, 2:6, 3:9] += rng.standard_normal((2, 4, 6, 3))
  kernel = 1 + rng.standard_normal((3, 3, 3, 3, 4))
  kernel = jnp.asarray(kernel, jnp.bfloat16).astype(jnp.float32)
  return jnp.asarray(x, jnp.bfloat16), kernel


def composed(x, kernel):
  """Convolve and pool one after the other, in float32."""
  y = conv3d(x.astype(jnp.float32), kernel, conv_algorithm='direct')
  values, pool_indices, mean, mean_square = max_pool3d_moments(y, WINDOW, 'xla')
  return values, pool_indices, (mean, mean_square)


def fused(x, kernel, platform, centre):
  with tracing_for(platform):
    return conv_pool3d(
      x,
      kernel,
      WINDOW,
      moments=True,
      centre=None if centre is None else jnp.asarray(centre),
      implementation='xla',
    )


def no_gradient(pool_indices):
  return np.zeros(pool_indices.shape, jax.dtypes.float0)


@platforms
def test_pool_indices_are_those_of_float32(operands, platform, centre):
  x, kernel = operands
  _, expected, _ = composed(x, kernel)
  _, pool_indices, _ = fused(x, kernel, platform, centre)
  rounded = conv3d(x, kernel.astype(jnp.bfloat16))
  _, rounded_indices = max_pool3d_argmax(rounded, WINDOW)
  # Rounding before the pool moves many maxima of this map.
  assert np.mean(rounded_indices != expected) > 0.05
  # float16 has 11 bits.
  allowed = 0.02 if platform == 'gpu' else 0.0
  assert np.mean(pool_indices != expected) <= allowed


def test_subtracting_the_centre_makes_float16_more_precise(operands):
  _, expected, _ = composed(*operands)
  _, without_centre, _ = fused(*operands, 'gpu', None)
  _, with_centre, _ = fused(*operands, 'gpu', CENTRE)
  assert np.sum(with_centre != expected) < np.sum(without_centre != expected)


@platforms
def test_values_and_moments(operands, platform, centre):
  """They are right at the border too, where zero padding is far from the centre."""
  values, _, moments = fused(*operands, platform, centre)
  expected, _, expected_moments = composed(*operands)
  assert values.dtype == jnp.bfloat16
  assert [moment.dtype for moment in moments] == [jnp.float32, jnp.float32]
  np.testing.assert_allclose(values.astype(jnp.float32), expected, rtol=2.0**-7, atol=2e-3)
  np.testing.assert_allclose(moments, expected_moments, rtol=1e-3, atol=1e-3)


@platforms
def test_gradients(rng, operands, platform, centre):
  def compute(x, kernel):
    return fused(x, kernel, platform, centre)

  (values, pool_indices, _), pull = jax.vjp(compute, *operands)
  _, pull_composed = jax.vjp(composed, *operands)
  values_grad = jnp.asarray(rng.standard_normal(values.shape), jnp.float32).astype(values.dtype)
  moments_grad = tuple(jnp.asarray(100 * rng.standard_normal((2, 4)), jnp.float32))
  indices_grad = no_gradient(pool_indices)
  gradients = pull((values_grad, indices_grad, moments_grad))
  expected_gradients = pull_composed((values_grad.astype(jnp.float32), indices_grad, moments_grad))
  for gradient, expected in zip(gradients, expected_gradients, strict=True):
    assert gradient.dtype == expected.dtype
    gradient = np.float32(gradient)
    expected = np.float32(expected)
    assert np.linalg.norm(gradient - expected) < 0.02 * np.linalg.norm(expected)


@pytest.mark.parametrize(('platform', 'implementation'), [('tpu', 'pallas'), ('gpu', 'triton')])
def test_kernels_accept_sums_of_another_dtype(operands, monkeypatch, platform, implementation):
  """Interpreted kernels agree with XLA for float32 and float16 maps.

  Their gradient is bfloat16.
  """
  monkeypatch.setattr(conv_pool, 'target_platform', lambda: platform)

  def value_and_gradients(implementation):
    def compute(x, kernel):
      return conv_pool3d(
        x,
        kernel,
        WINDOW,
        moments=True,
        centre=jnp.asarray(CENTRE),
        implementation=implementation,
      )

    (values, pool_indices, moments), pull = jax.vjp(compute, *operands)
    gradients = pull((jnp.ones_like(values), no_gradient(pool_indices), moments))
    return pool_indices, jax.tree.leaves((values, moments, gradients))

  pool_indices, results = value_and_gradients(implementation)
  expected_indices, expected_results = value_and_gradients('xla')
  np.testing.assert_array_equal(pool_indices, expected_indices)
  for result, expected in zip(results, expected_results, strict=True):
    assert result.dtype == expected.dtype
    result = np.float32(result)
    expected = np.float32(expected)
    atol = 1e-3 * np.abs(expected).max()
    np.testing.assert_allclose(result, expected, rtol=2.0**-7, atol=atol)


def test_without_moments(operands):
  x, kernel = operands
  values, pool_indices, moments = conv_pool3d(x, kernel, WINDOW)
  expected_values, expected_indices, _ = fused(x, kernel, 'cpu', None)
  assert moments is None
  np.testing.assert_array_equal(pool_indices, expected_indices)
  np.testing.assert_array_equal(values, expected_values)

  def total(kernel):
    values, _, _ = conv_pool3d(x, kernel, WINDOW)
    return values.astype(jnp.float32).sum()

  gradient = jax.grad(total)(kernel)
  assert gradient.dtype == jnp.float32
  assert np.isfinite(gradient).all()


def test_float32_equals_both_operators_one_after_the_other(operands):
  x, kernel = operands
  x = x.astype(jnp.float32)
  y = conv3d(x, kernel)
  values, pool_indices, moments = conv_pool3d(x, kernel, WINDOW)
  assert moments is None
  jax.tree.map(np.testing.assert_array_equal, (values, pool_indices), max_pool3d_argmax(y, WINDOW))
  values, pool_indices, moments = conv_pool3d(x, kernel, WINDOW, moments=True)
  jax.tree.map(
    np.testing.assert_array_equal,
    (values, pool_indices, *moments),
    max_pool3d_moments(y, WINDOW),
  )


def test_sizes_that_do_not_divide_are_refused(operands):
  with pytest.raises(ValueError, match=r'conv_pool3d: W \(=12\) must be divisible .* \(=5\)'):
    conv_pool3d(*operands, (2, 2, 5))
