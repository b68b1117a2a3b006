"""What TPU kernels may hold on chip: how much, and what an array takes there."""

ON_CHIP_BYTES = 14_500_000  # of the 16 MiB that a v5e gives a kernel; every map is there twice, since its next block is fetched meanwhile
LANES, SUBLANES = 128, 8  # that the last axis of an array fills, and the one before it


def filled(size, unit):
  """`size` up to a multiple of `unit`."""
  return -(-size // unit) * unit
