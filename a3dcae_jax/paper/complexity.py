"""Section IV-F: the formulas of complexity, beside counts from the networks.

The formulas of a convolution with kernel $K_t K_x K_y$, $C_i$ input and $C_o$ output channels and a
map of $D = D_t D_x D_y$ positions, with an activation of n FLOPs:

    time     (K_t K_x K_y C_i + n) D C_o           operations
    space    (K_t K_x K_y C_i + D) C_o             "parameter size"

and those of a convolutional LSTM, for each frame:

    time     (4 K_x K_y (C_i + C_o) + 5 n + 12) D_x D_y C_o
    space    4 (K_x K_y (C_i + C_o) + D_x D_y) C_o

Where they differ from the counts:

- A multiplication and an addition count as one operation, but an activation in FLOPs. In FLOPs the
  first term is twice as large. O() permits this, a comparison of figures does not.
- Taps on the zero padding count. For a kernel of 3x3x3 at a map of 2x14x14, the formula has 1.65
  times the taps that read a pixel.
- Normalisation, pools and fully connected layers are left out.
- The space formula has D C_o where the C_o biases belong. That is the size of the map: memory for
  activations, not parameters.
- From it the paper concludes that 3D convolutions have more parameters than convolutional LSTMs.
  With K_t = 3 they have fewer, since 3 C_i < 4 (C_i + C_o).
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn

from a3dcae_jax.config import fields
from a3dcae_jax.models.inputs import num_streams
from a3dcae_jax.models.networks import make_networks
from a3dcae_jax.paper.layer_costs import LayerCost, compiled_cost, layer_costs
from a3dcae_jax.run.train import clip_shape_of

# n of the formulas, the FLOPs of a tanh.
ACTIVATION_FLOPS = 1

COLUMNS = (
  'layer',
  'output',
  'parameters',
  'GFLOP',
  'MB',
  'formula: 1e9 operations',
  'formula: parameters',
  'GFLOP by operations',
)


class ComplexityTable(NamedTuple):
  """The layers of one network.

  Attributes:
    name: short name, such as 'auto-encoder'.
    title: one line.
    columns: names of the columns.
    rows: a row for each layer, and one for their sum. None where the paper has no formula.
    verdict: sentences on the formulas and on XLA's count.
  """

  name: str
  title: str
  columns: tuple[str, ...]
  rows: list[tuple[Any, ...]]
  verdict: list[str]


def tables(settings: fields.Config, *, compiled: bool = True) -> list[ComplexityTable]:
  """Return the complexity of the networks that a config trains.

  Args:
    settings: the config, of which one clip in float32 is counted. Without an adversarial loss
      there is no discriminator.
    compiled: also compile the networks, and compare with XLA's count.
  """
  model = dataclasses.replace(settings.model, dtype='float32', remat='none')
  streams = num_streams(settings.input.kind)
  # The direct method: the polyphase method and minimal filtering need other numbers of products.
  autoencoder, discriminator = make_networks(
    model, conv_algorithm='direct', polyphase=False, streams=streams
  )
  networks = {'auto-encoder': (autoencoder, streams)}
  if settings.loss.adversarial_weight:
    networks['discriminator'] = (discriminator, 1)
  clip_shape = clip_shape_of(settings)
  size = 'x'.join(str(length) for length in clip_shape)
  found = []
  for name, (network, channels) in networks.items():
    title = f'{name} {settings.variant}: one clip of {size}, float32'
    shape = (*clip_shape, channels)
    found.append(network_table(name, title, network, shape, compiled=compiled))
  return found


def network_table(
  name: str, title: str, network: nn.Module, clip_shape: Sequence[int], *, compiled: bool = True
) -> ComplexityTable:
  """Return the complexity of any network.

  Args:
    name: short name.
    title: one line.
    network: as in `layer_costs.layer_costs`.
    clip_shape: (T, H, W, C).
    compiled: also compile the network, and compare with XLA's count.
  """
  costs = layer_costs(network, clip_shape)
  verdict = formula_findings(costs)
  if compiled:
    verdict += xla_findings(costs, network, clip_shape)
  rows = [_row(cost) for cost in costs]
  return ComplexityTable(name, title, COLUMNS, [*rows, _sum_row(costs)], verdict)


def formula_operations(cost: LayerCost) -> int | None:
  """Return the operations by the paper's formula; None if not a convolution."""
  if len(cost.kernel) < 4:
    return None
  *taps, features_out = cost.kernel
  return (math.prod(taps) + ACTIVATION_FLOPS) * _positions(cost) * features_out


def formula_parameters(cost: LayerCost) -> int | None:
  """Return the "parameter size" by the paper's formula; None if not a convolution."""
  if len(cost.kernel) < 4:
    return None
  *taps, features_out = cost.kernel
  return (math.prod(taps) + _positions(cost)) * features_out


def lstm_weights(cost: LayerCost) -> int:
  """Return the weights of a convolutional LSTM of the same channels and kernel."""
  *_, height, width, features_in, features_out = cost.kernel
  return 4 * height * width * (features_in + features_out) * features_out


def formula_findings(costs: Sequence[LayerCost]) -> list[str]:
  """Return in words how the formulas differ from the counts."""
  layers = [cost for cost in costs if formula_operations(cost) is not None]
  operations = sum(formula_operations(cost) for cost in layers)
  flops = sum(cost.flops for cost in layers)
  ratios = [cost.flops / formula_operations(cost) for cost in layers]
  worst = max(layers, key=lambda cost: formula_parameters(cost) / cost.parameters)
  in_time = [cost for cost in layers if len(cost.kernel) == 5 and cost.kernel[0] > 1]
  fewer = [cost for cost in in_time if math.prod(cost.kernel) < lstm_weights(cost)]
  findings = [
    f'Time: {flops / 1e9:.4g} GFLOP in the convolutions, the formula gives '
    f'{operations / 1e9:.4g}e9 operations. FLOPs are {min(ratios):.2f} to {max(ratios):.2f} times '
    'the operations: twice, less the taps that read no pixel and the activation.',
    f'Space: {worst.layer} has {worst.parameters:,} parameters, the formula gives '
    f'{formula_parameters(worst):,}; the term D C_o is the size of the map.',
  ]
  if in_time:
    findings.append(
      f'{len(fewer)} of {len(in_time)} convolutions in time have fewer weights than a '
      'convolutional LSTM of the same channels; the paper says more.'
    )
  return findings


def xla_findings(
  costs: Sequence[LayerCost], network: nn.Module, clip_shape: Sequence[int]
) -> list[str]:
  """Return in words how the counts differ from XLA's."""
  xla = compiled_cost(network, clip_shape)
  flops = sum(cost.flops for cost in costs)
  maps = sum(cost.map_bytes for cost in costs)
  return [
    f'XLA counts {xla.flops / 1e9:.4g} GFLOP, {100 * (xla.flops / flops - 1):+.1f} % against the '
    'sum of the layers; it also counts normalisation, pools and tanh, and the body of a loop once.',
    f'XLA writes {xla.map_bytes / 1e6:.4g} MB of maps, {maps / 1e6:.4g} MB by our count. They '
    f'share memory: its peak with parameters is {xla.peak_bytes / 1e6:.4g} MB.',
  ]


def _positions(cost: LayerCost) -> int:
  """Return D, the positions of the map of one clip."""
  return math.prod(cost.output[:-1])


def _row(cost: LayerCost) -> tuple[Any, ...]:
  operations = formula_operations(cost)
  shape = 'x'.join(str(size) for size in cost.output[1:])
  return (
    cost.layer,
    shape,
    cost.parameters,
    cost.flops / 1e9,
    cost.map_bytes / 1e6,
    operations and operations / 1e9,
    formula_parameters(cost),
    operations and cost.flops / operations,
  )


def _sum_row(costs: Sequence[LayerCost]) -> tuple[Any, ...]:
  operations = sum(formula_operations(cost) or 0 for cost in costs)
  flops = sum(cost.flops for cost in costs)
  return (
    'sum',
    '',
    sum(cost.parameters for cost in costs),
    flops / 1e9,
    sum(cost.map_bytes for cost in costs) / 1e6,
    operations / 1e9,
    sum(formula_parameters(cost) or 0 for cost in costs),
    None,
  )
