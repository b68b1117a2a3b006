"""Persistence, in small examples and against a brute-force definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.scoring.persistence import maxima


def as_dict(pairs):
  return dict(zip(pairs.position.tolist(), pairs.persistence.tolist(), strict=True))


@pytest.mark.parametrize(
  'values, expected',
  [
    ([1], {0: 0}),
    ([2, 2, 2], {0: 0}),
    ([1, 2, 3], {2: 2}),
    ([3, 2, 1], {0: 2}),
    ([0, 3, 1, 2, 0], {1: 3, 3: 1}),
    ([0, 2, 2, 0], {1: 2}),
    ([5, 0, 4, 2, 6, 1], {0: 5, 2: 2, 4: 6}),
    ([1, 3, 2, 3, 0], {1: 3, 3: 1}),
  ],
)
def test_by_hand(values, expected):
  assert as_dict(maxima(values)) == expected


def brute_force(values):
  """Add samples from highest to lowest, and merge the components that they join.

  Of two components that merge, the one with the lower maximum ends; of equal ones, the later one.
  """
  order = sorted(range(len(values)), key=lambda i: (-values[i], i))
  component = {}
  result = {}
  for i in order:
    sides = {component[j] for j in (i - 1, i + 1) if j in component}
    alive = min(sides, key=lambda p: (-values[p], p), default=i)
    for dead in sides - {alive}:
      if values[dead] > values[i]:
        result[dead] = values[dead] - values[i]
      component = {j: alive if p == dead else p for j, p in component.items()}
    component[i] = alive
  result[order[0]] = max(values) - min(values)
  return result


@given(st.lists(st.integers(0, 6), min_size=1, max_size=24))
def test_against_brute_force(values):
  assert as_dict(maxima(values)) == brute_force(values)


def test_bad_curves_are_named():
  with pytest.raises(UserError, match='score 1 is not finite'):
    maxima([0.0, np.nan])
  with pytest.raises(UserError, match='empty'):
    maxima([])
