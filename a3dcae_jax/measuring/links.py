"""Lower bound on the time that a collective occupies the links between chips.

Rates are those of the data sheets.
"""

import math

from a3dcae_jax.measuring.chips import Topology, chip_of, parse_topology, platform_of

# A side of a TPU slice is a ring if its length is a multiple of this.
# Source: Google Cloud's pages on the TPU architectures.
WRAPPED = {'v5e': 16, 'v6e': 16, 'v5p': 4}


def sending_s(opcode: str, num_bytes: float, topology: str) -> float:
  """Return the seconds that a collective takes at the rate of the links.

  Bytes that each of the n chips sends, for a result of `num_bytes` on each chip:

      all-reduce       2 (n - 1) / n * num_bytes, in a ring over all links
      all-gather       (n - 1) / n * num_bytes
      reduce-scatter   (n - 1) * num_bytes, since its result is an nth of the summed array
      all-to-all       (n - 1) / n * num_bytes between GPUs. On a grid of TPUs a quarter of all
                       chips' bytes crosses the middle of the grid in each direction.

  Args:
    opcode: opcode of the HLO instruction.
    num_bytes: size of its result.
    topology: name of the topology, such as 'v5e:2x2'.
  """
  parsed = parse_topology(topology)
  chips = math.prod(parsed.grid)
  rate = chip_of(topology).link_gb_per_s * 1e9
  kind = opcode.removesuffix('-start')
  is_grid = platform_of(topology) == 'tpu' and chips > 1
  if kind == 'all-to-all' and is_grid:
    links_per_chip = 2 * len(parsed.grid)
    rate_across = _links_across(parsed) * rate / links_per_chip
    return chips * num_bytes / 4 / rate_across
  if kind == 'reduce-scatter':
    share = chips - 1
  elif kind == 'all-reduce':
    share = 2 * (chips - 1) / chips
  else:
    share = (chips - 1) / chips
  return share * num_bytes / rate


def _links_across(topology: Topology) -> int:
  """Return the number of links that cross the middle of the longest side."""
  longest = max(topology.grid)
  chips = math.prod(topology.grid)
  rows = chips // longest
  is_ring = longest % WRAPPED[topology.kind] == 0
  if is_ring:
    return 2 * rows
  return rows
