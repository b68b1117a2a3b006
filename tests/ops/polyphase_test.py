"""All implementations of polyphase layers equal plain layers, also in gradients."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.ops import polyphase, reference, tpu_memory
from a3dcae_jax.ops.cases import POLYPHASE_CASES
from a3dcae_jax.ops.conv3d import conv3d, deconv3d
from a3dcae_jax.ops.conv_algorithm import tracing_for
from a3dcae_jax.ops.pooling import max_pool3d_argmax, max_unpool3d
from tests.ops.programs import kernel_grids

WINDOW = (1, 2, 2)

cases = pytest.mark.parametrize(('shape', 'kernel', 'features'), POLYPHASE_CASES)
implementations = pytest.mark.parametrize('implementation', polyphase.IMPLEMENTATIONS)


def draw(rng, shape):
  return jnp.asarray(rng.standard_normal(shape), jnp.float32)


def assert_close(results, expected):
  def compare(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5)

  jax.tree.map(compare, results, expected)


def pool_layer(kernel_size, activation, implementation):
  """Return the first layer by the polyphase method."""

  def layer(x, kernel, shift):
    patches = polyphase.extract_patches(x, kernel_size)
    weights = polyphase.phase_weights(kernel)
    return polyphase.pool_patches(patches, weights, shift, activation, implementation)

  return layer


@cases
@implementations
@pytest.mark.parametrize('activation', polyphase.ACTIVATIONS)
def test_first_layer(rng, shape, kernel, features, implementation, activation):
  x = draw(rng, shape)
  shift = draw(rng, (features,))
  weights = draw(rng, (1, *kernel, 1, features))
  function = polyphase.ACTIVATIONS[activation].function
  layer = pool_layer(kernel, activation, implementation)

  def plain(x, weights, shift):
    return max_pool3d_argmax(function(conv3d(x, weights) + shift), WINDOW)

  @jax.jit
  def both(x, weights, shift, values_grad):
    results, pull = jax.vjp(layer, x, weights, shift)
    _, pull_plain = jax.vjp(plain, x, weights, shift)
    _, pool_indices = results
    cotangents = (values_grad, np.zeros(pool_indices.shape, jax.dtypes.float0))
    return results, pull(cotangents), pull_plain(cotangents)

  convolved = reference.conv3d(x, weights) + np.asarray(shift)
  expected_values, expected_indices = reference.max_pool3d_argmax(convolved, WINDOW)
  values_grad = draw(rng, expected_values.shape)
  (values, pool_indices), gradients, expected_gradients = both(x, weights, shift, values_grad)
  assert_close(values, function(jnp.asarray(expected_values, jnp.float32)))
  np.testing.assert_array_equal(pool_indices, expected_indices)
  assert_close(gradients, expected_gradients)


@cases
@implementations
def test_last_layer(rng, shape, kernel, features, implementation):
  batch, frames, height, width, _ = shape
  pooled = (batch, frames, height // 2, width // 2, features)
  values = draw(rng, pooled)
  pool_indices = jnp.asarray(rng.integers(0, 4, pooled), jnp.uint8)
  weights = draw(rng, (1, *kernel, features, 1))

  def layer(values, weights):
    return polyphase.deconv_unpooled(values, pool_indices, weights, implementation)

  def plain(values, weights):
    return deconv3d(max_unpool3d(values, pool_indices, WINDOW), weights)

  @jax.jit
  def both(values, weights, cotangent):
    result, pull = jax.vjp(layer, values, weights)
    _, pull_plain = jax.vjp(plain, values, weights)
    return result, pull(cotangent), pull_plain(cotangent)

  cotangent = draw(rng, shape)
  result, gradients, expected_gradients = both(values, weights, cotangent)
  unpooled = reference.max_unpool3d(values, pool_indices, WINDOW)
  assert_close(result, reference.deconv3d(unpooled, weights))
  assert_close(gradients, expected_gradients)


def test_rows_read_in_parts_give_the_same(rng, monkeypatch):
  """A row of windows that does not fit the chip is read in parts, here in two."""
  monkeypatch.setattr(tpu_memory, 'ON_CHIP_BYTES', 1)
  shape = (8, 1, 4, 64, 1)
  x = jax.ShapeDtypeStruct(shape, jnp.float32)
  kernel = jax.ShapeDtypeStruct((1, 3, 3, 1, 4), jnp.float32)
  shift = jax.ShapeDtypeStruct((4,), jnp.float32)
  layer = pool_layer((3, 3), 'tanh', 'pallas')
  assert kernel_grids(layer, x, kernel, shift) == [(2, 2)]
  test_first_layer(rng, shape, (3, 3), 4, 'pallas', 'tanh')
  test_last_layer(rng, shape, (3, 3), 4, 'pallas')


@pytest.mark.parametrize(('batch', 'rows'), [(16, 4), (64, 2)])
def test_as_many_rows_as_fit_are_read_at_once(batch, rows):
  """The layer is Conv1 of `paper`: 16 pixels per patch and their rounding errors."""
  patches = jax.ShapeDtypeStruct((batch, 1, 112, 112, 32), jnp.bfloat16)
  weights = jax.ShapeDtypeStruct((32, 4, 64), jnp.float32)
  shift = jax.ShapeDtypeStruct((64,), jnp.float32)

  def layer(patches, weights, shift):
    return polyphase.pool_patches(patches, weights, shift, 'tanh', 'pallas')

  assert kernel_grids(layer, patches, weights, shift) == [(112 // rows, 1)]


@cases
def test_patches_and_overlap_add_are_transposes(rng, shape, kernel, features):
  @jax.jit
  def both(x, other):
    patches, pull = jax.vjp(lambda x: polyphase.extract_patches(x, kernel), x)
    image, pull_image = jax.vjp(lambda p: polyphase.overlap_add(p, kernel), other)
    return patches, image, pull(other), pull_image(x)

  batch, frames, height, width, _ = shape
  taps = math.prod(size + 1 for size in kernel)
  x = draw(rng, shape)
  other = draw(rng, (batch, frames, height // 2, width // 2, taps))
  patches, image, x_grad, other_grad = both(x, other)
  np.testing.assert_allclose(np.vdot(patches, other), np.vdot(x, image), rtol=1e-5)
  assert_close(x_grad, (image,))
  assert_close(other_grad, (patches,))


@cases
@pytest.mark.parametrize('platform', ['tpu', 'gpu'])
def test_cpus_extract_the_same_patches_as_accelerators(rng, shape, kernel, features, platform):
  x = draw(rng, shape)
  with tracing_for(platform):
    expected = polyphase.extract_patches(x, kernel)
  np.testing.assert_array_equal(polyphase.extract_patches(x, kernel), expected)


@cases
def test_moments_are_those_of_the_whole_output(rng, shape, kernel, features):
  x = draw(rng, shape) + 0.5
  weights = draw(rng, (1, *kernel, 1, features))

  def from_patches(weights):
    patches = polyphase.extract_patches(x, kernel)
    return polyphase.patch_moments(patches, polyphase.phase_weights(weights))

  def plain(weights):
    y = conv3d(x, weights)
    axes = (0, 1, 2, 3)
    return y.mean(axes), jnp.square(y).mean(axes)

  @jax.jit
  def both(weights, cotangents):
    moments, pull = jax.vjp(from_patches, weights)
    expected, pull_expected = jax.vjp(plain, weights)
    return (moments, pull(cotangents)), (expected, pull_expected(cotangents))

  cotangents = (draw(rng, (features,)), draw(rng, (features,)))
  assert_close(*both(weights, cotangents))


@implementations
def test_nan_is_not_hidden(implementation):
  x = jnp.zeros((1, 1, 2, 2, 1)).at[0, 0, 1, 0, 0].set(jnp.nan)
  kernel = jnp.ones((1, 1, 1, 1, 1))
  values, _ = pool_layer((1, 1), 'none', implementation)(x, kernel, jnp.zeros(1))
  assert jnp.isnan(values).all()


@pytest.mark.parametrize('shape', [(3, 3, 3, 1, 2), (1, 3, 3, 2, 2)])
def test_other_kernels_are_refused(shape):
  with pytest.raises(ValueError, match='one time tap and one input or output channel'):
    polyphase.phase_weights(jnp.zeros(shape))
