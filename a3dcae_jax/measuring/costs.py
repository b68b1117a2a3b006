"""FLOPs, bytes and memory of a program: our own count, and what XLA reports.

A compiler counts the operations that it runs, and these depend on the algorithm: minimal filtering
along time (`ops.winograd`) has half the products of the direct method, the polyphase method of the
first and last layer (`ops.polyphase`) has more. `model_flops` counts direct convolutions in the
jaxpr, so its result is the same on every platform.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from a3dcae_jax.measuring.parts import parts_of
from a3dcae_jax.measuring.programs import Setting
from a3dcae_jax.ops.conv_algorithm import tracing_for


class XlaCost(NamedTuple):
  """XLA's own count for a compiled program; None for a figure that it does not give.

  Attributes:
    flops: floating point operations.
    num_bytes: bytes read and written.
  """

  flops: float | None
  num_bytes: float | None


def xla_cost(compiled: Any) -> XlaCost:
  """Return XLA's count for a compiled program; it has none for absent GPUs."""
  try:
    cost = compiled.cost_analysis() or {}
  except jax.errors.JaxRuntimeError:
    cost = {}
  return XlaCost(cost.get('flops'), cost.get('bytes accessed'))


def used_bytes(compiled: Any) -> int:
  """Return the device memory that a compiled program needs at its peak, in bytes.

  It is the sum of arguments, temporary arrays, and results that do not reuse an argument.
  """
  memory = compiled.memory_analysis()
  results = memory.output_size_in_bytes - memory.alias_size_in_bytes
  return memory.argument_size_in_bytes + memory.temp_size_in_bytes + results


def model_flops(setting: Setting) -> int:
  """Count the FLOPs of one run of a program by the direct method.

  Only convolutions and matrix products count, with 2 FLOPs per product.
  """
  # In float32, because for bfloat16 the gradient of a convolution is traced together with a
  # convolution whose result is not used (`ops.conv_pool`).
  plain = setting._replace(dtype='float32', conv_algorithm='direct', polyphase=False, remat='none')
  with tracing_for('tpu'):  # without the barriers for CPUs
    parts = parts_of(plain)
    arguments = (parts.carry, parts.batch, *parts.shared)
    return jaxpr_flops(jax.make_jaxpr(parts.program)(*arguments).jaxpr)


def jaxpr_flops(jaxpr: Any) -> int:
  """Count the FLOPs of the convolutions and matrix products of a jaxpr.

  Inner jaxprs (jit, custom gradients, ...) are included. The body of a loop counts once.
  """
  total = 0
  for equation in jaxpr.eqns:
    total += equation_flops(equation)
    for inner in inner_jaxprs(equation.params):
      total += jaxpr_flops(inner)
  return total


def equation_flops(equation: Any) -> int:
  """Count the FLOPs of a convolution or matrix product; 0 for other equations."""
  if equation.primitive.name == 'conv_general_dilated':
    return _convolution_flops(equation)
  if equation.primitive.name == 'dot_general':
    return _product_flops(equation)
  return 0


def inner_jaxprs(params: Mapping[str, Any]) -> Iterator[Any]:
  """Yield the jaxprs among the parameters of an equation."""
  for value in params.values():
    items = value if isinstance(value, (tuple, list)) else (value,)
    for item in items:
      jaxpr = getattr(item, 'jaxpr', item)
      if hasattr(jaxpr, 'eqns'):
        yield jaxpr


def _product_flops(equation: Any) -> int:
  left = equation.invars[0].aval.shape
  out = equation.outvars[0].aval.shape
  contracted_axes = equation.params['dimension_numbers'][0][0]
  summed = math.prod(left[axis] for axis in contracted_axes)
  outputs = math.prod(out)
  return 2 * outputs * summed


def _convolution_flops(equation: Any) -> int:
  """Count the FLOPs of a convolution.

      2 * B * Cin * Cout / groups * number of (output, tap) pairs that read a pixel

  The number of pairs is the product over the spatial axes; a tap on padding does not count.
  """
  params = equation.params
  numbers = params['dimension_numbers']
  left = equation.invars[0].aval.shape
  right = equation.invars[1].aval.shape
  out = equation.outvars[0].aval.shape
  pairs = 1
  for axis in range(len(params['padding'])):
    size = left[numbers.lhs_spec[2 + axis]]
    taps = right[numbers.rhs_spec[2 + axis]]
    outputs = out[numbers.out_spec[2 + axis]]
    positions = _positions_read(params, axis, taps, outputs)
    spacing = params['lhs_dilation'][axis]
    last = (size - 1) * spacing
    is_inside = (positions >= 0) & (positions <= last)
    is_pixel = is_inside & (positions % spacing == 0)
    pairs *= int(is_pixel.sum())
  batch = out[numbers.out_spec[0]]
  features_out = right[numbers.rhs_spec[0]]
  features_in = right[numbers.rhs_spec[1]]  # per group
  return 2 * batch * features_in * features_out * pairs


def _positions_read(params: Mapping[str, Any], axis: int, taps: int, outputs: int) -> np.ndarray:
  """Return the positions that the outputs read along an axis, [outputs, taps].

  The first value of the input lies at 0; with a dilated input, the next one lies at `lhs_dilation`.
  """
  stride = params['window_strides'][axis]
  dilation = params['rhs_dilation'][axis]
  padding_before, _ = params['padding'][axis]
  starts = stride * np.arange(outputs) - padding_before
  offsets = dilation * np.arange(taps)
  return starts[:, None] + offsets
