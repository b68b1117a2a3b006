"""Confidence intervals by resampling whole videos: frames of one video are not independent."""

import numpy as np

from a3dcae_jax.scoring.metrics import auc


def auc_interval(scores, labels, *, resamples=1000, level=0.95, seed=0):
  """Percentile interval of the micro AUC over videos drawn with replacement.

  Args: scores, labels: lists with one entry a video. resamples: how many draws. level: of confidence. seed: of the draws.
  Returns: dict: low, high, level, resamples, undefined (draws with one class alone, left out); low and high None if all were.
  """
  rng = np.random.default_rng(seed)
  values, undefined = [], 0
  for _ in range(resamples):
    chosen = rng.integers(len(scores), size=len(scores))
    value = auc(
      np.concatenate([scores[i] for i in chosen]), np.concatenate([labels[i] for i in chosen])
    )
    undefined += value is None
    values += [] if value is None else [value]
  tail = (1 - level) / 2
  low, high = (float(q) for q in np.quantile(values, [tail, 1 - tail])) if values else (None, None)
  return {'low': low, 'high': high, 'level': level, 'resamples': resamples, 'undefined': undefined}
