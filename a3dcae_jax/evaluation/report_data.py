"""Choose the frames and curves that a report shows."""

import abc
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.files import read_object
from a3dcae_jax.config import fields
from a3dcae_jax.data.frame_cache import Split
from a3dcae_jax.report.contents import Report, Strip, VideoScores
from a3dcae_jax.scoring.metrics import roc
from a3dcae_jax.training.hooks import read_metrics

NUM_STRIPS = 6

Frame = tuple[int, int]
"""Index of a video, and index of a frame in that video."""


class Pictures(abc.ABC):
  """Shows what a detector sees in a frame."""

  @abc.abstractmethod
  def strip(self, frame: Frame, score: float) -> Strip:
    """Return a frame beside its reconstruction and error."""

  def feature_maps(self, frame: Frame) -> dict[str, tuple[str, np.ndarray]]:
    """Return layer -> (caption, map [h, w]); empty if there are none."""
    del frame
    return {}

  def more_strips(self) -> dict[str, tuple[Strip, ...]]:
    """Return title -> further strips; empty if there are none."""
    return {}


class ReportSource(NamedTuple):
  """The frames that a report shows.

  Attributes:
    title: title of the page.
    step: number of updates of the checkpoint.
    split: the test split.
    pictures: shows what the detector sees.
  """

  title: str
  step: int
  split: Split
  pictures: Pictures


class TestScores(NamedTuple):
  """Scores of the test videos; every sequence has one entry per video.

  Attributes:
    scores: scores of the run.
    labels: labels of the frames; None without labels.
    baselines: name of a baseline -> its scores.
    intervals: detected events.
  """

  scores: Sequence[np.ndarray]
  labels: Sequence[np.ndarray] | None
  baselines: dict[str, Sequence[np.ndarray]]
  intervals: Sequence[Sequence[tuple[int, int]]]


def report_title(settings: fields.Config) -> str:
  """Return the title of a run's report."""
  return f'{settings.data.name} {settings.variant}: abnormal events'


def write_page(
  workdir: pathlib.Path, source: ReportSource, metrics: dict[str, Any], shown: TestScores
) -> None:
  """Write `report.html`.

  Args:
    workdir: folder with `config.json`, `provenance.json` and, for a training run, `metrics.jsonl`.
    source: the frames to show.
    metrics: metrics of this evaluation.
    shown: scores of the test videos.
  """
  scores = shown.scores
  labels = shown.labels
  videos = []
  for index, video in enumerate(source.split.videos):
    video_labels = labels[index] if labels else None
    videos.append(VideoScores(video.name, scores[index], video_labels, shown.intervals[index]))
  frames_of = _shown_frames(scores, labels)
  strips = {title: _strips(source, scores, frames) for title, frames in frames_of.items()}
  strips |= source.pictures.more_strips()
  report = Report(
    title=source.title,
    metrics=metrics,
    videos=tuple(videos),
    rocs=_rocs(shown),
    losses=_losses(workdir),
    config=read_object(workdir / 'config.json'),
    provenance=read_object(workdir / 'provenance.json'),
    strips=strips,
    feature_maps=source.pictures.feature_maps(frames_of['Most abnormal frames'][0]),
  )
  from a3dcae_jax.report.page import write_report  # Bokeh takes a second to import

  write_report(workdir / 'report.html', report)


def _shown_frames(scores, labels):
  """Return title -> frames to show."""
  shown = {
    'Most abnormal frames': extreme_frames(scores, most=True),
    'Most normal frames': extreme_frames(scores, most=False),
  }
  if labels:
    normal = [video == 0 for video in labels]
    abnormal = [video == 1 for video in labels]
    shown['Worst mistakes: normal frames with the highest scores'] = extreme_frames(
      scores, most=True, where=normal
    )
    shown['Worst mistakes: abnormal frames with the lowest scores'] = extreme_frames(
      scores, most=False, where=abnormal
    )
  return shown


def extreme_frames(
  scores: Sequence[np.ndarray], *, most: bool, where: Sequence[np.ndarray] | None = None
) -> list[Frame]:
  """Return the frame of each video with the highest or lowest score, sorted.

  Args:
    scores: scores of each video.
    most: whether to take the highest scores instead of the lowest.
    where: bool [N_v] for each video, the frames to choose from; None for all.
  """
  worst = -np.inf if most else np.inf
  frames = []
  for index, video in enumerate(scores):
    allowed = video if where is None else np.where(where[index], video, worst)
    frame = int(np.argmax(allowed) if most else np.argmin(allowed))
    if np.isfinite(allowed[frame]):
      frames.append((index, frame))
  return sorted(frames, key=lambda at: scores[at[0]][at[1]], reverse=most)[:NUM_STRIPS]


def _rocs(shown):
  """Return name -> ROC curve; empty if there is only one class."""
  if not shown.labels:
    return {}
  truth = np.concatenate(shown.labels)
  if len(np.unique(truth)) < 2:
    return {}
  curves = {'this run': shown.scores}
  for name, values in shown.baselines.items():
    curves[f'baseline: {name.replace("_", " ")}'] = values
  return {name: roc(np.concatenate(values), truth) for name, values in curves.items()}


def _losses(workdir):
  """Return title -> (steps, values) of the losses of a training run."""
  path = workdir / 'metrics.jsonl'
  rows = read_metrics(path) if path.exists() else []
  titles = {
    'rec': 'reconstruction loss, mean squared error (Fig. 3a)',
    'adv': 'adversarial loss, 2 ln 2 = 1.386 when confused (Fig. 3b)',
  }
  losses = {}
  for name, title in titles.items():
    if rows and name in rows[0]:
      losses[title] = ([row['step'] for row in rows], [row[name] for row in rows])
  return losses


def _strips(source, scores, frames):
  return tuple(source.pictures.strip(frame, scores[frame[0]][frame[1]]) for frame in frames)
