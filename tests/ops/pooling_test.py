"""Pooling with indices and un-pooling: examples, the reference, transposes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.ops import reference, tpu_memory
from a3dcae_jax.ops.cases import POOL_CASES
from a3dcae_jax.ops.pooling import (
  IMPLEMENTATIONS,
  gather_pooled,
  max_pool3d_argmax,
  max_pool3d_moments,
  max_unpool3d,
)
from tests.ops.programs import kernel_grids

implementations = pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
cases = pytest.mark.parametrize('case', POOL_CASES, ids=[case.name for case in POOL_CASES])


def draw(rng, shape):
  return jnp.asarray(rng.standard_normal(shape), jnp.float32)


def no_gradient(pool_indices):
  return np.zeros(pool_indices.shape, jax.dtypes.float0)


def assert_close(results, expected):
  def compare(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

  jax.tree.map(compare, tuple(results), tuple(expected))


def test_by_hand():
  x = jnp.asarray([[1.0, 5.0], [3.0, 2.0]]).reshape(1, 1, 2, 2, 1)
  values, pool_indices = max_pool3d_argmax(x, (1, 2, 2))
  assert values.ravel() == 5.0
  assert pool_indices.ravel() == 1
  assert pool_indices.dtype == jnp.uint8
  unpooled = max_unpool3d(values, pool_indices, (1, 2, 2))
  np.testing.assert_array_equal(unpooled.reshape(2, 2), [[0.0, 5.0], [0.0, 0.0]])


def test_first_of_equal_maxima_wins():
  x = jnp.asarray([[1.0, 7.0], [7.0, 7.0]]).reshape(1, 1, 2, 2, 1)

  def total(x):
    values, _ = max_pool3d_argmax(x, (1, 2, 2))
    return values.sum()

  gradient = jax.grad(total)(x)
  np.testing.assert_array_equal(gradient.reshape(2, 2), [[0.0, 1.0], [0.0, 0.0]])


@implementations
def test_nan_is_not_hidden(implementation):
  x = jnp.asarray([[1.0, 7.0], [jnp.nan, 9.0]]).reshape(1, 1, 2, 2, 1)
  values, _ = max_pool3d_argmax(x, (1, 2, 2), implementation)
  assert jnp.isnan(values).all()


@cases
@implementations
@pytest.mark.parametrize('ties', [False, True])
def test_equals_reference(rng, case, ties, implementation):
  x = rng.integers(0, 2, case.shape) if ties else rng.standard_normal(case.shape)
  x = x.astype(np.float32)
  pool = jax.jit(max_pool3d_argmax, static_argnums=(1, 2))
  unpool = jax.jit(max_unpool3d, static_argnums=(2, 3))
  values, pool_indices = pool(x, case.window, implementation)
  expected_values, expected_indices = reference.max_pool3d_argmax(x, case.window)
  np.testing.assert_array_equal(values, expected_values)
  np.testing.assert_array_equal(pool_indices, expected_indices)
  unpooled = unpool(values, pool_indices, case.window, implementation)
  expected = reference.max_unpool3d(values, pool_indices, case.window)
  np.testing.assert_array_equal(unpooled, expected)


@cases
@implementations
def test_gradients_are_the_transposes(rng, case, implementation):
  window = case.window

  def pool(x):
    return max_pool3d_argmax(x, window, implementation)

  def unpool(values, pool_indices):
    return max_unpool3d(values, pool_indices, window, implementation)

  @jax.jit
  def pool_and_gradient(x, cotangent):
    (values, pool_indices), pull = jax.vjp(pool, x)
    (x_grad,) = pull((cotangent, no_gradient(pool_indices)))
    return values, pool_indices, x_grad

  @jax.jit
  def unpool_and_gradient(values, pool_indices, cotangent):
    unpooled, pull = jax.vjp(lambda values: unpool(values, pool_indices), values)
    (values_grad,) = pull(cotangent)
    return unpooled, values_grad, gather_pooled(cotangent, pool_indices, window, 'xla')

  x = draw(rng, case.shape)
  cotangent = draw(rng, jax.eval_shape(pool, x)[0].shape)
  values, pool_indices, x_grad = pool_and_gradient(x, cotangent)
  expected = reference.max_unpool3d(cotangent, pool_indices, window)
  np.testing.assert_array_equal(x_grad, expected)

  cotangent = draw(rng, case.shape)
  unpooled, values_grad, expected = unpool_and_gradient(values, pool_indices, cotangent)
  np.testing.assert_array_equal(values_grad, expected)
  # In float64, because the terms cancel and the order in which BLAS adds them depends on the
  # machine.
  forward = np.vdot(np.float64(unpooled), np.float64(cotangent))
  backward = np.vdot(np.float64(values), np.float64(values_grad))
  np.testing.assert_allclose(forward, backward, rtol=1e-9)


@cases
@implementations
def test_pool_with_moments(rng, case, implementation):
  """Values, pool indices, moments and the gradient through all of them are right."""

  def with_moments(x):
    return max_pool3d_moments(x, case.window, implementation)

  def plain(x):
    values, pool_indices = max_pool3d_argmax(x, case.window, 'xla')
    axes = (0, 1, 2, 3)
    return values, pool_indices, x.mean(axes), jnp.square(x).mean(axes)

  @jax.jit
  def both(x, cotangents):
    results, pull = jax.vjp(with_moments, x)
    expected, pull_expected = jax.vjp(plain, x)
    _, pool_indices, _, _ = results
    values_grad, *moments_grad = cotangents
    cotangents = (values_grad, no_gradient(pool_indices), *moments_grad)
    return (results, pull(cotangents)), (expected, pull_expected(cotangents))

  x = draw(rng, case.shape)
  values, _, mean, mean_square = jax.eval_shape(with_moments, x)
  cotangents = [draw(rng, like.shape) for like in (values, mean, mean_square)]
  assert_close(*both(x, cotangents))


# The first size is too small for a single window. The second one is enough for four windows. A
# window takes planes of 16 x 128: its 8 float32 values, its maximum and its index, all twice, and
# 14 more.
@pytest.mark.parametrize(
  ('on_chip_bytes', 'parts'), [(1, 12), (4 * (2 * (8 * 4 + 4 + 1) + 56) * 16 * 128, 3)]
)
def test_rows_read_in_parts_give_the_same(rng, monkeypatch, on_chip_bytes, parts):
  """A row of windows that does not fit the chip is read in parts."""
  window = (2, 2, 2)

  def pool(implementation):
    return lambda x: max_pool3d_moments(x, window, implementation)

  x = draw(rng, (9, 2, 4, 24, 4))
  expected, pull_expected = jax.vjp(pool('xla'), x)
  monkeypatch.setattr(tpu_memory, 'ON_CHIP_BYTES', on_chip_bytes)
  assert kernel_grids(pool('pallas'), x) == [(1, 2, parts)]
  results, pull = jax.vjp(pool('pallas'), x)
  assert_close(results, expected)
  values, pool_indices, _, _ = results
  cotangents = (values + 1, no_gradient(pool_indices), jnp.ones(4), jnp.ones(4))
  assert_close(pull(cotangents), pull_expected(cotangents))


@pytest.mark.parametrize(('batch', 'parts'), [(16, 1), (17, 2)])
def test_rows_that_fit_are_read_whole(batch, parts):
  """A row of Conv2 of `paper` fits with 16 clips; 17 clips take the space of 24."""
  x = jax.ShapeDtypeStruct((batch, 2, 2, 112, 128), jnp.float32)
  assert kernel_grids(lambda x: max_pool3d_argmax(x, (1, 2, 2), 'pallas'), x) == [(2, 1, parts)]


def test_bfloat16(rng):
  x = draw(rng, (1, 2, 4, 4, 2)).astype(jnp.bfloat16)
  window = (2, 2, 2)
  values, pool_indices = max_pool3d_argmax(x, window)
  assert values.dtype == jnp.bfloat16
  unpooled = max_unpool3d(jnp.abs(values) + 1, pool_indices, window)
  _, indices_again = max_pool3d_argmax(unpooled, window)
  np.testing.assert_array_equal(indices_again, pool_indices)


def test_odd_size_is_refused():
  with pytest.raises(ValueError, match=r'H \(=5\) must be divisible by .* \(=2\)'):
    max_pool3d_argmax(jnp.zeros((1, 2, 5, 4, 1)), (1, 2, 2))


def test_shapes_that_differ_are_refused():
  values = jnp.zeros((1, 1, 2, 2, 1))
  pool_indices = jnp.zeros((1, 1, 2, 3, 1), jnp.uint8)
  with pytest.raises(ValueError, match=r'\(1, 1, 2, 2, 1\) and .* \(1, 1, 2, 3, 1\)'):
    max_unpool3d(values, pool_indices, (1, 2, 2))


def test_too_many_positions_for_a_byte():
  with pytest.raises(ValueError, match='512 positions'):
    max_pool3d_argmax(jnp.zeros((1, 8, 8, 8, 1)), (8, 8, 8))
