"""3D convolution and deconvolution: every algorithm against the float64 reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.ops import reference
from a3dcae_jax.ops.cases import CONV_CASES
from a3dcae_jax.ops.conv3d import conv3d, deconv3d
from a3dcae_jax.ops.conv_algorithm import (
  CONV_ALGORITHMS,
  choose_conv_algorithm,
  target_platform,
  tracing_for,
)
from a3dcae_jax.ops.conv_pool import conv_pool3d
from a3dcae_jax.ops.winograd import F2, F4

OPERATORS = {'conv3d': (conv3d, reference.conv3d), 'deconv3d': (deconv3d, reference.deconv3d)}
WIDENING = (3, 3, 3, 64, 128)
NARROWING = (3, 3, 3, 128, 64)

cases = pytest.mark.parametrize('case', CONV_CASES, ids=[case.name for case in CONV_CASES])
operators = pytest.mark.parametrize('name', OPERATORS)


def draw(rng, shape):
  return rng.standard_normal(shape).astype(np.float32)


def draw_case(rng, case):
  """Return an input and a kernel of a case."""
  x = draw(rng, case.shape)
  kernel = draw(rng, (*case.kernel, case.shape[-1], case.features))
  return x, kernel


def winograd(x, kernel):
  return conv3d(x, kernel, conv_algorithm='winograd')


def test_conv3d_by_hand():
  frames = jnp.arange(1.0, 4.0).reshape(1, 3, 1, 1, 1)
  # Taps on the frame before, the frame itself and the frame after.
  kernel = jnp.asarray([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1, 1)
  np.testing.assert_array_equal(conv3d(frames, kernel).ravel(), [210.0, 321.0, 32.0])


def test_deconv3d_by_hand():
  # The response to an impulse is the kernel.
  impulse = jnp.asarray([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1, 1)
  kernel = jnp.asarray([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1, 1)
  np.testing.assert_array_equal(deconv3d(impulse, kernel).ravel(), [1.0, 10.0, 100.0])


@cases
@operators
@pytest.mark.parametrize('conv_algorithm', CONV_ALGORITHMS)
def test_value_and_gradient_equal_reference(rng, name, case, conv_algorithm):
  operator, slow = OPERATORS[name]
  x, kernel = draw_case(rng, case)

  def compute(x, kernel):
    return operator(x, kernel, conv_algorithm=conv_algorithm)

  value, pull = jax.vjp(compute, x, kernel)
  cotangent = draw(rng, value.shape)
  x_grad, kernel_grad = pull(cotangent)
  expected = slow(x, kernel)
  # The transforms of minimal filtering lose two bits.
  atol = 5e-5 if conv_algorithm == 'winograd' else 1e-5
  np.testing.assert_allclose(value, expected, rtol=1e-5, atol=atol)

  # Both operators are linear in each argument, so for every direction d
  # <cotangent, operator(d, kernel)> = <gradient, d>.
  for _ in range(4):
    direction = rng.standard_normal(x.shape)
    change = np.sum(cotangent * slow(direction, kernel))
    from_gradient = np.sum(np.asarray(x_grad, np.float64) * direction)
    np.testing.assert_allclose(change, from_gradient, rtol=2e-5, atol=2e-4)
    direction = rng.standard_normal(kernel.shape)
    change = np.sum(cotangent * slow(x, direction))
    from_gradient = np.sum(np.asarray(kernel_grad, np.float64) * direction)
    np.testing.assert_allclose(change, from_gradient, rtol=2e-5, atol=2e-4)


@cases
def test_deconv3d_is_adjoint_of_conv3d(rng, case):
  x, kernel = draw_case(rng, case)
  y = draw(rng, (*case.shape[:4], case.features))
  convolved = np.asarray(conv3d(x, kernel), np.float64)
  deconvolved = np.asarray(deconv3d(y, kernel.swapaxes(3, 4)), np.float64)
  np.testing.assert_allclose(np.vdot(convolved, y), np.vdot(deconvolved, x), rtol=1e-5, atol=1e-4)


@cases
def test_deconv3d_is_full_convolution_cropped(rng, case):
  x, kernel = draw_case(rng, case)
  t, h, w = case.kernel
  padded = np.pad(x, [(0, 0), (t, t), (h, h), (w, w), (0, 0)])
  full = reference.deconv3d(padded, kernel)
  cropped = full[:, t:-t, h:-h, w:-w]
  result = deconv3d(x, kernel, conv_algorithm='direct')
  np.testing.assert_allclose(result, cropped, rtol=1e-5, atol=1e-5)


@operators
def test_bfloat16_keeps_its_dtype(rng, name):
  operator, slow = OPERATORS[name]
  x, kernel = draw_case(rng, CONV_CASES[0])
  y = operator(jnp.asarray(x, jnp.bfloat16), jnp.asarray(kernel, jnp.bfloat16))
  assert y.dtype == jnp.bfloat16
  np.testing.assert_allclose(y.astype(jnp.float32), slow(x, kernel), rtol=0.1, atol=0.4)


def test_wrong_channels_are_named():
  with pytest.raises(ValueError, match=r'x has 3 channels .* kernel takes 2'):
    conv3d(jnp.zeros((1, 2, 4, 4, 3)), jnp.zeros((3, 3, 3, 2, 1)))


def test_wrong_rank_is_named():
  with pytest.raises(ValueError, match=r'x must be \[B, T, H, W, C\], got shape \(4, 4\)'):
    conv3d(jnp.zeros((4, 4)), jnp.zeros((3, 3, 3, 1, 1)))


def test_unknown_algorithm_is_named():
  x = jnp.zeros((1, 1, 2, 2, 1))
  kernel = jnp.zeros((1, 1, 1, 1, 1))
  with pytest.raises(ValueError, match='fast'):
    conv3d(x, kernel, conv_algorithm='fast')


def test_accelerators_take_the_direct_algorithm():
  assert choose_conv_algorithm(WIDENING, 8, jnp.float32, 'gpu') == 'direct'
  assert choose_conv_algorithm(WIDENING, 8, jnp.bfloat16, 'tpu') == 'direct'
  assert choose_conv_algorithm(NARROWING, 8, jnp.bfloat16, 'tpu') == 'direct'
  assert choose_conv_algorithm(NARROWING, 8, jnp.bfloat16, 'accelerator') == 'direct'


def test_gpus_take_the_adjoint_for_narrowing_convolutions():
  assert choose_conv_algorithm(NARROWING, 8, jnp.bfloat16, 'gpu') == 'adjoint'


def test_minimal_filtering_is_for_float32_on_cpus():
  shape = (3, 3, 3, 4, 4)
  assert choose_conv_algorithm(shape, 8, jnp.float32, 'cpu') == 'winograd'
  assert choose_conv_algorithm(shape, 8, jnp.bfloat16, 'cpu') != 'winograd'
  assert choose_conv_algorithm(shape, 7, jnp.float32, 'cpu') != 'winograd'


def test_programs_traced_for_another_platform_take_its_algorithm():
  shape = (3, 3, 3, 16, 32)
  with tracing_for('tpu'):
    assert target_platform() == 'tpu'
    assert choose_conv_algorithm(shape, 16, jnp.float32) == 'direct'
  assert target_platform() == 'cpu'
  assert choose_conv_algorithm(shape, 16, jnp.float32) == 'winograd'


@pytest.mark.parametrize('transforms', [F2, F4])
def test_minimal_filtering_is_exact(transforms):
  """The identity A^T [(G k) * (B^T x)] holds for unit vectors, so for all x and k."""
  tile = len(transforms.output)
  for x in np.eye(tile + 2):
    for k in np.eye(3):
      products = (transforms.kernel @ k) * (transforms.data @ x)
      expected = np.correlate(x, k, 'valid')
      np.testing.assert_allclose(transforms.output @ products, expected, atol=1e-12)


@pytest.mark.parametrize(
  ('batch', 'platform', 'parts'),
  [(2, 'cpu', 2), (4, 'cpu', 2), (3, 'cpu', 1), (1, 'cpu', 1), (2, 'tpu', 1)],
)
def test_even_batches_are_filtered_in_halves_on_cpus(batch, platform, parts):
  x = jnp.ones((batch, 4, 4, 4, 2))
  kernel = jnp.ones((3, 3, 3, 2, 3))
  with tracing_for(platform):
    # A new function each time, since JAX remembers the programs of functions it has traced.
    program = str(jax.make_jaxpr(lambda x, kernel: winograd(x, kernel))(x, kernel))
  # Six products, and one that looks for places at rest.
  assert program.count('conv_general_dilated[') == 7 * parts
  # On other platforms, operands are not kept.
  assert ('optimization_barrier' in program) == (platform == 'cpu')


def test_halves_of_a_batch_are_independent(rng):
  x = draw(rng, (4, 4, 6, 6, 3))
  kernel = draw(rng, (3, 3, 3, 3, 5))
  clip_by_clip = [winograd(clip[None], kernel) for clip in x]
  result = winograd(x, kernel)
  np.testing.assert_allclose(result, np.concatenate(clip_by_clip), rtol=1e-5, atol=1e-5)


def test_operands_are_kept_until_all_gradients_are_computed(rng):
  """One barrier per half holds all gradients and all operands.

  These are 6 gradients of frames, 6 gradients of kernels, 6 cotangents and 6 combinations of
  frames.
  """
  x = draw(rng, (2, 4, 4, 4, 2))
  kernel = draw(rng, (3, 3, 3, 2, 3))
  value, pull = jax.vjp(winograd, x, kernel)
  held = []
  for equation in jax.make_jaxpr(pull)(value).eqns:
    if equation.primitive.name == 'optimization_barrier':
      held.append(len(equation.invars))
  assert held.count(24) == 2


def still(rng, frames, moving=()):
  """Return a clip [2, T, 9, 9, 3] of one frame, with other frames at some times."""
  x = np.repeat(draw(rng, (2, 1, 9, 9, 3)), frames, axis=1)
  for frame in moving:
    x[0, frame] = draw(rng, (9, 9, 3))
  return x


@pytest.mark.parametrize('frames', [2, 4, 6, 8, 16])
@pytest.mark.parametrize('operator', [conv3d, deconv3d])
def test_equal_frames_have_equal_outputs_with_every_algorithm(rng, operator, frames):
  kernel = draw(rng, (3, 3, 3, 3, 5))
  moving = [0] if frames == 16 else []
  x = still(rng, frames, moving)
  for algorithm in CONV_ALGORITHMS:
    y = np.asarray(operator(x, kernel, conv_algorithm=algorithm))
    inner = y[:, 2:-1]  # of equal frames alone, also in the clip that starts with another
    np.testing.assert_array_equal(inner, np.broadcast_to(inner[:, :1], inner.shape))
    expected = operator(x, kernel, conv_algorithm='direct')
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize('constant', [True, False])
def test_a_still_clip_is_pooled_at_the_same_places_with_every_algorithm(rng, constant):
  kernel = draw(rng, (3, 3, 3, 3, 5))
  x = still(rng, 16)
  window = (2, 1, 1)
  if constant:
    x = np.full((2, 16, 10, 10, 3), 0.3, np.float32)
    window = (2, 2, 2)
  _, expected, _ = conv_pool3d(x, kernel, window, conv_algorithm='direct')
  assert not np.asarray(expected)[:, 1:-1, 1:-1, 1:-1].any()  # all the first, far from the padding
  # Winograd's algorithm makes outputs of equal frames equal, but a frame beside the padding has no
  # equal. There, places of one brightness differ by rounding on some CPUs.
  still_frames = slice(1, -1) if constant else slice(None)
  for algorithm in CONV_ALGORITHMS:
    _, indices, _ = conv_pool3d(x, kernel, window, conv_algorithm=algorithm)
    np.testing.assert_array_equal(indices[:, still_frames], expected[:, still_frames])


@pytest.mark.parametrize('operator', [conv3d, deconv3d])
@pytest.mark.parametrize('size', [1, 3])
def test_places_at_rest_have_equal_outputs_beside_movement(rng, operator, size):
  """A still background, as cameras have it after compression, with a small thing that moves."""
  kernel = draw(rng, (3, size, size, 3, 5))
  x = np.repeat(draw(rng, (2, 1, 24, 20, 3)), 8, axis=1)
  x[0, :, 11:13, 9:11] = draw(rng, (8, 2, 2, 3))
  for algorithm in CONV_ALGORITHMS:
    y = np.asarray(operator(x, kernel, conv_algorithm=algorithm))
    inner = y[:, 1:-1]  # the outer frames see zeros
    moves = (inner != inner[:, :1]).any((0, 1, 4))
    reach = (size - 1) // 2
    expected = np.zeros((24, 20), bool)
    expected[11 - reach : 13 + reach, 9 - reach : 11 + reach] = True
    np.testing.assert_array_equal(moves, expected)


def test_moving_clips_are_not_touched(rng):
  kernel = draw(rng, (3, 3, 3, 3, 5))
  x = draw(rng, (2, 8, 9, 9, 3))
  still_beside = np.concatenate([x[:1], still(rng, 8)[:1]])
  alone = winograd(x[:1], kernel)
  np.testing.assert_array_equal(winograd(still_beside, kernel)[:1], alone)


def test_the_gradient_of_a_still_clip_is_that_of_the_convolution(rng):
  kernel = draw(rng, (3, 3, 3, 3, 5))
  x = still(rng, 8)
  cotangent = draw(rng, (2, 8, 9, 9, 5))
  gradients = []
  for algorithm in ('winograd', 'direct'):
    _, pull = jax.vjp(lambda x, k, a=algorithm: conv3d(x, k, conv_algorithm=a), x, kernel)
    gradients.append(pull(cotangent))
  for one, other in zip(*gradients, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
