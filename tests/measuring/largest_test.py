"""The search for the largest batch needs few compilations."""

import pytest

from a3dcae_jax.measuring import largest
from a3dcae_jax.measuring.programs import Setting, report_fields


@pytest.mark.parametrize('first', [1, 3, 8, 64])
@pytest.mark.parametrize(
  'fixed, each, curve', [(100, 37, 0), (0, 1000, 0), (100, 10, 0.4), (5000, 1, 0)]
)
def test_the_largest_batch_is_found_in_few_compilations(first, fixed, each, curve):
  calls = []

  def used_at(batch):
    return fixed + each * batch + curve * batch**2

  def measure(batch):
    calls.append(batch)
    used = used_at(batch)
    return used if used < 2000 else None  # far beyond the limit the compiler gives up

  fitting = [batch for batch in range(1, 1001) if used_at(batch) <= 1000]
  assert largest.search(measure, 1000, first=first) == max(fitting, default=0)
  assert len(set(calls)) == len(calls) <= 12


def test_a_straight_line_takes_four_compilations():
  calls = []

  def measure(batch):
    calls.append(batch)
    return 100 + 37 * batch

  assert largest.search(measure, 1000, first=8) == 24
  assert len(calls) <= 4


def test_known_batches_are_not_compiled_again():
  calls = []

  def measure(batch):
    calls.append(batch)
    return int(2.4e9 + 0.7875e9 * batch)

  known = {8: 8_700_000_000, 16: 15_000_000_000}
  assert largest.search(measure, 16 * 2**30, first=8, known=known) == 18
  assert sorted(calls) == [18, 19]
  assert largest.search(measure, 16 * 2**30, known={18: 1, 19: None}) == 18
  assert len(calls) == 2


def test_only_reports_of_the_same_program_are_known():
  setting = Setting('train', 'paper', 8, 'bfloat16')
  row = {**report_fields(setting), 'topology': 'v5e:1x1', 'memory_gb': 8.7}
  earlier = [
    row,
    {**row, 'batch': 16, 'memory_gb': 15.0},
    {**row, 'topology': 'v6e:1x1', 'batch': 9},
    {**row, 'remat': 'blocks', 'batch': 10},
    {**row, 'gradient_dtype': 'float32', 'batch': 11},
  ]
  known = largest.known_bytes(setting, 'v5e:1x1', earlier)
  assert known == {8: 8_700_000_000, 16: 15_000_000_000}
