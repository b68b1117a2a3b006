"""Confidence intervals and paired comparisons by resampling whole videos.

Single frames are not resampled: those of one video are not independent.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

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
) -> dict[str, Any] | None:
  """Return a confidence interval of the micro AUC.

  It is the percentile interval over videos drawn with replacement.

  Args:
    scores: one float [N_v] per video.
    labels: one 0/1 [N_v] per video.
    resamples: number of draws.

  Returns:
    'low', 'high', 'level', 'resamples' and 'undefined', the number of draws with only one class,
    which are left out. 'low' and 'high' are None if all draws are left out. Instead of all this
    None for fewer than `LEAST_VIDEOS` videos.
  """
  count = len(scores)
  if count < LEAST_VIDEOS:
    return None
  rng = np.random.default_rng(SEED)
  wins = _wins(scores, labels)
  abnormal, normal = _class_counts(labels)
  values = []
  for _ in range(resamples):
    counts = np.bincount(rng.integers(count, size=count), minlength=count)
    pairs = (counts @ abnormal) * (counts @ normal)
    if pairs:
      values.append(counts @ wins @ counts / pairs)
  low, high = _interval(values) if values else (None, None)
  return {
    'low': low,
    'high': high,
    'level': LEVEL,
    'resamples': resamples,
    'undefined': resamples - len(values),
  }


class Difference(NamedTuple):
  """Difference of a figure of two detectors on the same videos.

  Attributes:
    value: mean over the seeds.
    low: lower end of its interval; None for fewer than `LEAST_VIDEOS` videos.
    high: upper end.
  """

  value: float
  low: float | None
  high: float | None


Scores = Sequence[Sequence[np.ndarray]]
"""Scores of a detector: for each seed one float [N_v] per video."""


def paired_difference(
  first: Scores,
  second: Scores,
  labels: Sequence[np.ndarray],
  *,
  resamples: int = RESAMPLES,
) -> Difference | None:
  """Return the difference of the micro AUC of two detectors, with an interval.

  The interval is by percentiles. Videos and seeds are drawn with replacement, the same for both
  detectors. Draws with only one class are left out.

  Args:
    first: scores of the first detector.
    second: those of the second detector, of the same seeds.
    labels: one 0/1 [N_v] per video.
    resamples: number of draws.

  Returns:
    The difference; None if all frames have one class.
  """
  won = np.stack(
    [_wins(one, labels) - _wins(two, labels) for one, two in zip(first, second, strict=True)]
  )
  abnormal, normal = _class_counts(labels)

  def figure(counts: np.ndarray, seeds: np.ndarray) -> float | None:
    pairs = (counts @ abnormal) * (counts @ normal)
    return counts @ won[seeds].mean(0) @ counts / pairs if pairs else None

  return _with_interval(figure, won.shape[:2], resamples)


def paired_gap_difference(
  first: Scores,
  second: Scores,
  labels: Sequence[np.ndarray],
  *,
  resamples: int = RESAMPLES,
) -> Difference | None:
  """Return the difference of the score gap of two detectors, with an interval.

  The gap is the mean score of abnormal frames minus that of normal ones. Everything else is as in
  `paired_difference`.
  """
  pairs = list(zip(first, second, strict=True))
  of_abnormal, of_normal = (
    np.asarray([_sums(one, labels, label) - _sums(two, labels, label) for one, two in pairs])
    for label in (1, 0)
  )
  abnormal, normal = _class_counts(labels)

  def figure(counts: np.ndarray, seeds: np.ndarray) -> float | None:
    weights = (counts @ abnormal, counts @ normal)
    if not all(weights):
      return None
    sums = (counts @ of_abnormal[seeds].mean(0), counts @ of_normal[seeds].mean(0))
    return sums[0] / weights[0] - sums[1] / weights[1]

  return _with_interval(figure, of_abnormal.shape, resamples)


def paired_count_difference(
  first: np.ndarray, second: np.ndarray, *, resamples: int = RESAMPLES
) -> Difference:
  """Return the difference of the counts of two detectors, with an interval.

  Counts are summed over all videos.

  Args:
    first: counts [S, V] of the first detector, by seed and video.
    second: those of the second detector, of the same seeds.
    resamples: number of draws, as in `paired_difference`.
  """
  more = np.asarray(first, np.float64) - np.asarray(second, np.float64)

  def figure(counts: np.ndarray, seeds: np.ndarray) -> float:
    return counts @ more[seeds].mean(0)

  return _with_interval(figure, more.shape, resamples)


Figure = Callable[[np.ndarray, np.ndarray], float | None]
"""(how often each video is taken [V], indices of seeds) -> a figure; None if not defined."""


def _with_interval(figure: Figure, shape: tuple[int, ...], resamples: int) -> Difference | None:
  """Return a figure of all videos and seeds, with its interval.

  Args:
    figure: the figure.
    shape: numbers of seeds and of videos.
    resamples: number of draws.
  """
  num_seeds, num_videos = shape
  value = figure(np.ones(num_videos), np.arange(num_seeds))
  if value is None:
    return None
  if num_videos < LEAST_VIDEOS:
    return Difference(float(value), None, None)
  values = []
  rng = np.random.default_rng(SEED)
  for _ in range(resamples):
    counts = np.bincount(rng.integers(num_videos, size=num_videos), minlength=num_videos)
    found = figure(counts, rng.integers(num_seeds, size=num_seeds))
    if found is not None:
      values.append(found)
  return Difference(float(value), *_interval(values))


def _interval(values: Sequence[float]) -> tuple[float, float]:
  """Return the percentile interval of the values of draws."""
  tail = (1 - LEVEL) / 2
  low, high = np.quantile(values, [tail, 1 - tail]).tolist()
  return low, high


def _class_counts(labels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  """Return the numbers of abnormal and of normal frames of each video, float64 [V]."""
  abnormal = [np.sum(video == 1) for video in labels]
  normal = [np.sum(video == 0) for video in labels]
  return np.asarray(abnormal, np.float64), np.asarray(normal, np.float64)


def _sums(scores: Sequence[np.ndarray], labels: Sequence[np.ndarray], label: int) -> np.ndarray:
  """Return the sum of the scores of frames of one class in each video, float64 [V]."""
  pairs = zip(scores, labels, strict=True)
  return np.asarray([video[truth == label].sum() for video, truth in pairs], np.float64)


def _wins(scores: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> np.ndarray:
  """Count pairs of frames in which the abnormal one has the higher score.

  A tie counts half. The AUC of any draw of videos is a sum of these counts, so a draw is cheap.

  Returns:
    float64 [V, V]: abnormal frames of one video against normal frames of another.
  """
  abnormal = [video[truth == 1] for video, truth in zip(scores, labels, strict=True)]
  normal = [video[truth == 0] for video, truth in zip(scores, labels, strict=True)]
  counts = np.zeros((len(scores), len(scores)))
  for column, others in enumerate(normal):
    ordered = np.sort(others)
    for row, frames in enumerate(abnormal):
      below = np.searchsorted(ordered, frames, 'left')
      not_above = np.searchsorted(ordered, frames, 'right')
      counts[row, column] = (below + not_above).sum() / 2
  return counts
