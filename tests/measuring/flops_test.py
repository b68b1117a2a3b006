"""The count of FLOPs: by hand, and the figures of the paper's network."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from a3dcae_jax.measuring.flops import jaxpr_flops, model_flops
from a3dcae_jax.measuring.programs import Setting


def flops(function, *shapes):
  return jaxpr_flops(
    jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)).jaxpr
  )


def convolve(x, kernel, **options):
  return lax.conv_general_dilated(
    x,
    kernel,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    **({'window_strides': (1, 1), 'padding': 'SAME'} | options),
  )


@pytest.mark.parametrize(
  'function, shapes, expected',
  [
    (lambda a, b: a @ b, [(8, 16), (16, 4)], 2 * 8 * 16 * 4),
    (
      lambda a, b: jax.jit(lambda c: c @ b)(a),
      [(8, 16), (16, 4)],
      2 * 8 * 16 * 4,
    ),  # inside what it calls
    (convolve, [(2, 4, 5, 3), (1, 1, 3, 7)], 2 * (2 * 4 * 5) * 3 * 7),
    (
      convolve,
      [(1, 4, 4, 3), (3, 3, 3, 5)],
      2 * (10 * 10) * 3 * 5,
    ),  # along each axis 2 + 3 + 3 + 2 taps meet a pixel
    (
      lambda x, k: convolve(x, k, window_strides=(2, 2), padding='VALID'),
      [(1, 4, 4, 1), (2, 2, 1, 1)],
      2 * 16,
    ),
    (
      lambda x, k: convolve(x, k, lhs_dilation=(2, 2), padding=((0, 0), (0, 0))),
      [(1, 2, 2, 1), (1, 1, 1, 1)],
      2 * 4,
    ),  # the places between are zero
    (lambda x, k: convolve(x, k, feature_group_count=2), [(1, 4, 4, 2), (1, 1, 1, 4)], 2 * 16 * 4),
  ],
)
def test_by_hand(function, shapes, expected):
  assert flops(function, *shapes) == expected


def test_the_transposes_of_a_convolution_have_its_flops():
  shapes = [(1, 5, 4, 3), (3, 3, 3, 2)]
  assert flops(jax.grad(lambda x, k: jnp.sin(convolve(x, k)).sum(), (0, 1)), *shapes) == 3 * flops(
    convolve, *shapes
  )


def test_the_count_knows_no_lowering():
  settings = [
    Setting(mode, 'tiny', 2, 'float32', conv_algorithm=conv_algorithm, polyphase=split, remat=remat)
    for mode in ('infer', 'train')
    for conv_algorithm, split, remat in (('direct', False, 'none'), ('winograd', True, 'blocks'))
  ]
  counts = [model_flops(setting) for setting in settings]
  assert counts[0] == counts[1] < counts[2] == counts[3]


def test_papers_network():
  assert model_flops(Setting('infer', 'paper', 1, 'float32')) == pytest.approx(0.29e12, rel=0.03)
