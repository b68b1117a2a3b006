"""The contents of a report: plain arrays and dicts, so that anything can fill it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class VideoScores:
  """The scores of one test video.

  Attributes:
    name: name of the video.
    scores: float [N].
    labels: 0/1 [N], or None.
    detected: the detected events, (start, end) in frames, end exclusive.
  """

  name: str
  scores: np.ndarray
  labels: np.ndarray | None = None
  detected: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Strip:
  """One frame with its reconstruction and error.

  Attributes:
    caption: text below the pictures.
    clip: the frame, [H, W] in [0, 1].
    recon: its reconstruction, [H, W] in [0, 1], or None for a bundle, which does not return it.
    error: squared error, [H, W].
  """

  caption: str
  clip: np.ndarray
  recon: np.ndarray | None
  error: np.ndarray


@dataclass(frozen=True)
class Report:
  """Everything on the page.

  Attributes:
    title: title of the page.
    metrics: the content of `metrics.json`.
    videos: the test videos.
    rocs: name -> (false positive rate, true positive rate).
    losses: name -> (steps, values).
    strips: title -> frames to show.
    feature_maps: layer -> (caption, map [h, w]).
    config: settings, printed at the end.
    provenance: provenance, printed at the end.
  """

  title: str
  metrics: Mapping[str, Any]
  videos: tuple[VideoScores, ...]
  rocs: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
  losses: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
  strips: dict[str, tuple[Strip, ...]] = field(default_factory=dict)
  feature_maps: dict[str, tuple[str, np.ndarray]] = field(default_factory=dict)
  config: dict[str, Any] = field(default_factory=dict)
  provenance: dict[str, Any] = field(default_factory=dict)
