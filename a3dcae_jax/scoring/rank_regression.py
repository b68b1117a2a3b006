"""What a score follows: how far its order of the frames is that of the baselines, which learn nothing."""

import numpy as np
from scipy.stats import rankdata


def rank_regression(errors, baselines):
  """Standardised rank regression of `errors` on `baselines`: no label is needed.

      rank(e) ~ sum_k b_k rank(floor_k);   every rank vector less its mean, over its standard deviation; b by least squares

  b_k is how many standard deviations the rank of an error moves with that of baseline k while the others stay; R^2 is the share of
  the ranks' variance that the baselines explain together. A baseline that is the same everywhere has b = 0.

  Args: errors: float [N]. baselines: dict name -> float [N].
  Returns: {'weights': {name: b}, 'r2': R^2}; None where there is nothing to explain, all errors being equal.
  Source: Iman and Conover 1979, "The use of the rank transform in regression", Technometrics 21.
  """
  target = _standardised(errors)
  if not target.any():
    return None
  factors = np.stack([_standardised(values) for values in baselines.values()], axis=1)
  weights, *_ = np.linalg.lstsq(factors, target, rcond=None)
  explained = 1 - np.square(target - factors @ weights).mean()
  return {
    'weights': {name: float(weight) for name, weight in zip(baselines, weights, strict=True)},
    'r2': float(explained),
  }


def _standardised(values):
  """Ranks of mean 0 and variance 1; zeros where all values are equal."""
  ranks = rankdata(values)
  ranks -= ranks.mean()
  return ranks / (ranks.std() or 1.0)
