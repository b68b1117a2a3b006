"""What a report is made of: plain arrays and dicts, so that anything can fill it."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class VideoScores:
  """One test video. scores: float [N]; labels: 0/1 [N] or None; detected: intervals [(start, end), ...], end exclusive."""

  name: str
  scores: np.ndarray
  labels: np.ndarray | None = None
  detected: tuple = ()


@dataclass(frozen=True)
class Strip:
  """One frame shown: `clip`, `recon` in [0, 1] [H, W], `error` squared error [H, W]. `recon` is None where it is not known (a bundle)."""

  caption: str
  clip: np.ndarray
  recon: np.ndarray | None
  error: np.ndarray


@dataclass(frozen=True)
class Report:
  """Everything on the page.

  Attributes:
    title: of the page. metrics: the run's `metrics.json`. videos: `VideoScores`. rocs: name -> (fpr, tpr).
    losses: name -> (steps, values). strips: title -> `Strip`s. feature_maps: layer -> (caption, [h, w]).
    config, provenance: dicts printed at the end.
  """

  title: str
  metrics: dict
  videos: tuple
  rocs: dict = field(default_factory=dict)
  losses: dict = field(default_factory=dict)
  strips: dict = field(default_factory=dict)
  feature_maps: dict = field(default_factory=dict)
  config: dict = field(default_factory=dict)
  provenance: dict = field(default_factory=dict)
