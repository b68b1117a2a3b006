"""Frame-level metrics: ROC, AUC, EER, average precision, score gap. One class alone gives None, never a silent 0 or 1."""

import numpy as np
from sklearn import metrics as sklearn_metrics


def roc(scores, labels):
  """(false positive rate, true positive rate) of the concatenated videos, every threshold kept."""
  fpr, tpr, _ = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
  return fpr, tpr


def auc(scores, labels):
  """Area under the ROC curve in [0, 1], or None where `labels` has one class alone."""
  return float(sklearn_metrics.roc_auc_score(labels, scores)) if _both(labels) else None


def equal_error_rate(scores, labels):
  """Where false positive rate = 1 - true positive rate, interpolated linearly on the ROC curve; None with one class."""
  if not _both(labels):
    return None
  fpr, tpr = roc(scores, labels)
  gap = fpr - (1 - tpr)  # rises from -1 to 1
  after = int(np.argmax(gap >= 0))
  before = max(after - 1, 0)
  rise = gap[after] - gap[before]
  share = -gap[before] / rise if rise else 0.0
  return float(fpr[before] + share * (fpr[after] - fpr[before]))


def frame_metrics(scores, labels):
  """All frame-level metrics of an evaluation.

  Args: scores: list of float [N_v]. labels: list of 0/1 [N_v].

  Returns: dict of
    auc, eer, ap: over all frames of all videos (micro).
    macro_auc: mean of the videos' own AUC over those that have both classes; undefined_videos: how many have not.
    score_gap: mean score of abnormal frames minus that of normal ones (Liu et al. 2018; Fig. 4).
  Each in [0, 1] or score units; None where one class is missing.
  """
  all_scores, all_labels = np.concatenate(scores), np.concatenate(labels)
  per_video = [auc(s, l) for s, l in zip(scores, labels, strict=True)]
  defined = [value for value in per_video if value is not None]
  both = _both(all_labels)
  return {
    'auc': auc(all_scores, all_labels),
    'eer': equal_error_rate(all_scores, all_labels),
    'ap': float(sklearn_metrics.average_precision_score(all_labels, all_scores)) if both else None,
    'macro_auc': float(np.mean(defined)) if defined else None,
    'undefined_videos': len(per_video) - len(defined),
    'score_gap': float(all_scores[all_labels == 1].mean() - all_scores[all_labels == 0].mean())
    if both
    else None,
  }


def _both(labels):
  return len(np.unique(labels)) == 2
