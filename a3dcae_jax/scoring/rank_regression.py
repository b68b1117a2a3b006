"""Rank regression: how far the baselines explain the order of frames by error."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def rank_regression(
  errors: np.ndarray, baselines: Mapping[str, np.ndarray]
) -> dict[str, Any] | None:
  """Regress the ranks of `errors` on those of `baselines`; no label is needed.

      rank(e) ~ sum_k b_k rank(baseline_k)

  Each vector of ranks is standardised to mean 0 and standard deviation 1, and b is fitted by least
  squares. b_k is the number of standard deviations by which the rank of an error rises if that of
  baseline k rises by one and the others stay. R^2 is the share of the variance of the ranks that
  the baselines explain together. A constant baseline has b = 0.

  Args:
    errors: float [N].
    baselines: name -> float [N].

  Returns:
    {'weights': {name: b}, 'r2': R^2}; None if all errors are equal, which leaves nothing to
    explain.

  Source: Iman and Conover 1979, "The use of the rank transform in regression", Technometrics 21.
  """
  target = _standardised_ranks(errors)
  if not target.any():
    return None
  ranks = [_standardised_ranks(values) for values in baselines.values()]
  factors = np.stack(ranks, axis=1)
  weights, *_ = np.linalg.lstsq(factors, target, rcond=None)
  unexplained = np.square(target - factors @ weights).mean()
  return {
    'weights': dict(zip(baselines, weights.tolist(), strict=True)),
    'r2': float(1 - unexplained),
  }


def _standardised_ranks(values: np.ndarray) -> np.ndarray:
  """Return ranks of mean 0 and variance 1, or zeros if all values are equal."""
  from scipy.stats import rankdata  # takes seconds, and training does not need it

  ranks = rankdata(values)
  ranks -= ranks.mean()
  return ranks / (ranks.std() or 1.0)
