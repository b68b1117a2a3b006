"""Parameters, FLOPs and maps of each layer, counted from the network itself.

A layer is a kernel. The network is traced without being run. The trace says which kernel each
convolution or matrix product multiplies with, so no copy of the architecture is kept here.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import flax.traverse_util
import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.measuring.costs import equation_flops, inner_jaxprs, used_bytes, xla_cost
from a3dcae_jax.measuring.hlo import instructions
from a3dcae_jax.ops.conv_algorithm import tracing_for

# What a value of the trace depends on: the layers of the parameters, or the clips as well.
Origin = frozenset[str] | None
_CLIPS: Origin = None


class LayerCost(NamedTuple):
  """Cost of one layer for one clip.

  Attributes:
    layer: path of its kernel among the parameters, such as 'conv1'.
    kernel: shape of the kernel; input channels and output channels come last.
    output: shape [B, ..., C] of the map that the layer computes, before a pool.
    parameters: weights, biases, and scales of the normalisation.
    flops: FLOPs of its convolutions or products, 2 per multiplication. Taps on padding do not
      count.
    map_bytes: bytes of that map.
  """

  layer: str
  kernel: tuple[int, ...]
  output: tuple[int, ...]
  parameters: int
  flops: int
  map_bytes: int


class _Product(NamedTuple):
  """A convolution or matrix product of the clips with a kernel."""

  layer: str
  output: tuple[int, ...]
  flops: int
  map_bytes: int


def layer_costs(network: nn.Module, clip_shape: Sequence[int]) -> list[LayerCost]:
  """Count the cost of each layer of a network for one clip.

  Args:
    network: called with clips [B, T, H, W, C]. It has to use direct convolutions in float32, and
      no polyphase method: other algorithms need another number of products.
    clip_shape: (T, H, W, C).

  Returns:
    The layers in the order in which they are computed.
  """
  variables, clips = _arguments(network, clip_shape)
  layers = _parameter_layers(variables['params'])
  with tracing_for('accelerator'):  # without the barriers for CPUs
    closed = jax.make_jaxpr(network.apply)(variables, clips)
  origins = _origins(variables, layers)
  costs = {}
  for product in _products(closed.jaxpr, [*origins, _CLIPS], 1)[0]:
    costs.setdefault(product.layer, []).append(product)
  sizes = _sizes(variables['params'], layers)
  kernels = _kernels(variables['params'], layers)
  rows = []
  for layer, products in costs.items():
    rows.append(
      LayerCost(
        layer,
        kernels[layer],
        products[0].output,
        sizes[layer],
        sum(product.flops for product in products),
        sum(product.map_bytes for product in products),
      )
    )
  return rows


class CompiledCost(NamedTuple):
  """XLA's count for one clip.

  Attributes:
    flops: FLOPs, also those of normalisation, pools and tanh.
    argument_bytes: bytes of the parameters, the running statistics and the clip.
    map_bytes: bytes that convolutions and matrix products write.
    peak_bytes: device memory in use at the peak. Maps share memory, so it is less than their sum.
  """

  flops: float
  argument_bytes: int
  map_bytes: int
  peak_bytes: int


def compiled_cost(network: nn.Module, clip_shape: Sequence[int]) -> CompiledCost:
  """Compile a network for one clip, and return XLA's count.

  Args:
    network: as in `layer_costs`.
    clip_shape: (T, H, W, C).
  """
  variables, clips = _arguments(network, clip_shape)
  with tracing_for('accelerator'):
    compiled = jax.jit(network.apply).lower(variables, clips).compile()
  map_bytes = 0
  for item in instructions(compiled.as_text()):
    if item.opcode in ('convolution', 'dot'):
      map_bytes += item.num_bytes
  arguments = compiled.memory_analysis().argument_size_in_bytes
  return CompiledCost(xla_cost(compiled).flops, arguments, map_bytes, used_bytes(compiled))


def _arguments(network: nn.Module, clip_shape: Sequence[int]) -> tuple[Any, jax.ShapeDtypeStruct]:
  """Return the shapes of the network's variables and of one clip."""
  clips = jax.ShapeDtypeStruct((1, *clip_shape), jnp.float32)
  with tracing_for('accelerator'):
    return jax.eval_shape(network.init, jax.random.key(0), clips), clips


def _parameter_layers(params: Mapping[str, Any]) -> dict[tuple[str, ...], str]:
  """Return the layer of each parameter, by path.

  The layer of a kernel is its path without 'kernel'. Other parameters belong to the kernel whose
  path starts theirs, such as 'conv1' for 'conv1/norm/scale'.
  """
  paths = list(flax.traverse_util.flatten_dict(params))
  kernels = {_stem(path) for path in paths if path[-1].endswith('kernel')}
  layers = {}
  for path in paths:
    stem = _stem(path)
    while stem not in kernels and len(stem) > 1:
      stem = stem[:-1]
    layers[path] = '/'.join(stem)
  return layers


def _stem(path: tuple[str, ...]) -> tuple[str, ...]:
  """Return ('conv1',) for ('conv1', 'kernel') and for ('conv1_kernel',)."""
  name = re.sub(r'_?(kernel|bias|scale)$', '', path[-1])
  return (*path[:-1], name) if name else path[:-1]


def _origins(variables: Mapping[str, Any], layers: Mapping[tuple[str, ...], str]) -> list[Origin]:
  """Return the origin of each leaf of the variables, in the order of the leaves."""
  origins = []
  for path, _ in jax.tree_util.tree_leaves_with_path(variables):
    collection, *names = [entry.key for entry in path]
    layer = layers.get(tuple(names)) if collection == 'params' else None
    origins.append(frozenset([layer] if layer else []))
  return origins


def _sizes(params: Mapping[str, Any], layers: Mapping[tuple[str, ...], str]) -> dict[str, int]:
  """Return the number of parameters of each layer."""
  sizes = dict.fromkeys(layers.values(), 0)
  for path, leaf in flax.traverse_util.flatten_dict(params).items():
    sizes[layers[path]] += math.prod(leaf.shape)
  return sizes


def _kernels(
  params: Mapping[str, Any], layers: Mapping[tuple[str, ...], str]
) -> dict[str, tuple[int, ...]]:
  """Return the shape of the kernel of each layer."""
  leaves = flax.traverse_util.flatten_dict(params).items()
  return {layers[path]: leaf.shape for path, leaf in leaves if path[-1].endswith('kernel')}


def _products(
  jaxpr: Any, inputs: Sequence[Origin], times: int
) -> tuple[list[_Product], list[Origin]]:
  """Follow the origins of values through a jaxpr.

  Args:
    jaxpr: the jaxpr.
    inputs: origins of its inputs.
    times: how often it runs.

  Returns:
    The products of clips and kernels, and the origins of the outputs.
  """
  known = dict(zip(jaxpr.invars, inputs, strict=True))
  products = []
  for equation in jaxpr.eqns:
    operands = [_origin(known, variable) for variable in equation.invars]
    origin = _joined(operands)
    if equation_flops(equation) and origin is _CLIPS:
      products.append(_product(equation, operands, times))
    for inner in inner_jaxprs(equation.params):
      found, outputs = _inner_products(inner, equation, operands, times)
      products += found
      origin = _joined([origin, *outputs])
    known |= dict.fromkeys(equation.outvars, origin)
  return products, [_origin(known, variable) for variable in jaxpr.outvars]


def _inner_products(
  inner: Any, equation: Any, operands: Sequence[Origin], times: int
) -> tuple[list[_Product], list[Origin]]:
  """Return `_products` of the body of a call or a loop."""
  if equation.primitive.name == 'scan':
    # The state of a loop starts as a constant, and depends on the clips after one step.
    operands = [origin or _CLIPS for origin in operands]
    times *= equation.params['length']
  count = len(inner.invars)
  return _products(inner, operands[len(operands) - count :], times)


def _origin(known: Mapping[Any, Origin], variable: Any) -> Origin:
  """Return the origin of an operand; constants have none."""
  is_literal = not isinstance(variable, jax.extend.core.Var)
  return frozenset() if is_literal else known.get(variable, frozenset())


def _joined(origins: Sequence[Origin]) -> Origin:
  if any(origin is _CLIPS for origin in origins):
    return _CLIPS
  return frozenset().union(*origins)


def _product(equation: Any, operands: Sequence[Origin], times: int) -> _Product:
  layers = _joined([origin for origin in operands if origin is not _CLIPS])
  value = equation.outvars[0].aval
  batch, *rest = value.shape
  shape = (batch, *rest) if times == 1 else (batch, times, *rest)
  num_bytes = math.prod(shape) * np.dtype(value.dtype).itemsize
  return _Product('+'.join(sorted(layers)), shape, times * equation_flops(equation), num_bytes)
