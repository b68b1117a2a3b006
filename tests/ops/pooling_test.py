"""Pooling with places and un-pooling: by hand, against the reference, as each other's transpose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.ops import reference
from a3dcae_jax.ops.cases import POOL_CASES
from a3dcae_jax.ops.pooling import gather_places, max_pool3d_argmax, max_unpool3d

cases = pytest.mark.parametrize('case', POOL_CASES, ids=[case.name for case in POOL_CASES])


def test_by_hand():
  x = jnp.asarray([[1.0, 5.0], [3.0, 2.0]]).reshape(1, 1, 2, 2, 1)
  values, places = max_pool3d_argmax(x, (1, 2, 2))
  assert values.ravel() == 5.0 and places.ravel() == 1 and places.dtype == jnp.uint8
  np.testing.assert_array_equal(max_unpool3d(values, places, (1, 2, 2)).reshape(2, 2), [[0.0, 5.0], [0.0, 0.0]])


def test_first_of_equal_maxima_wins():
  x = jnp.asarray([[1.0, 7.0], [7.0, 7.0]]).reshape(1, 1, 2, 2, 1)
  gradient = jax.grad(lambda x: max_pool3d_argmax(x, (1, 2, 2))[0].sum())(x)
  np.testing.assert_array_equal(gradient.reshape(2, 2), [[0.0, 1.0], [0.0, 0.0]])


def test_nan_is_not_hidden():
  x = jnp.asarray([[1.0, 7.0], [jnp.nan, 9.0]]).reshape(1, 1, 2, 2, 1)
  assert jnp.isnan(max_pool3d_argmax(x, (1, 2, 2))[0]).all()


@cases
@pytest.mark.parametrize('values', ['normal', 'ties'])
def test_equals_reference(rng, case, values):
  x = rng.standard_normal(case.shape) if values == 'normal' else rng.integers(0, 2, case.shape)
  x = x.astype(np.float32)
  pooled, places = jax.jit(max_pool3d_argmax, static_argnums=1)(x, case.window)
  expected_values, expected_places = reference.max_pool3d_argmax(x, case.window)
  np.testing.assert_array_equal(pooled, expected_values)
  np.testing.assert_array_equal(places, expected_places)
  np.testing.assert_array_equal(max_unpool3d(pooled, places, case.window), reference.max_unpool3d(pooled, places, case.window))


@cases
def test_gradients_are_the_transposes(rng, case):
  x = rng.standard_normal(case.shape).astype(np.float32)
  (pooled, places), pull_pool, = jax.vjp(lambda x: max_pool3d_argmax(x, case.window), x)
  cotangent = rng.standard_normal(pooled.shape).astype(np.float32)
  grad_pool, = pull_pool((jnp.asarray(cotangent), np.zeros(places.shape, jax.dtypes.float0)))
  np.testing.assert_array_equal(grad_pool, reference.max_unpool3d(cotangent, places, case.window))
  wide = rng.standard_normal(case.shape).astype(np.float32)
  _, pull_unpool = jax.vjp(lambda v: max_unpool3d(v, places, case.window), pooled)
  grad_unpool, = pull_unpool(jnp.asarray(wide))
  np.testing.assert_array_equal(grad_unpool, gather_places(jnp.asarray(wide), places, case.window))
  np.testing.assert_allclose(np.vdot(max_unpool3d(pooled, places, case.window), wide), np.vdot(pooled, grad_unpool), rtol=1e-5)


def test_bfloat16(rng):
  x = jnp.asarray(rng.standard_normal((1, 2, 4, 4, 2)), jnp.bfloat16)
  pooled, places = max_pool3d_argmax(x, (2, 2, 2))
  assert pooled.dtype == jnp.bfloat16
  np.testing.assert_array_equal(max_pool3d_argmax(max_unpool3d(jnp.abs(pooled) + 1, places, (2, 2, 2)), (2, 2, 2))[1], places)


def test_odd_size_is_refused():
  with pytest.raises(ValueError, match=r'H \(=5\) must be divisible by the pool window \(=2\)'):
    max_pool3d_argmax(jnp.zeros((1, 2, 5, 4, 1)), (1, 2, 2))


def test_shapes_that_differ_are_refused():
  with pytest.raises(ValueError, match=r'values \(1, 1, 2, 2, 1\) and places \(1, 1, 2, 3, 1\)'):
    max_unpool3d(jnp.zeros((1, 1, 2, 2, 1)), jnp.zeros((1, 1, 2, 3, 1), jnp.uint8), (1, 2, 2))


def test_too_many_places_for_a_byte():
  with pytest.raises(ValueError, match='512 places'):
    max_pool3d_argmax(jnp.zeros((1, 8, 8, 8, 1)), (8, 8, 8))
