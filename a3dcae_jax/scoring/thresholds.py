"""Thresholds from training scores alone: they never depend on test labels."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.scoring.events import detect_events

RULES = ('quantile', 'rate', 'fixed')

Count = Callable[[np.ndarray, float], int]
"""(scores of a video, threshold) -> number of its events."""


def count_detected(scores: np.ndarray, threshold: float) -> int:
  """Return the number of events of a video, as `events.detect_events` finds them."""
  return len(detect_events(scores, threshold=threshold))


def choose_threshold(
  train_scores: Sequence[np.ndarray],
  *,
  rule: str,
  value: float,
  frames_per_s: float,
  count: Count = count_detected,
) -> float:
  """Return the score at which events begin.

  Args:
    train_scores: scores of normal (training) videos, one float [N_v] per video.
    rule: 'quantile': the quantile `value` of all training scores. 'rate': the lowest threshold
      with at most `value` events per hour of training video. 'fixed': `value` itself.
    value: see `rule`.
    frames_per_s: frame rate of the videos, for 'rate'.
    count: counts the events of a video, for 'rate'.

  Raises:
    UserError: for an unknown rule, a value out of range, or no training scores.
  """
  if rule not in RULES:
    raise UserError(f'threshold rule {rule!r}: known are {", ".join(RULES)}')
  if rule == 'fixed':
    return float(value)
  scores = np.concatenate(train_scores) if train_scores else np.empty(0)
  if not len(scores):
    raise UserError(f'threshold rule {rule!r} needs training scores, but there are none')
  if rule == 'rate':
    allowed = value * len(scores) / frames_per_s / 3600
    return _threshold_of_rate(train_scores, allowed, count)
  if not 0 < value < 1:
    raise UserError(f'threshold quantile (={value}) must lie between 0 and 1')
  return float(np.quantile(scores, value))


def expected_alarms(
  train_scores: Sequence[np.ndarray],
  threshold: float,
  frames_per_s: float,
  *,
  count: Count = count_detected,
) -> dict[str, Any]:
  """Return the rate of events in training scores, with its uncertainty.

  The interval is Garwood's exact one for a Poisson count. With an hour of video and no event, the
  rate is still only known to be below 3.7 per hour.

  Args:
    train_scores: scores of normal videos, one float [N_v] per video.
    threshold: the score at which events begin.
    frames_per_s: frame rate of the videos.
    count: counts the events of a video.

  Returns:
    `events`, `hours`, `per_hour`, and `low` and `high`, the 95 % interval of the rate per hour.
  """
  events = sum(count(video, threshold) for video in train_scores)
  hours = sum(map(len, train_scores)) / frames_per_s / 3600
  from scipy import stats  # takes seconds, and training does not need it

  low = stats.chi2.ppf(0.025, 2 * events) / 2 if events else 0.0
  high = stats.chi2.ppf(0.975, 2 * events + 2) / 2
  return {
    'events': events,
    'hours': hours,
    'per_hour': events / hours,
    'low': float(low) / hours,
    'high': float(high) / hours,
  }


def _threshold_of_rate(train_scores: Sequence[np.ndarray], allowed: float, count: Count) -> float:
  """Search for the lowest threshold above which there are at most `allowed` events.

  Candidates are the scores themselves and a number just above the highest one, where there are no
  events. Far below, few events are left, since all of them have merged into one that never ends.
  So the search goes downwards, with twice as many frames above the threshold in each step, until
  there are too many events, and bisects the last step.
  """
  scores = np.concatenate(train_scores)
  candidates = np.r_[np.sort(scores), np.nextafter(scores.max(), np.inf)]

  def has_too_many(index):
    return sum(count(video, candidates[index]) for video in train_scores) > allowed

  high = len(scores)
  reach = 1
  while not has_too_many(low := max(0, len(scores) - reach)):
    if not low:
      return float(candidates[0])
    high = low
    reach *= 2
  while high - low > 1:
    middle = (low + high) // 2
    if has_too_many(middle):
      low = middle
    else:
      high = middle
  return float(candidates[high])
