"""How long a collective keeps the links between chips busy, at their data-sheet rate: a lower bound, as the roofline is of the step."""

import math

from a3dcae_jax.measuring.chips import chip_of, platform_of

WRAPPED = {
  'v5e': 16,
  'v6e': 16,
  'v5p': 4,
}  # sides of a multiple of it close to a ring. Source: Google Cloud's pages of the TPU architectures


def sending_s(opcode, num_bytes, topology):
  """Seconds that a collective whose result has `num_bytes` on each of the n chips of `topology` takes at the links' rate.

  all-reduce            2 (n - 1) / n  bytes, in a ring through all links
  all-gather              (n - 1) / n  bytes
  reduce-scatter          (n - 1)      bytes: its result is an nth of what is summed
  all-to-all            on a grid of TPUs a quarter of all chips' bytes crosses its middle, each way; between GPUs (n - 1) / n bytes leave each
  """
  grid = [int(size) for size in topology.partition(':')[2].split('x')]
  chips, rate = math.prod(grid), chip_of(topology).link_gb_per_s * 1e9
  kind = opcode.removesuffix('-start')
  if kind == 'all-to-all' and platform_of(topology) == 'tpu' and chips > 1:
    return (
      chips
      * num_bytes
      / 4
      / (_links_across(topology.partition(':')[0], grid) * rate / (2 * len(grid)))
    )
  times = {'all-reduce': 2 * (chips - 1) / chips, 'reduce-scatter': chips - 1}.get(
    kind, (chips - 1) / chips
  )
  return times * num_bytes / rate


def _links_across(kind, grid):
  """Links that a cut through the middle of the longest side crosses."""
  longest = max(grid)
  return math.prod(grid) // longest * (2 if longest % WRAPPED[kind] == 0 else 1)
