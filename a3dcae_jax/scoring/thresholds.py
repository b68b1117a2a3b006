"""Thresholds from training scores alone: a test label never chooses one."""

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.scoring.events import detect_events

RULES = ('quantile', 'rate', 'fixed')


def choose_threshold(
  train_scores, *, rule, value, persistence=0.0, window_frames=0, merge_frames=0, frames_per_s=25.0
):
  """A score threshold.

  Args:
    train_scores: list of float [N_v], scores of normal (training) video.
    rule: 'quantile': `value` in (0, 1) of all training scores; 'rate': the lowest threshold at which training video raises at most
      `value` events an hour, events being found with the other arguments (`events.detect_events`); 'fixed': `value` itself.

  Returns: float.
  Raises: UserError for an unknown rule, a value out of range, or no training scores.
  """
  if rule not in RULES:
    raise UserError(f'threshold rule {rule!r}: known are {", ".join(RULES)}')
  if rule == 'fixed':
    return float(value)
  scores = np.concatenate(train_scores) if train_scores else np.empty(0)
  if not len(scores):
    raise UserError(f'threshold rule {rule!r} needs training scores, there are none')
  if rule == 'quantile':
    if not 0 < value < 1:
      raise UserError(f'threshold quantile (={value}) must lie between 0 and 1')
    return float(np.quantile(scores, value))
  allowed = value * len(scores) / frames_per_s / 3600
  low, high = 0, len(scores)  # candidates: the scores themselves, and just above the highest
  candidates = np.r_[np.sort(scores), np.nextafter(scores.max(), np.inf)]

  def alarms(threshold):
    arguments = {
      'persistence': persistence,
      'window_frames': window_frames,
      'merge_frames': merge_frames,
    }
    return sum(
      len(detect_events(video, threshold=threshold, **arguments)) for video in train_scores
    )

  while (
    low < high
  ):  # the number of alarms falls with the threshold, but for merging; the last candidate always has none
    middle = (low + high) // 2
    low, high = (low, middle) if alarms(candidates[middle]) <= allowed else (middle + 1, high)
  return float(candidates[low])
