"""conv3d and deconv3d against the float64 reference, against each other, and every conv_algorithm against the direct one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.ops import reference
from a3dcae_jax.ops.cases import CONV_CASES
from a3dcae_jax.ops.conv3d import conv3d, deconv3d
from a3dcae_jax.ops.conv_algorithm import (
  CONV_ALGORITHMS,
  choose_lowering,
  target_platform,
  tracing_for,
)
from a3dcae_jax.ops.winograd import F2, F4

OPERATORS = {'conv3d': (conv3d, reference.conv3d), 'deconv3d': (deconv3d, reference.deconv3d)}
cases = pytest.mark.parametrize('case', CONV_CASES, ids=[case.name for case in CONV_CASES])
operators = pytest.mark.parametrize('name', OPERATORS)


def draw(rng, case):
  x = rng.standard_normal(case.shape).astype(np.float32)
  kernel = rng.standard_normal((*case.kernel, case.shape[-1], case.features)).astype(np.float32)
  return x, kernel


def test_conv3d_by_hand():
  x = jnp.arange(1.0, 4.0).reshape(1, 3, 1, 1, 1)  # frames 1, 2, 3
  kernel = jnp.asarray([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1, 1)  # previous, this, next
  np.testing.assert_array_equal(conv3d(x, kernel).ravel(), [210.0, 321.0, 32.0])


def test_deconv3d_by_hand():
  x = jnp.asarray([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1, 1)  # an impulse prints the kernel
  kernel = jnp.asarray([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1, 1)
  np.testing.assert_array_equal(deconv3d(x, kernel).ravel(), [1.0, 10.0, 100.0])


@cases
@operators
@pytest.mark.parametrize('conv_algorithm', CONV_ALGORITHMS)
def test_value_and_gradient_equal_reference(rng, name, case, conv_algorithm):
  operator, slow = OPERATORS[name]
  x, kernel = draw(rng, case)
  value, pullback = jax.vjp(lambda x, k: operator(x, k, conv_algorithm=conv_algorithm), x, kernel)
  atol = 5e-5 if conv_algorithm == 'winograd' else 1e-5  # its combinations lose two bits
  np.testing.assert_allclose(value, slow(x, kernel), rtol=1e-5, atol=atol)
  cotangent = rng.standard_normal(value.shape).astype(np.float32)
  grad_x, grad_kernel = pullback(jnp.asarray(cotangent))
  # Both operators are linear in each argument: <cotangent, op(dx, kernel)> must equal <gradient, dx>, for every unit dx.
  for argument, gradient, probe in (
    (x, grad_x, lambda d: slow(d, kernel)),
    (kernel, grad_kernel, lambda d: slow(x, d)),
  ):
    for direction in (rng.standard_normal(argument.shape) for _ in range(4)):
      np.testing.assert_allclose(
        np.sum(cotangent * probe(direction)),
        np.sum(np.asarray(gradient, np.float64) * direction),
        rtol=2e-5,
        atol=2e-4,
      )


@cases
def test_deconv3d_is_adjoint_of_conv3d(rng, case):
  x, kernel = draw(rng, case)
  y = rng.standard_normal((*case.shape[:4], case.features)).astype(np.float32)
  forward = np.vdot(np.asarray(conv3d(x, kernel), np.float64), y)
  backward = np.vdot(np.asarray(deconv3d(y, kernel.swapaxes(3, 4)), np.float64), x)
  np.testing.assert_allclose(forward, backward, rtol=1e-5, atol=1e-4)


@cases
def test_deconv3d_is_full_convolution_cropped(rng, case):
  x, kernel = draw(rng, case)
  padded = np.pad(x, [(0, 0), *[(s, s) for s in case.kernel], (0, 0)])
  wide = reference.deconv3d(padded, kernel)
  t, h, w = case.kernel
  inner = wide[:, t : wide.shape[1] - t, h : wide.shape[2] - h, w : wide.shape[3] - w]
  np.testing.assert_allclose(
    deconv3d(x, kernel, conv_algorithm='direct'), inner, rtol=1e-5, atol=1e-5
  )


@operators
def test_bfloat16_keeps_its_dtype(rng, name):
  x, kernel = draw(rng, CONV_CASES[0])
  y = OPERATORS[name][0](jnp.asarray(x, jnp.bfloat16), jnp.asarray(kernel, jnp.bfloat16))
  assert y.dtype == jnp.bfloat16
  np.testing.assert_allclose(
    y.astype(jnp.float32), OPERATORS[name][1](x, kernel), rtol=0.1, atol=0.4
  )


def test_wrong_channels_are_named():
  with pytest.raises(ValueError, match=r'x has 3 channels .* the kernel takes 2'):
    conv3d(jnp.zeros((1, 2, 4, 4, 3)), jnp.zeros((3, 3, 3, 2, 1)))


def test_wrong_rank_is_named():
  with pytest.raises(ValueError, match=r'x must be \[B, T, H, W, C\], got shape \(4, 4\)'):
    conv3d(jnp.zeros((4, 4)), jnp.zeros((3, 3, 3, 1, 1)))


def test_unknown_lowering_is_named():
  with pytest.raises(ValueError, match='fast'):
    conv3d(jnp.zeros((1, 1, 2, 2, 1)), jnp.zeros((1, 1, 1, 1, 1)), conv_algorithm='fast')


def test_accelerators_take_the_direct_lowering():
  wider, narrower = (3, 3, 3, 64, 128), (3, 3, 3, 128, 64)
  assert (
    choose_lowering(wider, 8, jnp.float32, 'gpu')
    == choose_lowering(wider, 8, jnp.bfloat16, 'tpu')
    == 'direct'
  )
  assert (
    choose_lowering(narrower, 8, jnp.bfloat16, 'tpu')
    == choose_lowering(narrower, 8, jnp.bfloat16, 'accelerator')
    == 'direct'
  )


def test_gpus_take_the_kernel_gradient_of_a_narrowing_convolution_from_its_adjoint():
  assert choose_lowering((3, 3, 3, 128, 64), 8, jnp.bfloat16, 'gpu') == 'adjoint'


def test_minimal_filtering_is_for_float32_on_cpus():
  assert choose_lowering((3, 3, 3, 4, 4), 8, jnp.float32, 'cpu') == 'winograd'
  assert choose_lowering((3, 3, 3, 4, 4), 8, jnp.bfloat16, 'cpu') != 'winograd'
  assert choose_lowering((3, 3, 3, 4, 4), 7, jnp.float32, 'cpu') != 'winograd'


@pytest.mark.parametrize('transforms', [F2, F4])
def test_minimal_filtering_is_exact_in_rationals(transforms):
  """A^T [(G k) * (B^T x)] equals the correlation for every pair of unit vectors, so for all x and k."""
  tile = len(transforms.output)
  for i in range(tile + 2):
    for j in range(3):
      x, k = np.eye(tile + 2)[i], np.eye(3)[j]
      got = transforms.output @ ((transforms.kernel @ k) * (transforms.data @ x))
      np.testing.assert_allclose(got, np.correlate(x, k, 'valid'), atol=1e-12)


def test_programs_traced_for_another_platform_choose_its_lowering():
  shape = (3, 3, 3, 16, 32)
  with tracing_for('tpu'):
    assert target_platform() == 'tpu' and choose_lowering(shape, 16, jnp.float32) == 'direct'
  assert target_platform() == 'cpu' and choose_lowering(shape, 16, jnp.float32) == 'winograd'


@pytest.mark.parametrize(
  'batch, platform, products',
  [(2, 'cpu', 12), (4, 'cpu', 12), (3, 'cpu', 6), (1, 'cpu', 6), (2, 'tpu', 6)],
)
def test_an_even_batch_is_filtered_in_halves_on_cpus(batch, platform, products):
  """On another platform nothing is split, nor held in memory until its results are there."""
  with tracing_for(platform):
    program = str(
      jax.make_jaxpr(lambda x, k: conv3d(x, k, conv_algorithm='winograd'))(
        jnp.ones((batch, 4, 4, 4, 2)), jnp.ones((3, 3, 3, 2, 3))
      )
    )
  assert program.count('conv_general_dilated[') == products
  assert ('optimization_barrier' in program) == (platform == 'cpu')


def test_halves_of_a_batch_are_its_clips_by_themselves(rng):
  x, kernel = (
    jnp.asarray(rng.standard_normal(shape), jnp.float32)
    for shape in ((4, 4, 6, 6, 3), (3, 3, 3, 3, 5))
  )
  alone = jnp.concatenate([conv3d(clip[None], kernel, conv_algorithm='winograd') for clip in x])
  np.testing.assert_allclose(
    conv3d(x, kernel, conv_algorithm='winograd'), alone, rtol=1e-5, atol=1e-5
  )


def test_operands_stay_until_all_gradients_are_there(rng):
  """Of each half one barrier holds the 6 gradients of frames, the 6 of kernels, and what they come from: 6 cotangents and 6 combinations of frames."""
  x, kernel = (
    jnp.asarray(rng.standard_normal(shape), jnp.float32)
    for shape in ((2, 4, 4, 4, 2), (3, 3, 3, 2, 3))
  )
  value, pullback = jax.vjp(lambda x, k: conv3d(x, k, conv_algorithm='winograd'), x, kernel)
  held = [
    len(eqn.invars)
    for eqn in jax.make_jaxpr(pullback)(value).eqns
    if eqn.primitive.name == 'optimization_barrier'
  ]
  assert held.count(24) == 2
