"""Choose the frames, curves and feature maps that a report shows."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.files import read_json
from a3dcae_jax.data.frame_cache import Split
from a3dcae_jax.data.windows import window_at
from a3dcae_jax.evaluation.scorer import Scorer
from a3dcae_jax.models.inputs import scale_rows
from a3dcae_jax.report.contents import Report, Strip, VideoScores
from a3dcae_jax.scoring.metrics import roc
from a3dcae_jax.training.hooks import read_metrics

NUM_STRIPS = 6

Frame = tuple[int, int]
"""Index of a video, and index of a frame in that video."""


class ReportSource(NamedTuple):
  """The scorer and the frames that a report shows.

  Attributes:
    title: title of the page.
    scorer: computes errors, and reconstructions if it has any.
    split: the test split.
    stride: stride of the windows from which frames are shown.
    ids: int32 [V], mean image id of each video.
    input_means: float32 [S, H, W], mean images of the networks' input.
    row_scale: reference speed of the top and the bottom row.
  """

  title: str
  scorer: Scorer
  split: Split
  stride: int
  ids: np.ndarray
  input_means: np.ndarray
  row_scale: tuple[float, float]


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


def write_page(
  workdir: pathlib.Path, source: ReportSource, metrics: dict[str, Any], shown: TestScores
) -> None:
  """Write `report.html`.

  Args:
    workdir: folder with `config.json`, `provenance.json` and, for a training run, `metrics.jsonl`.
    source: the scorer and frames to show.
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
  report = Report(
    title=source.title,
    metrics=metrics,
    videos=tuple(videos),
    rocs=_rocs(shown),
    losses=_losses(workdir),
    config=read_json(workdir / 'config.json'),
    provenance=read_json(workdir / 'provenance.json'),
    strips=strips,
    feature_maps=_feature_maps(source, frames_of['Most abnormal frames'][0]),
  )
  from a3dcae_jax.report.page import write_report  # Bokeh takes a second to import

  write_report(workdir / 'report.html', report)


def _shown_frames(scores, labels):
  """Return title -> frames to show."""
  shown = {
    'Most abnormal frames': _extreme_frames(scores, most=True),
    'Most normal frames': _extreme_frames(scores, most=False),
  }
  if labels:
    normal = [video == 0 for video in labels]
    abnormal = [video == 1 for video in labels]
    shown['Worst mistakes: normal frames with the highest scores'] = _extreme_frames(
      scores, most=True, where=normal
    )
    shown['Worst mistakes: abnormal frames with the lowest scores'] = _extreme_frames(
      scores, most=False, where=abnormal
    )
  return shown


def _extreme_frames(scores, *, most, where=None):
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


def _window_of(source, frame):
  """Return the back-to-back window around a frame.

  Returns:
    The clip [1, T, H, W], its mean image id [1], and the position of the frame in it.
  """
  video, index = frame
  rows, position = window_at(
    source.split.videos[video], index, window=source.scorer.window, stride=source.stride
  )
  clip = np.asarray(source.split.frames[rows])[None]
  return clip, source.ids[video : video + 1], position


def _feature_maps(source, frame):
  """Return the channel of Conv1 and of Conv2 that varies most (Fig. 5).

  Returns:
    Layer -> (caption, map [h, w]).
  """
  clip, ids, position = _window_of(source, frame)
  maps = source.scorer.feature_maps(clip, ids)
  shown = {}
  for layer in ('conv1', 'conv2'):
    if f'{layer}_map' not in maps:
      continue
    values = np.asarray(maps[f'{layer}_map'], np.float32)[0]
    response = np.abs(values[position * values.shape[0] // clip.shape[1]])
    channel = int(response.std((0, 1)).argmax())
    shown[layer] = (f'{layer}, channel {channel}', response[..., channel])
  return shown


def _strips(source, scores, frames):
  return tuple(_strip(source, frame, scores[frame[0]][frame[1]]) for frame in frames)


def _strip(source, frame, score):
  video, index = frame
  clip, ids, position = _window_of(source, frame)
  name = source.split.videos[video].name
  caption = f'video {name}, frame {index}, score {score:.3g}'
  explained = source.scorer.explain(clip, ids)
  if explained is None:
    maps = np.asarray(source.scorer.errors(clip, ids)[1])
    return Strip(caption, clip[0, position] / np.float32(255), None, maps[0, position])
  real, reconstruction = (np.asarray(array)[0, position, :, :, 0] for array in explained)
  mean_image = scale_rows(source.input_means[ids[0]], source.row_scale)
  error = np.square(real - reconstruction)
  return Strip(caption, real + mean_image, reconstruction + mean_image, error)
