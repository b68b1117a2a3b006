"""A long video cut in two by time: the first part trains, the rest is the test."""

import itertools

from a3dcae_jax.common.errors import UserError


def part(frames, start, end):
  """A callable that iterates over frames start .. end - 1 of the callable `frames`; `end` None goes to the last."""
  return lambda: itertools.islice(frames(), start, end)


def count_frames(frames, source):
  """How many frames there are, by decoding."""
  count = sum(1 for _ in frames())
  if not count:
    raise UserError(f'{source}: no frames')
  return count
