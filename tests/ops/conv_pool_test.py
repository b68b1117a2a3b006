"""Convolution and pool in one: places as of float32 on every platform, values and gradients of the two one after the other."""

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
REST = np.array([0.7, -0.4, 0.2], np.float32)
ways = pytest.mark.parametrize(
  'platform, at_rest', [('cpu', None), ('tpu', None), ('gpu', None), ('gpu', REST)], ids=str
)


@pytest.fixture
def operands(rng):
  """A map that hardly differs from `REST`, as that of a still scene does, with one thing in it that does; and a kernel."""
  x = REST + 0.01 * rng.standard_normal((2, 4, 8, 12, 3))
  x[0, 1:3, 2:6, 3:9] += rng.standard_normal((2, 4, 6, 3))
  return jnp.asarray(x, jnp.bfloat16), jnp.asarray(
    (1 + rng.standard_normal((3, 3, 3, 3, 4))).astype(jnp.bfloat16), jnp.float32
  )


def composed(x, kernel):
  """The same in float32, one after the other, of operands as they are."""
  values, places, *moments = max_pool3d_moments(
    conv3d(x.astype(jnp.float32), kernel, conv_algorithm='direct'), WINDOW, 'xla'
  )
  return values, places, tuple(moments)


def fused(x, kernel, platform, at_rest):
  with tracing_for(platform):
    return conv_pool3d(
      x,
      kernel,
      WINDOW,
      moments=True,
      at_rest=at_rest if at_rest is None else jnp.asarray(at_rest),
      implementation='xla',
    )


@ways
def test_places_are_those_of_float32(operands, platform, at_rest):
  _, expected, _ = composed(*operands)
  _, places, _ = fused(*operands, platform, at_rest)
  _, rounded_first = max_pool3d_argmax(
    conv3d(*(operand.astype(jnp.bfloat16) for operand in operands)), WINDOW
  )
  differing = lambda found: float((found != expected).mean())  # noqa: E731
  assert differing(rounded_first) > 0.05  # so the map is one that shows it
  assert differing(places) <= (0.02 if platform == 'gpu' else 0.0)  # float16 has 11 bits


def test_float16_has_to_be_about_rest(operands):
  _, expected, _ = composed(*operands)
  wrong = [int((fused(*operands, 'gpu', at_rest)[1] != expected).sum()) for at_rest in (None, REST)]
  assert wrong[1] < wrong[0]


@ways
def test_values_and_moments(operands, platform, at_rest):
  """The border included, where zeros beyond it are far from rest."""
  (values, _, moments), (expected, _, expected_moments) = (
    fused(*operands, platform, at_rest),
    composed(*operands),
  )
  assert values.dtype == jnp.bfloat16 and {moment.dtype for moment in moments} == {
    jnp.dtype(jnp.float32)
  }
  np.testing.assert_allclose(values.astype(jnp.float32), expected, rtol=2.0**-7, atol=2e-3)
  np.testing.assert_allclose(moments, expected_moments, rtol=1e-3, atol=1e-3)


@ways
def test_gradients(rng, operands, platform, at_rest):
  draw = lambda like: jnp.asarray(rng.standard_normal(like.shape), jnp.float32).astype(like.dtype)  # noqa: E731
  (values, places, moments), pull = jax.vjp(lambda x, k: fused(x, k, platform, at_rest), *operands)
  cotangents = (
    draw(values),
    np.zeros(places.shape, jax.dtypes.float0),
    tuple(100 * draw(moment) for moment in moments),
  )
  _, pull_composed = jax.vjp(composed, *operands)
  for got, expected in zip(
    pull(cotangents),
    pull_composed((cotangents[0].astype(jnp.float32), *cotangents[1:])),
    strict=True,
  ):
    assert got.dtype == expected.dtype
    got, expected = np.float32(got), np.float32(expected)
    assert np.linalg.norm(got - expected) < 0.02 * np.linalg.norm(expected)


@pytest.mark.parametrize('platform, implementation', [('tpu', 'pallas'), ('gpu', 'triton')])
def test_kernels_read_sums_of_another_dtype(rng, operands, monkeypatch, platform, implementation):
  """Kernels (interpreted) of float32 and float16 maps give what XLA gives, and on the way back a map in bfloat16."""
  monkeypatch.setattr(conv_pool, 'target_platform', lambda: platform)

  def results(implementation):
    f = lambda x, k: conv_pool3d(
      x, k, WINDOW, moments=True, at_rest=jnp.asarray(REST), implementation=implementation
    )  # noqa: E731
    (values, places, moments), pull = jax.vjp(f, *operands)
    return (values, places, moments), pull(
      (jnp.ones_like(values), np.zeros(places.shape, jax.dtypes.float0), moments)
    )

  (found, gradients), (expected, expected_gradients) = results(implementation), results('xla')
  np.testing.assert_array_equal(found[1], expected[1])
  for a, b in zip(
    jax.tree.leaves((found, gradients)),
    jax.tree.leaves((expected, expected_gradients)),
    strict=True,
  ):
    assert a.dtype == b.dtype
    np.testing.assert_allclose(
      np.float32(a), np.float32(b), rtol=2.0**-7, atol=1e-3 * float(np.abs(np.float32(b)).max())
    )


def test_without_moments(operands):
  values, places, moments = conv_pool3d(*operands, WINDOW)
  gradient = jax.grad(lambda k: conv_pool3d(operands[0], k, WINDOW)[0].astype(jnp.float32).sum())(
    operands[1]
  )
  assert moments is None and gradient.dtype == jnp.float32 and bool(jnp.isfinite(gradient).all())
  expected, expected_places, _ = fused(*operands, 'cpu', None)
  np.testing.assert_array_equal(places, expected_places)
  np.testing.assert_array_equal(values, expected)


def test_float32_is_the_two_one_after_the_other(operands):
  x, kernel = operands[0].astype(jnp.float32), operands[1]
  y = conv3d(x, kernel)
  jax.tree.map(
    np.testing.assert_array_equal,
    conv_pool3d(x, kernel, WINDOW),
    (*max_pool3d_argmax(y, WINDOW), None),
  )
  values, places, moments = conv_pool3d(x, kernel, WINDOW, moments=True)
  jax.tree.map(
    np.testing.assert_array_equal, (values, places, *moments), max_pool3d_moments(y, WINDOW)
  )


def test_sizes_that_do_not_divide_are_refused(operands):
  with pytest.raises(
    ValueError, match=r'conv_pool3d: W \(=12\) must be divisible by the pool window \(=5\)'
  ):
    conv_pool3d(*operands, (2, 2, 5))
