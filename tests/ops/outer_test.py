"""The phase-split outer layers equal the plain ones, value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.ops import reference
from a3dcae_jax.ops.cases import OUTER_CASES
from a3dcae_jax.ops.conv3d import conv3d, deconv3d
from a3dcae_jax.ops.outer import conv_phases, deconv_unpooled, max_over_phases
from a3dcae_jax.ops.pooling import max_pool3d_argmax, max_unpool3d

WINDOW = (1, 2, 2)
cases = pytest.mark.parametrize('shape, kernel, features', OUTER_CASES)


def close(a, b):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), a, b)


@cases
def test_first_layer(rng, shape, kernel, features):
  x = jnp.asarray(rng.standard_normal(shape), jnp.float32)
  weights = jnp.asarray(rng.standard_normal((1, *kernel, 1, features)), jnp.float32)
  values, places = max_over_phases(conv_phases(x, weights))
  expected_values, expected_places = reference.max_pool3d_argmax(reference.conv3d(x, weights), WINDOW)
  close(values, expected_values)
  np.testing.assert_array_equal(places, expected_places)
  cotangent = jnp.asarray(rng.standard_normal(values.shape), jnp.float32)
  split = jax.vjp(lambda x, w: max_over_phases(conv_phases(x, w))[0], x, weights)[1](cotangent)
  plain = jax.vjp(lambda x, w: max_pool3d_argmax(conv3d(x, w), WINDOW)[0], x, weights)[1](cotangent)
  close(split, plain)


@cases
def test_last_layer(rng, shape, kernel, features):
  small = (shape[0], shape[1], shape[2] // 2, shape[3] // 2, features)
  values = jnp.asarray(rng.standard_normal(small), jnp.float32)
  places = jnp.asarray(rng.integers(0, 4, small), jnp.uint8)
  weights = jnp.asarray(rng.standard_normal((1, *kernel, features, 1)), jnp.float32)
  result = deconv_unpooled(values, places, weights)
  close(result, reference.deconv3d(reference.max_unpool3d(values, places, WINDOW), weights))
  cotangent = jnp.asarray(rng.standard_normal(result.shape), jnp.float32)
  split = jax.vjp(lambda v, w: deconv_unpooled(v, places, w), values, weights)[1](cotangent)
  plain = jax.vjp(lambda v, w: deconv3d(max_unpool3d(v, places, WINDOW), w), values, weights)[1](cotangent)
  close(split, plain)


def test_wide_kernels_are_refused():
  with pytest.raises(ValueError, match='one time tap and one input channel'):
    conv_phases(jnp.zeros((1, 2, 4, 4, 1)), jnp.zeros((3, 3, 3, 1, 2)))
  with pytest.raises(ValueError, match='one time tap and one output channel'):
    deconv_unpooled(jnp.zeros((1, 2, 4, 4, 2)), jnp.zeros((1, 2, 4, 4, 2), jnp.uint8), jnp.zeros((1, 3, 3, 2, 2)))
