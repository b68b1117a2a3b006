"""Inspection of traced programs, for the tests of kernels."""

from collections.abc import Callable, Iterator
from typing import Any

import jax


def kernel_grids(function: Callable[..., Any], *arguments: Any) -> list[tuple[int, ...]]:
  """Return the grid of every Pallas kernel that `function` runs."""
  jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
  grids = []
  for equation in _equations(jaxpr):
    if equation.primitive.name == 'pallas_call':
      grids.append(equation.params['grid_mapping'].grid)
  return grids


def _equations(jaxpr: Any) -> Iterator[Any]:
  """Yield all operations of a program, including those of inner programs."""
  for equation in jaxpr.eqns:
    yield equation
    for value in jax.tree.leaves(equation.params, is_leaf=_is_program):
      if _is_program(value):
        yield from _equations(getattr(value, 'jaxpr', value))


def _is_program(value: Any) -> bool:
  """Return whether a parameter of an operation is a program, open or closed."""
  return hasattr(value, 'eqns') or hasattr(getattr(value, 'jaxpr', None), 'eqns')
