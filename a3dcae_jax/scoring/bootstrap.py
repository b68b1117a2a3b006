"""Confidence intervals by resampling whole videos.

Single frames are not resampled: those of one video are not independent.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from a3dcae_jax.scoring.metrics import auc

LEVEL = 0.95
LEAST_VIDEOS = 5
"""Least number of videos for an interval; two videos have only four different draws."""

RESAMPLES = 1000
SEED = 0


def auc_interval(
  scores: Sequence[np.ndarray],
  labels: Sequence[np.ndarray],
  *,
  resamples: int = RESAMPLES,
  on_draw: Callable[[], Any] = lambda: None,
) -> dict[str, Any] | None:
  """Return a confidence interval of the micro AUC.

  It is the percentile interval over videos drawn with replacement.

  Args:
    scores: one float [N_v] per video.
    labels: one 0/1 [N_v] per video.
    resamples: number of draws.
    on_draw: called after each draw.

  Returns:
    'low', 'high', 'level', 'resamples' and 'undefined', the number of draws with only one class,
    which are left out. 'low' and 'high' are None if all draws are left out. Instead of all this
    None for fewer than `LEAST_VIDEOS` videos.
  """
  count = len(scores)
  if count < LEAST_VIDEOS:
    return None
  rng = np.random.default_rng(SEED)
  values = []
  for _ in range(resamples):
    chosen = rng.integers(count, size=count)
    drawn_scores = np.concatenate([scores[i] for i in chosen])
    drawn_labels = np.concatenate([labels[i] for i in chosen])
    value = auc(drawn_scores, drawn_labels)
    if value is not None:
      values.append(value)
    on_draw()
  low = None
  high = None
  if values:
    tail = (1 - LEVEL) / 2
    bounds = np.quantile(values, [tail, 1 - tail])
    low, high = bounds.tolist()
  return {
    'low': low,
    'high': high,
    'level': LEVEL,
    'resamples': resamples,
    'undefined': resamples - len(values),
  }
