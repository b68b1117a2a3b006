"""Pooling with places and un-pooling: by hand, against the reference, as each other's transpose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.ops import pooling_pallas, reference, tpu_memory
from a3dcae_jax.ops.cases import POOL_CASES
from a3dcae_jax.ops.pooling import (
  IMPLEMENTATIONS,
  gather_places,
  max_pool3d_argmax,
  max_pool3d_moments,
  max_unpool3d,
)

implementations = pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
cases = pytest.mark.parametrize('case', POOL_CASES, ids=[case.name for case in POOL_CASES])


def test_by_hand():
  x = jnp.asarray([[1.0, 5.0], [3.0, 2.0]]).reshape(1, 1, 2, 2, 1)
  values, places = max_pool3d_argmax(x, (1, 2, 2))
  assert values.ravel() == 5.0 and places.ravel() == 1 and places.dtype == jnp.uint8
  np.testing.assert_array_equal(
    max_unpool3d(values, places, (1, 2, 2)).reshape(2, 2), [[0.0, 5.0], [0.0, 0.0]]
  )


def test_first_of_equal_maxima_wins():
  x = jnp.asarray([[1.0, 7.0], [7.0, 7.0]]).reshape(1, 1, 2, 2, 1)
  gradient = jax.grad(lambda x: max_pool3d_argmax(x, (1, 2, 2))[0].sum())(x)
  np.testing.assert_array_equal(gradient.reshape(2, 2), [[0.0, 1.0], [0.0, 0.0]])


@implementations
def test_nan_is_not_hidden(implementation):
  x = jnp.asarray([[1.0, 7.0], [jnp.nan, 9.0]]).reshape(1, 1, 2, 2, 1)
  assert jnp.isnan(max_pool3d_argmax(x, (1, 2, 2), implementation)[0]).all()


@cases
@implementations
@pytest.mark.parametrize('values', ['normal', 'ties'])
def test_equals_reference(rng, case, values, implementation):
  x = rng.standard_normal(case.shape) if values == 'normal' else rng.integers(0, 2, case.shape)
  x = x.astype(np.float32)
  pooled, places = jax.jit(max_pool3d_argmax, static_argnums=(1, 2))(x, case.window, implementation)
  expected_values, expected_places = reference.max_pool3d_argmax(x, case.window)
  np.testing.assert_array_equal(pooled, expected_values)
  np.testing.assert_array_equal(places, expected_places)
  np.testing.assert_array_equal(
    max_unpool3d(pooled, places, case.window, implementation),
    reference.max_unpool3d(pooled, places, case.window),
  )


@cases
@implementations
def test_gradients_are_the_transposes(rng, case, implementation):
  x = rng.standard_normal(case.shape).astype(np.float32)
  (
    (pooled, places),
    pull_pool,
  ) = jax.vjp(lambda x: max_pool3d_argmax(x, case.window, implementation), x)
  cotangent = rng.standard_normal(pooled.shape).astype(np.float32)
  (grad_pool,) = pull_pool((jnp.asarray(cotangent), np.zeros(places.shape, jax.dtypes.float0)))
  np.testing.assert_array_equal(grad_pool, reference.max_unpool3d(cotangent, places, case.window))
  wide = rng.standard_normal(case.shape).astype(np.float32)
  _, pull_unpool = jax.vjp(lambda v: max_unpool3d(v, places, case.window, implementation), pooled)
  (grad_unpool,) = pull_unpool(jnp.asarray(wide))
  np.testing.assert_array_equal(
    grad_unpool, gather_places(jnp.asarray(wide), places, case.window, 'xla')
  )
  # In float64: both sums have the same terms, but cancel, and BLAS adds up float32 in an order that depends on the machine.
  forward, backward = (
    np.vdot(np.float64(max_unpool3d(pooled, places, case.window)), np.float64(wide)),
    np.vdot(np.float64(pooled), np.float64(grad_unpool)),
  )
  np.testing.assert_allclose(forward, backward, rtol=1e-9)


@cases
@implementations
def test_pool_with_moments(rng, case, implementation):
  """The same maxima, the moments of the whole map, and one gradient through all four."""
  x = rng.standard_normal(case.shape).astype(np.float32)

  def plain(x):
    return (
      *max_pool3d_argmax(x, case.window, 'xla'),
      x.mean((0, 1, 2, 3)),
      jnp.square(x).mean((0, 1, 2, 3)),
    )

  results, pull = jax.vjp(lambda x: max_pool3d_moments(x, case.window, implementation), x)
  expected, pull_expected = jax.vjp(plain, x)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), results, tuple(expected)
  )
  draw = lambda like: jnp.asarray(rng.standard_normal(like.shape), jnp.float32)  # noqa: E731
  cotangents = (
    draw(results[0]),
    np.zeros(results[1].shape, jax.dtypes.float0),
    draw(results[2]),
    draw(results[3]),
  )
  np.testing.assert_allclose(
    pull(cotangents)[0], pull_expected(cotangents)[0], rtol=1e-5, atol=1e-6
  )


def test_rows_read_in_parts_give_the_same(rng, monkeypatch):
  """A batch too large for a whole row on chip; the smallest block allowed makes parts of one window."""
  x = jnp.asarray(rng.standard_normal((9, 4, 8, 24, 4)), jnp.float32)
  expected = max_pool3d_moments(x, (2, 2, 2), 'xla')
  for most, parts in (
    (1, 12),
    (4 * (2 * (8 * 4 + 4 + 1) + 56) * 16 * 128, 3),
  ):  # of one window; of four, on rows of 16 clips and 128 lanes
    monkeypatch.setattr(tpu_memory, 'ON_CHIP_BYTES', most)
    part = pooling_pallas._part_of_row(
      12,
      [(x.dtype, 'full'), (x.dtype, 'pooled'), (jnp.uint8, 'pooled'), ((9, 4), jnp.float32)],
      8,
      9,
      4,
    )
    assert 12 // part == parts
    results, pull = jax.vjp(lambda x: max_pool3d_moments(x, (2, 2, 2), 'pallas'), x)
    _, pull_expected = jax.vjp(lambda x: max_pool3d_moments(x, (2, 2, 2), 'xla'), x)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), results, expected
    )
    cotangents = (
      results[0] + 1,
      np.zeros(results[1].shape, jax.dtypes.float0),
      jnp.ones(4),
      jnp.ones(4),
    )
    np.testing.assert_allclose(
      pull(cotangents)[0], pull_expected(cotangents)[0], rtol=1e-5, atol=1e-6
    )


def test_a_row_that_fits_is_read_whole():
  maps = [(jnp.float32, 'full'), (jnp.bfloat16, 'pooled'), (jnp.uint8, 'pooled')]
  assert pooling_pallas._part_of_row(56, maps, 4, 16, 128) == 56  # Conv2 of `paper` at 16 clips
  assert (
    pooling_pallas._part_of_row(56, maps, 4, 17, 128) == 28
  )  # 17 clips fill as many rows of eight as 24


def test_bfloat16(rng):
  x = jnp.asarray(rng.standard_normal((1, 2, 4, 4, 2)), jnp.bfloat16)
  pooled, places = max_pool3d_argmax(x, (2, 2, 2))
  assert pooled.dtype == jnp.bfloat16
  np.testing.assert_array_equal(
    max_pool3d_argmax(max_unpool3d(jnp.abs(pooled) + 1, places, (2, 2, 2)), (2, 2, 2))[1], places
  )


def test_odd_size_is_refused():
  with pytest.raises(ValueError, match=r'H \(=5\) must be divisible by the pool window \(=2\)'):
    max_pool3d_argmax(jnp.zeros((1, 2, 5, 4, 1)), (1, 2, 2))


def test_shapes_that_differ_are_refused():
  with pytest.raises(ValueError, match=r'values \(1, 1, 2, 2, 1\) and places \(1, 1, 2, 3, 1\)'):
    max_unpool3d(jnp.zeros((1, 1, 2, 2, 1)), jnp.zeros((1, 1, 2, 3, 1), jnp.uint8), (1, 2, 2))


def test_too_many_places_for_a_byte():
  with pytest.raises(ValueError, match='512 places'):
    max_pool3d_argmax(jnp.zeros((1, 8, 8, 8, 1)), (8, 8, 8))
