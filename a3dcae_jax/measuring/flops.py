"""Counts a program's FLOPs from its jaxpr: the same on every platform, before any compiler has changed the algorithm.

A compiler's own count is of what it runs: minimal filtering along time (`ops.winograd`) has half the products of the direct method, the phase
split of the outer layers (`ops.outer`) more. `model_flops` counts the network as written down: direct convolutions, layers not split.
"""

import math

import jax
import numpy as np

from a3dcae_jax.measuring.programs import (
  error_program,
  fresh_state,
  input_shapes,
  train_program,
  variables_of,
)
from a3dcae_jax.ops.conv_algorithm import tracing_for


def model_flops(setting):
  """FLOPs of one run of a `programs.Setting` by the direct method: 2 a product of its convolutions and matrix products, nothing else."""
  # In float32: for bfloat16 a gradient's convolution is traced beside one whose result is not used (`ops.conv_pool`).
  plain = setting._replace(dtype='float32', conv_algorithm='direct', polyphase=False, remat='none')
  clips, mean_image = input_shapes(plain)
  with tracing_for('tpu'):  # without the barriers that CPUs want
    state = jax.eval_shape(lambda: fresh_state(plain))
    if plain.mode == 'infer':
      return jaxpr_flops(
        jax.make_jaxpr(error_program(plain))(variables_of(state), clips, mean_image).jaxpr
      )
    return jaxpr_flops(jax.make_jaxpr(train_program(plain))(state, clips, mean_image).jaxpr)


def jaxpr_flops(jaxpr):
  """FLOPs of the convolutions and matrix products of a jaxpr and of all that it calls; what loops is counted once."""
  total = 0
  for equation in jaxpr.eqns:
    if equation.primitive.name == 'conv_general_dilated':
      total += _convolution(equation)
    elif equation.primitive.name == 'dot_general':
      total += _product(equation)
    for inner in _inner(equation.params):
      total += jaxpr_flops(inner)
  return total


def _inner(params):
  for value in params.values():
    for item in value if isinstance(value, (tuple, list)) else (value,):
      jaxpr = getattr(item, 'jaxpr', item)
      if hasattr(jaxpr, 'eqns'):
        yield jaxpr


def _product(equation):
  left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
  (contracted, _), _ = equation.params['dimension_numbers']
  return 2 * math.prod(out) * math.prod(left[axis] for axis in contracted)


def _convolution(equation):
  """2 * B * Cin * Cout / groups * product over the spatial axes of the (output, tap) pairs that meet a pixel and no padding."""
  params = equation.params
  left, right, out = (value.aval.shape for value in (*equation.invars[:2], equation.outvars[0]))
  numbers = params['dimension_numbers']
  pairs = 1
  for axis, (low, _) in enumerate(params['padding']):
    pairs *= _meetings(
      left[numbers.lhs_spec[2 + axis]],
      right[numbers.rhs_spec[2 + axis]],
      out[numbers.out_spec[2 + axis]],
      low,
      params['window_strides'][axis],
      params['lhs_dilation'][axis],
      params['rhs_dilation'][axis],
    )
  features = right[numbers.rhs_spec[0]] * right[numbers.rhs_spec[1]]  # Cout * Cin / groups
  return 2 * out[numbers.out_spec[0]] * features * pairs


def _meetings(size, taps, outputs, low, stride, spread, dilation):
  """How many (output, tap) pairs along one axis read one of `size` values laid `spread` apart, the first of them at place `low`."""
  places = np.arange(outputs)[:, None] * stride + np.arange(taps)[None] * dilation - low
  return int(((places >= 0) & (places <= (size - 1) * spread) & (places % spread == 0)).sum())
