"""Turn the errors of test frames into scores, metrics, files and a report."""

import pathlib
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.files import write_json
from a3dcae_jax.config import fields
from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.evaluation.baselines import frame_baselines
from a3dcae_jax.evaluation.calibration import InputStatistics, event_threshold, train_scores
from a3dcae_jax.evaluation.protocol import protocol
from a3dcae_jax.evaluation.report_data import ReportSource, TestScores, write_page
from a3dcae_jax.evaluation.results import EvaluationResult, FrameErrors, smoothed_scores
from a3dcae_jax.report.summary import summary
from a3dcae_jax.scoring.assemble import split_by_video
from a3dcae_jax.scoring.baselines import BASELINES
from a3dcae_jax.scoring.bootstrap import auc_interval
from a3dcae_jax.scoring.events import (
  MERGE_FRAMES,
  PERSISTENCE,
  WINDOW_FRAMES,
  detect_events,
  event_metrics,
)
from a3dcae_jax.scoring.metrics import frame_metrics
from a3dcae_jax.scoring.normalisation import NORMALISATIONS, UNCALIBRATED
from a3dcae_jax.scoring.rank_regression import rank_regression
from a3dcae_jax.scoring.schema import VERSION, validate_metrics
from a3dcae_jax.scoring.tables import write_scores
from a3dcae_jax.scoring.thresholds import expected_alarms

Figures = dict[str, Any]


class RunFacts(NamedTuple):
  """Facts of a run for its metrics and its report.

  Attributes:
    settings: settings of the run; for a sum of runs, those of the first.
    protocol_runs: the `protocol.run_protocol` of each run.
    inputs: mean images of the training videos.
    ids: int32 [V], mean image id of each test video.
  """

  settings: fields.Config
  protocol_runs: list[dict[str, Any]]
  inputs: InputStatistics
  ids: np.ndarray


def write_results(
  workdir: pathlib.Path,
  cache: FrameCache,
  source: ReportSource,
  result: EvaluationResult,
  facts: RunFacts,
) -> Figures:
  """Write `scores.csv`, `metrics.json` and `report.html`, and print a summary.

  Args:
    workdir: folder to write to.
    cache: frame cache with the test split open.
    source: the scorer and frames that the report shows.
    result: errors of the test frames.
    facts: facts of the run.

  Returns:
    The content of `metrics.json`.
  """
  settings = facts.settings
  split = cache.test
  options = settings.eval
  errors = result.errors(options.per_position)
  labels = None if split.labels is None else split_by_video(split.labels, split.videos)
  scores = errors.scores(options.normalisation, options)
  baselines = frame_baselines(settings.input, split, facts.inputs, facts.ids)
  baselines |= result.flow_baselines
  events, intervals = find_events(errors, labels, options, settings.events)
  metrics = _header(cache, source.step, facts) | {
    'calibration': _calibration(errors, result.position_mean),
    **_figures(result, labels, options),
    'baselines': _baseline_figures(baselines, split, labels, options, errors.smooth_first),
    'auc_interval': auc_interval(scores, labels) if labels else None,
    'scenes': _figures_by_scene(split, scores, labels),
    'rank_regression': rank_regression(
      np.concatenate(errors.test), {name: baselines[name] for name in BASELINES}
    ),
    'events': events,
    'regions': result.localiser.metrics() if result.localiser else None,
    'seconds': {'forward_passes': round(result.seconds, 2)},
  }
  workdir = pathlib.Path(workdir)
  names = [video.name for video in split.videos]
  label_set = cache.index['label_set']
  write_scores(workdir / 'scores.csv', names, errors.test, scores, labels, label_set)
  write_json(workdir / 'metrics.json', validate_metrics(metrics))
  baseline_scores = _baseline_scores(baselines, split, options, errors.smooth_first)
  shown = TestScores(scores, labels, baseline_scores, intervals)
  write_page(workdir, source, metrics, shown)
  print(summary(metrics))
  return metrics


def find_events(
  errors: FrameErrors,
  labels: list[np.ndarray] | None,
  options: fields.Eval,
  events: fields.Events,
) -> tuple[Figures, list[list[tuple[int, int]]]]:
  """Detect events, and count them against the labels.

  They are detected in z-scores, since only these have a threshold from training videos.

  Args:
    errors: errors of the frames.
    labels: labels of each test video; None without labels.
    options: the config's `eval`.
    events: the config's `events`.

  Returns:
    The metrics of events, and the detected intervals of each video.
  """
  threshold = event_threshold(errors.train, options, events)
  scores = errors.scores('zscore', options)
  intervals = [detect_events(video, threshold=threshold) for video in scores]
  figures = event_metrics(
    scores, labels, intervals, threshold=threshold, frames_per_s=events.frames_per_s
  )
  figures['expected_alarms'] = expected_alarms(
    train_scores(errors.train, options), threshold, events.frames_per_s
  )
  rule = {
    'scores': 'zscore',
    'threshold_rule': events.threshold_rule,
    'threshold_value': events.threshold_value,
    'persistence': PERSISTENCE,
    'window_frames': WINDOW_FRAMES,
    'merge_frames': MERGE_FRAMES,
  }
  return figures | {'protocol': rule}, intervals


def _header(cache, step, facts):
  """Return the fields of the metrics on the data, the protocol and the run."""
  settings = facts.settings
  labels = cache.test.labels
  label_set = None if labels is None else cache.index['label_set']
  return {
    'schema_version': VERSION,
    'data': {
      'name': settings.data.name,
      'label_set': label_set,
      'layout': cache.index['layout'],
      'sha256': cache.data_hash,
      'videos': len(cache.test.videos),
      'frames': len(cache.test.frames),
      'abnormal_frames': None if labels is None else int(labels.sum()),
    },
    'protocol': protocol(facts.protocol_runs, settings.eval, label_set),
    'checkpoint_step': step,
    'seed': settings.seed,
    'variant': settings.variant,
    'adversarial_weight': settings.loss.adversarial_weight,
  }


def _calibration(errors, position_mean):
  """Return the training errors by which scores are calibrated."""
  train = np.concatenate(errors.train)
  return {
    'frames': len(train),
    'mean': float(train.mean()),
    'std': float(train.std()),
    'position_mean': [float(value) for value in position_mean],
  }


def _figures(result, labels, options):
  """Return the metrics with the run's calibration, and with the other if it exists."""
  own = options.per_position
  figures = {
    'metrics': _figures_of(result.errors(own), labels, options),
    'other_calibration': None,
    'parts': None,
  }
  if result.parts and labels:
    figures['parts'] = {
      title: _figures_of(errors, labels, options) for title, errors in result.parts.items()
    }
  if result.per_position is not None:
    figures['other_calibration'] = {
      'per_position': not own,
      'metrics': _figures_of(result.errors(not own), labels, options),
    }
  return figures


def _figures_of(errors, labels, options):
  if labels is None:
    return None
  return {how: frame_metrics(errors.scores(how, options), labels) for how in NORMALISATIONS}


def _baseline_figures(baselines, split, labels, options, smooth_first):
  """Return the metrics of the baselines.

  Baselines have no training errors and therefore no z-scores.
  """
  if labels is None:
    return None
  figures = {}
  for name, vector in baselines.items():
    errors = split_by_video(vector, split.videos)
    figures[name] = {}
    for how in UNCALIBRATED:
      scores = smoothed_scores(errors, how, options, smooth_first=smooth_first)
      figures[name][how] = frame_metrics(scores, labels)
  return figures


def _baseline_scores(baselines, split, options, smooth_first):
  """Return the scores of the baselines that the ROC curves show."""
  how = options.normalisation if options.normalisation in UNCALIBRATED else 'raw'
  scores = {}
  for name, vector in baselines.items():
    errors = split_by_video(vector, split.videos)
    scores[name] = smoothed_scores(errors, how, options, smooth_first=smooth_first)
  return scores


def _figures_by_scene(split, scores, labels):
  """Return the metrics of each camera, or None for a single camera."""
  scenes = sorted({video.scene for video in split.videos})
  if labels is None or len(scenes) < 2:
    return None
  figures = {}
  for scene in scenes:
    scene_scores = []
    scene_labels = []
    for index, video in enumerate(split.videos):
      if video.scene == scene:
        scene_scores.append(scores[index])
        scene_labels.append(labels[index])
    figures[scene] = frame_metrics(scene_scores, scene_labels)
  return figures
