"""On-chip memory of TPUs: how much a kernel may use, and how much an array takes."""

# A v5e gives a kernel 16 MiB. Every array takes its space twice, since the next block is fetched
# while this one is computed.
ON_CHIP_BYTES = 14_500_000

# The last axis of an array is padded to a multiple of LANES, the one before it of SUBLANES.
LANES = 128
SUBLANES = 8


def round_up(size: int, unit: int) -> int:
  """Round `size` up to a multiple of `unit`."""
  units = -(-size // unit)
  return units * unit
