"""Frame-level metrics: ROC, AUC, EER, average precision, score gap.

With only one class a metric is None, never a silent 0 or 1. scikit-learn is imported only when a
metric is computed, because that takes seconds and training does not need it.
"""

from collections.abc import Sequence

import numpy as np


def roc(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Return false and true positive rates at every threshold.

  Args:
    scores: float [N], of all videos.
    labels: 0/1 [N].
  """
  from sklearn import metrics as sklearn_metrics

  fpr, tpr, _ = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
  return fpr, tpr


def auc(scores: np.ndarray, labels: np.ndarray) -> float | None:
  """Return the area under the ROC curve, or None if there is only one class."""
  if not _has_both_classes(labels):
    return None
  from sklearn import metrics as sklearn_metrics

  return float(sklearn_metrics.roc_auc_score(labels, scores))


def equal_error_rate(scores: np.ndarray, labels: np.ndarray) -> float | None:
  """Return the rate at which false positives equal misses.

  The ROC curve is interpolated linearly between thresholds. With only one class it is None.
  """
  if not _has_both_classes(labels):
    return None
  fpr, tpr = roc(scores, labels)
  misses = 1 - tpr
  gap = fpr - misses  # rises from -1 to 1
  after = int(np.argmax(gap >= 0))
  before = max(after - 1, 0)
  gap_rise = gap[after] - gap[before]
  fpr_rise = fpr[after] - fpr[before]
  share = -gap[before] / gap_rise if gap_rise else 0.0
  return float(fpr[before] + share * fpr_rise)


def frame_metrics(
  scores: Sequence[np.ndarray], labels: Sequence[np.ndarray]
) -> dict[str, float | int | None]:
  """Return all frame-level metrics of an evaluation.

  Args:
    scores: one float [N_v] per video.
    labels: one 0/1 [N_v] per video.

  Returns:
    A dict with
      auc, eer, ap: over all frames of all videos (micro), in [0, 1].
      macro_auc: mean AUC of the videos that have both classes.
      undefined_videos: number of the other videos.
      score_gap: mean score of abnormal frames minus that of normal ones (Liu et al. 2018; Fig. 4).
    Each is None where a class is missing.
  """
  all_scores = np.concatenate(scores)
  all_labels = np.concatenate(labels)
  average_precision = None
  score_gap = None
  if _has_both_classes(all_labels):
    from sklearn import metrics as sklearn_metrics

    average_precision = sklearn_metrics.average_precision_score(all_labels, all_scores)
    average_precision = float(average_precision)
    normal = all_scores[all_labels == 0]
    abnormal = all_scores[all_labels == 1]
    score_gap = float(abnormal.mean() - normal.mean())
  of_videos = [auc(*pair) for pair in zip(scores, labels, strict=True)]
  defined = [value for value in of_videos if value is not None]
  return {
    'auc': auc(all_scores, all_labels),
    'eer': equal_error_rate(all_scores, all_labels),
    'ap': average_precision,
    'macro_auc': float(np.mean(defined)) if defined else None,
    'undefined_videos': len(of_videos) - len(defined),
    'score_gap': score_gap,
  }


def _has_both_classes(labels: np.ndarray) -> bool:
  return len(np.unique(labels)) == 2
