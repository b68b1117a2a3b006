"""Scores a trained run: errors of every test frame, metrics beside baselines, events, regions, files."""

import pathlib
import time
from typing import NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import write_json
from a3dcae_jax.data.windows import fitting_stride, test_windows
from a3dcae_jax.evaluation.baselines import flow_baseline, frame_baselines
from a3dcae_jax.evaluation.calibrate import cutting, load_calibrated, training_errors
from a3dcae_jax.evaluation.localization import Localiser
from a3dcae_jax.evaluation.motion_statistics import write_usual
from a3dcae_jax.evaluation.program import local_rule
from a3dcae_jax.evaluation.report_data import write_page
from a3dcae_jax.evaluation.scorer import shared_window_errors
from a3dcae_jax.evaluation.summary import summary
from a3dcae_jax.models.inputs import UNIFORM_ROWS
from a3dcae_jax.run.networks import frame_options, sees_flow
from a3dcae_jax.scoring.assemble import frame_vector, split_by_video
from a3dcae_jax.scoring.baselines import BASELINES
from a3dcae_jax.scoring.bootstrap import auc_interval
from a3dcae_jax.scoring.events import detect_events, event_metrics
from a3dcae_jax.scoring.metrics import frame_metrics
from a3dcae_jax.scoring.normalisation import NORMALISATIONS, normalise, smooth
from a3dcae_jax.scoring.rank_regression import rank_regression
from a3dcae_jax.scoring.schema import DIVIDED, NORMALISED_FRAMES, VERSION, validate_metrics
from a3dcae_jax.scoring.tables import write_scores
from a3dcae_jax.scoring.thresholds import choose_threshold
from a3dcae_jax.training import processes

BASELINE_NORMALISATIONS = (
  'eq14',
  'minmax',
  'psnr',
  'none',
)  # they have no training errors to be calibrated by


class Errors(NamedTuple):
  """Errors as they are scored: of the test videos and of the calibrating training videos, lists of float64 [N_v]."""

  test: list
  train: list

  def scores(self, how, smoothing):
    """Scores of the test videos under a normalisation; `smoothing`: (frames, mode)."""
    train = np.concatenate(self.train)
    return smooth(
      normalise(self.test, how, train_mean=train.mean(), train_std=train.std()), *smoothing
    )

  def train_scores(self, smoothing):
    """z-scores of the training videos."""
    train = np.concatenate(self.train)
    return smooth(
      normalise(self.train, 'train', train_mean=train.mean(), train_std=train.std()), *smoothing
    )


class Found(NamedTuple):
  """What scoring finds before it is reported.

  Attributes:
    plain, divided: `Errors` as they are, and divided by their place's training error. position_mean: that error, [T].
    localiser: `Localiser`, or None where there are no masks. flow_baselines: dict baseline -> float64 [N], see `runs.baselines`. seconds: the passes took.
  """

  plain: Errors
  divided: Errors
  position_mean: np.ndarray
  localiser: object
  flow_baselines: dict
  seconds: float

  def errors(self, options):
    """Those that the config's `eval` subtree scores."""
    return self.divided if options.divide_by_position else self.plain


def evaluate_run(config, workdir, cache, detector=None):
  """Scores the newest checkpoint of `workdir`, or `detector`, and writes `scores.csv`, `metrics.json`, `report.html`; returns the metrics.

  In a pod every process scores its share of the windows; the first one writes, and the others wait and get the metrics.
  """
  workdir, start = pathlib.Path(workdir), time.monotonic()
  if not cache.test.videos:
    raise UserError(
      f'{cache.index["name"]} has no test videos: the run is trained, there is nothing to score'
    )
  detector = detector or load_calibrated(config, workdir, cache)
  found = find_errors(config, detector, cache)
  return processes.run_on_primary(
    'report',
    lambda: report(config, workdir, cache, detector, found, start, error=error_name(config)),
  )


def report(config, workdir, cache, detector, found, start, *, error):
  """Metrics, files and page from the errors of all frames. error: what `protocol.error` says of them, but for whether they are divided by position."""
  write_usual(workdir, detector)
  errors, localiser = found.errors(config.eval), found.localiser
  labels = (
    None if cache.test.labels is None else split_by_video(cache.test.labels, cache.test.videos)
  )
  smoothing, how = (
    (config.eval.smoothing_frames, config.eval.smoothing_mode),
    config.eval.normalisation,
  )
  scores = {name: errors.scores(name, smoothing) for name in NORMALISATIONS}
  baselines = frame_baselines(config, cache) | found.flow_baselines
  follows = rank_regression(
    np.concatenate(errors.test), {name: baselines[name] for name in BASELINES}
  )
  baselines = {
    name: split_by_video(vector, cache.test.videos) for name, vector in baselines.items()
  }
  events, intervals = _events(config.eval, errors, labels, smoothing)
  by_position, undivided = (
    {name: _metrics(way.scores(name, smoothing), labels) for name in NORMALISATIONS}
    for way in (found.divided, found.plain)
  )
  metrics = _header(config, cache, detector, found, error) | {
    'metrics': by_position if config.eval.divide_by_position else undivided,
    'by_position': by_position,
    'undivided': undivided,
    'scenes': _scenes(cache, scores[how], labels),
    'auc_interval': auc_interval(scores[how], labels) if labels is not None else None,
    'baselines': None
    if labels is None
    else {
      name: {
        h: frame_metrics(smooth(normalise(values, h), *smoothing), labels)
        for h in BASELINE_NORMALISATIONS
      }
      for name, values in baselines.items()
    },
    'follows': follows,
    'events': events,
    'regions': localiser.metrics() if localiser else None,
  }
  names = [video.name for video in cache.test.videos]
  write_scores(
    workdir / 'scores.csv', names, errors.test, scores[how], labels, cache.index['label_set']
  )
  baseline_scores = {
    name: smooth(normalise(values, how if how in BASELINE_NORMALISATIONS else 'none'), *smoothing)
    for name, values in baselines.items()
  }
  metrics['seconds'] = {
    'forward_passes': round(found.seconds, 2),
    'before_report': round(time.monotonic() - start, 2),
  }
  write_json(workdir / 'metrics.json', validate_metrics(metrics))
  write_page(
    config, workdir, cache, detector, metrics, scores[how], labels, baseline_scores, intervals
  )
  print(summary(metrics))
  return metrics


def find_errors(config, detector, cache, *, localise=True):
  """`Found` of a run's test frames; with `localise` also where in them the errors are. In a pod every process calls it."""
  windows = test_windows(cache.test.videos, **cutting(config))
  start = time.monotonic()
  train, train_errors = training_errors(config, detector, cache)
  position_mean = train.mean(0)
  by_place = position_mean if config.eval.divide_by_position else 1.0
  localiser = (
    Localiser(cache.test, windows, by_place) if localise and cache.test.masks is not None else None
  )
  test = shared_window_errors(
    detector,
    cache.test.frames,
    windows,
    batch_size=config.eval.batch_size,
    scenes=cache.scene_of(cache.test, windows.first),
    progress='test errors',
    on_maps=localiser and localiser.add,
  )
  if localiser:
    localiser.join(processes.gather)
  flow_baselines = flow_baseline(config, detector, cache, windows)
  seconds = time.monotonic() - start

  def assembled(scale):
    return Errors(
      split_by_video(
        frame_vector(test / scale, windows.rows, windows.keep, len(cache.test.frames)),
        cache.test.videos,
      ),
      train_errors(scale),
    )

  return Found(
    assembled(1.0), assembled(position_mean), position_mean, localiser, flow_baselines, seconds
  )


def _events(options, errors, labels, smoothing):
  """(event metrics, intervals a video), on z-scores: the only ones whose threshold training can give."""
  spans, threshold = _spans(options), event_threshold(options, errors, smoothing)
  scores = errors.scores('train', smoothing)
  intervals = [detect_events(video, threshold=threshold, **spans) for video in scores]
  protocol = {
    'scores': 'train',
    'threshold_rule': options.threshold_rule,
    'threshold_value': options.threshold_value,
    **spans,
  }
  return event_metrics(
    scores, labels, intervals, threshold=threshold, frames_per_s=options.frames_per_s
  ) | {'protocol': protocol}, intervals


def event_threshold(options, errors, smoothing):
  """The z-score that events begin at, by the training scores of `errors` alone."""
  return choose_threshold(
    errors.train_scores(smoothing),
    rule=options.threshold_rule,
    value=options.threshold_value,
    frames_per_s=options.frames_per_s,
    **_spans(options),
  )


def _spans(options):
  return {
    'persistence': options.event_persistence,
    'window_frames': options.event_window_frames,
    'merge_frames': options.merge_frames,
  }


def _scenes(cache, scores, labels):
  """Metrics of each camera's videos, where there are several cameras; None otherwise."""
  scenes = sorted({video.scene for video in cache.test.videos})
  if labels is None or len(scenes) < 2:
    return None
  of_scene = {
    scene: [i for i, video in enumerate(cache.test.videos) if video.scene == scene]
    for scene in scenes
  }
  return {
    scene: frame_metrics([scores[i] for i in chosen], [labels[i] for i in chosen])
    for scene, chosen in of_scene.items()
  }


def _metrics(scores, labels):
  return frame_metrics(scores, labels) if labels is not None else None


def _nearer(config, cache):
  """The test videos that are too short for `eval.stride`, with their own strides; nothing where there are none."""
  window, stride = config.clips.window, cutting(config)['stride']
  own = {
    video.name: fitting_stride(video, window=window, stride=stride) for video in cache.test.videos
  }
  nearer = {name: fitting for name, fitting in own.items() if fitting < stride}
  return {'nearer_strides': nearer} if nearer else {}


def error_name(config):
  """What `protocol.error` says of a run's errors, but for whether they are divided by position."""
  kind = {
    'eq13': 'eq13',
    'block': f'largest block of {config.eval.block_px} px',
    'smoothed': f'largest after {config.eval.sigma_px} px',
    'motion': 'weighted by motion',
    'local': 'local',
  }[config.eval.error]
  if config.eval.error == 'local':
    kind += f', surprise {local_rule(config.eval).surprise_weight:g} of what moves'
  if sees_flow(config):
    kind += ' of optical flow' + (
      ' by usual speed of the row' if frame_options(config)['row_scale'] != UNIFORM_ROWS else ''
    )
  if target_rms := frame_options(config).get('target_rms'):
    kind += f', {NORMALISED_FRAMES} {target_rms:g}'
  if config.objective.mask_period:
    kind += f', {config.objective.mask_length} of {config.objective.mask_period} frames hidden'
  return kind


def _header(config, cache, detector, found, error):
  labels, train = cache.test.labels, np.concatenate(found.plain.train)
  return {
    'schema_version': VERSION,
    'data': {
      'name': config.data.name,
      'label_set': cache.index['label_set'] if labels is not None else None,
      'layout': cache.index['layout'],
      'mean_image': cache.means,
      'sha256': cache.data_hash,
      'videos': len(cache.test.videos),
      'frames': len(cache.test.frames),
      'abnormal_frames': int(labels.sum()) if labels is not None else None,
    },
    'protocol': {
      'error': error + (DIVIDED if config.eval.divide_by_position else ''),
      'normalisation': config.eval.normalisation,
      'smoothing_frames': config.eval.smoothing_frames,
      'smoothing_mode': config.eval.smoothing_mode,
      **cutting(config),
      **_nearer(config, cache),
      'lambda': config.objective.adversarial_weight,
      'macro_rule': 'mean over videos that have both classes',
    },
    'checkpoint_step': detector.step,
    'seed': config.seed,
    'variant': config.variant,
    'train_errors': {
      'held_out': bool(config.train.holdout_videos),
      'frames': len(train),
      'mean': float(train.mean()),
      'std': float(train.std()),
      'position_mean': [float(value) for value in found.position_mean],
    },
  }
