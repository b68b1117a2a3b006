"""FLOPs of small functions and the paper's network, memory of a compiled program."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from a3dcae_jax.measuring.costs import jaxpr_flops, model_flops, used_bytes, xla_cost
from a3dcae_jax.measuring.programs import Setting


def flops(function, *shapes):
  """Count the FLOPs of a function of float32 arrays."""
  arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  return jaxpr_flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def product(a, b):
  return a @ b


def inner_product(a, b):
  return jax.jit(lambda c: c @ b)(a)


def convolve(x, kernel, window_strides=(1, 1), padding='SAME', **options):
  return lax.conv_general_dilated(
    x,
    kernel,
    window_strides=window_strides,
    padding=padding,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    **options,
  )


def strided(x, kernel):
  return convolve(x, kernel, window_strides=(2, 2), padding='VALID')


def dilated(x, kernel):
  return convolve(x, kernel, padding=((0, 0), (0, 0)), lhs_dilation=(2, 2))


def grouped(x, kernel):
  return convolve(x, kernel, feature_group_count=2)


@pytest.mark.parametrize(
  'function, shapes, expected',
  [
    (product, [(8, 16), (16, 4)], 2 * 8 * 16 * 4),
    (inner_product, [(8, 16), (16, 4)], 2 * 8 * 16 * 4),
    (convolve, [(2, 4, 5, 3), (1, 1, 3, 7)], 2 * (2 * 4 * 5) * 3 * 7),
    # Along each axis 2 + 3 + 3 + 2 taps read a pixel.
    (convolve, [(1, 4, 4, 3), (3, 3, 3, 5)], 2 * (10 * 10) * 3 * 5),
    (strided, [(1, 4, 4, 1), (2, 2, 1, 1)], 2 * 16),
    # The values that dilation inserts are zero and do not count.
    (dilated, [(1, 2, 2, 1), (1, 1, 1, 1)], 2 * 4),
    (grouped, [(1, 4, 4, 2), (1, 1, 1, 4)], 2 * 16 * 4),
  ],
)
def test_flops_by_hand(function, shapes, expected):
  assert flops(function, *shapes) == expected


def test_each_transpose_of_a_convolution_has_the_flops_of_the_convolution():
  shapes = [(1, 5, 4, 3), (3, 3, 3, 2)]
  gradients = jax.grad(lambda x, k: jnp.sin(convolve(x, k)).sum(), (0, 1))
  assert flops(gradients, *shapes) == 3 * flops(convolve, *shapes)


def test_flops_do_not_depend_on_the_algorithm():
  counts = {}
  for mode in ('infer', 'train'):
    plain = Setting(
      mode, 'tiny', 2, 'float32', conv_algorithm='direct', polyphase=False, remat='none'
    )
    other = plain._replace(conv_algorithm='winograd', polyphase=True, remat='blocks')
    counts[mode] = model_flops(plain)
    assert model_flops(other) == counts[mode]
  assert counts['infer'] < counts['train']


def test_flops_of_the_papers_network():
  assert model_flops(Setting('infer', 'paper', 1, 'float32')) == pytest.approx(0.29e12, rel=0.03)


def test_cost_and_memory_of_a_compiled_product():
  shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((8, 16), (16, 4))]
  compiled = jax.jit(product).lower(*shapes).compile()
  assert xla_cost(compiled).flops == 2 * 8 * 16 * 4
  arrays = 4 * (8 * 16 + 16 * 4 + 8 * 4)
  assert arrays <= used_bytes(compiled) <= arrays + 4096
  assert xla_cost(compiled).num_bytes == arrays
