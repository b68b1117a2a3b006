"""The phase-split outer layers equal the plain ones, value and gradient, in every implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.ops import polyphase, polyphase_pallas, reference, tpu_memory
from a3dcae_jax.ops.cases import OUTER_CASES
from a3dcae_jax.ops.conv3d import conv3d, deconv3d
from a3dcae_jax.ops.conv_algorithm import tracing_for
from a3dcae_jax.ops.pooling import max_pool3d_argmax, max_unpool3d

WINDOW = (1, 2, 2)
cases = pytest.mark.parametrize('shape, kernel, features', OUTER_CASES)
implementations = pytest.mark.parametrize('implementation', polyphase.IMPLEMENTATIONS)


def close(a, b):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=2e-5), a, b)


@cases
@implementations
@pytest.mark.parametrize('activation', polyphase.ACTIVATIONS)
def test_first_layer(rng, shape, kernel, features, implementation, activation):
  x, shift = (jnp.asarray(rng.standard_normal(s), jnp.float32) for s in (shape, (features,)))
  weights = jnp.asarray(rng.standard_normal((1, *kernel, 1, features)), jnp.float32)
  function = polyphase.ACTIVATIONS[activation][0]

  def split(x, w, shift):
    return polyphase.pool_patches(
      polyphase.extract_patches(x, kernel),
      polyphase.phase_weights(w),
      shift,
      activation,
      implementation,
    )

  def plain(x, w, shift):
    return max_pool3d_argmax(function(conv3d(x, w) + shift), WINDOW)

  (values, places), pull = jax.vjp(split, x, weights, shift)
  expected_values, expected_places = reference.max_pool3d_argmax(
    reference.conv3d(x, weights) + np.asarray(shift), WINDOW
  )
  close(values, function(jnp.asarray(expected_values, jnp.float32)))
  np.testing.assert_array_equal(places, expected_places)
  cotangents = (
    jnp.asarray(rng.standard_normal(values.shape), jnp.float32),
    np.zeros(places.shape, jax.dtypes.float0),
  )
  close(pull(cotangents), jax.vjp(plain, x, weights, shift)[1](cotangents))


@cases
@implementations
def test_last_layer(rng, shape, kernel, features, implementation):
  small = (shape[0], shape[1], shape[2] // 2, shape[3] // 2, features)
  values = jnp.asarray(rng.standard_normal(small), jnp.float32)
  places = jnp.asarray(rng.integers(0, 4, small), jnp.uint8)
  weights = jnp.asarray(rng.standard_normal((1, *kernel, features, 1)), jnp.float32)
  result, pull = jax.vjp(
    lambda v, w: polyphase.deconv_unpooled(v, places, w, implementation), values, weights
  )
  close(result, reference.deconv3d(reference.max_unpool3d(values, places, WINDOW), weights))
  cotangent = jnp.asarray(rng.standard_normal(result.shape), jnp.float32)
  close(
    pull(cotangent),
    jax.vjp(lambda v, w: deconv3d(max_unpool3d(v, places, WINDOW), w), values, weights)[1](
      cotangent
    ),
  )


def test_rows_read_in_parts_give_the_same(rng, monkeypatch):
  """As where the clips of a batch are too many for a whole row on chip: here every row is read in two parts."""
  monkeypatch.setattr(tpu_memory, 'ON_CHIP_BYTES', 1)
  assert polyphase_pallas._block_of(4, 256, [((16, 256), np.dtype('float32'))]) == (1, 128)
  test_first_layer(rng, (8, 2, 4, 64, 1), (3, 3), 4, 'pallas', 'tanh')
  test_last_layer(rng, (8, 2, 4, 64, 1), (3, 3), 4, 'pallas')


def test_what_fits_is_read_four_rows_at_once():
  maps = [
    ((32, 112 * 16), jnp.dtype('bfloat16')),
    ((112 * 16, 64), jnp.dtype('bfloat16')),
    ((112 * 16, 64), jnp.dtype('uint8')),
  ]  # Conv1 of `paper`, 16 clips
  assert polyphase_pallas._block_of(1792, 112 * 16, maps) == (4, 112 * 16)
  four_times = [
    (tuple(4 * size if size == 112 * 16 else size for size in shape), dtype)
    for shape, dtype in maps
  ]
  assert polyphase_pallas._block_of(1792, 112 * 64, four_times) == (2, 112 * 64)


@cases
def test_patches_and_overlap_add_are_transposes(rng, shape, kernel, features):
  x = jnp.asarray(rng.standard_normal(shape), jnp.float32)
  patches, pull = jax.vjp(lambda x: polyphase.extract_patches(x, kernel), x)
  other = jnp.asarray(rng.standard_normal(patches.shape), jnp.float32)
  np.testing.assert_allclose(
    np.vdot(patches, other), np.vdot(x, polyphase.overlap_add(other, kernel)), rtol=1e-5
  )
  close(pull(other)[0], polyphase.overlap_add(other, kernel))
  close(jax.vjp(lambda p: polyphase.overlap_add(p, kernel), other)[1](x)[0], patches)


@cases
@pytest.mark.parametrize('platform', ('tpu', 'gpu'))
def test_patches_of_cpus_are_those_of_accelerators(rng, shape, kernel, features, platform):
  x = jnp.asarray(rng.standard_normal(shape), jnp.float32)
  with tracing_for(platform):
    expected = polyphase.extract_patches(x, kernel)
  np.testing.assert_array_equal(polyphase.extract_patches(x, kernel), expected)


@cases
def test_moments_are_those_of_the_whole_output(rng, shape, kernel, features):
  """Value and gradient, without the output."""
  x = jnp.asarray(rng.standard_normal(shape) + 0.5, jnp.float32)
  weights = jnp.asarray(rng.standard_normal((1, *kernel, 1, features)), jnp.float32)

  def split(w):
    return polyphase.patch_moments(polyphase.extract_patches(x, kernel), polyphase.phase_weights(w))

  def plain(w):
    y = conv3d(x, w)
    return y.mean((0, 1, 2, 3)), jnp.square(y).mean((0, 1, 2, 3))

  (moments, pull), (expected, pull_expected) = jax.vjp(split, weights), jax.vjp(plain, weights)
  close(moments, expected)
  cotangents = tuple(jnp.asarray(rng.standard_normal(features), jnp.float32) for _ in range(2))
  close(pull(cotangents), pull_expected(cotangents))


def test_nan_is_not_hidden():
  x, kernel = jnp.zeros((1, 1, 2, 2, 1)).at[0, 0, 1, 0, 0].set(jnp.nan), jnp.ones((1, 1, 1, 1, 1))
  for implementation in polyphase.IMPLEMENTATIONS:
    patches = polyphase.extract_patches(x, (1, 1))
    assert jnp.isnan(
      polyphase.pool_patches(
        patches, polyphase.phase_weights(kernel), jnp.zeros(1), 'none', implementation
      )[0]
    ).all()


def test_wide_kernels_are_refused():
  with pytest.raises(ValueError, match='one time tap and one input or output channel'):
    polyphase.phase_weights(jnp.zeros((3, 3, 3, 1, 2)))
  with pytest.raises(ValueError, match='one time tap and one input or output channel'):
    polyphase.phase_weights(jnp.zeros((1, 3, 3, 2, 2)))
