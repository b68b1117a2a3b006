"""Scores a trained run: errors of every test frame, metrics beside floors, events, regions, files."""

import pathlib
import time
from typing import NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import write_json
from a3dcae_jax.data.store import StoredVideo
from a3dcae_jax.data.windows import test_windows
from a3dcae_jax.runs.detector import load_detector, shared_window_errors
from a3dcae_jax.runs.localise import Localiser
from a3dcae_jax.runs.pages import write_page
from a3dcae_jax.runs.summary import summary
from a3dcae_jax.scoring.assemble import frame_vector, split_by_video
from a3dcae_jax.scoring.bootstrap import auc_interval
from a3dcae_jax.scoring.events import detect_events, event_metrics
from a3dcae_jax.scoring.floors import floor_errors
from a3dcae_jax.scoring.metrics import frame_metrics
from a3dcae_jax.scoring.normalisation import NORMALISATIONS, normalise, smooth
from a3dcae_jax.scoring.schema import VERSION, validate_metrics
from a3dcae_jax.scoring.tables import write_scores
from a3dcae_jax.scoring.thresholds import choose_threshold
from a3dcae_jax.training import processes

FLOOR_NORMALISATIONS = ('eq14', 'minmax', 'none')  # they have no training errors to be calibrated by


class Errors(NamedTuple):
  """Errors as they are scored: of the test videos and of the calibrating training videos, lists of float64 [N_v]."""
  test: list
  train: list

  def scores(self, how, smoothing):
    """Scores of the test videos under a normalisation; `smoothing`: (frames, mode)."""
    train = np.concatenate(self.train)
    return smooth(normalise(self.test, how, train_mean=train.mean(), train_std=train.std()), *smoothing)

  def train_scores(self, smoothing):
    """z-scores of the training videos."""
    train = np.concatenate(self.train)
    return smooth(normalise(self.train, 'train', train_mean=train.mean(), train_std=train.std()), *smoothing)


def evaluate_run(config, workdir, store):
  """Scores the newest checkpoint of `workdir` and writes `scores.csv`, `metrics.json`, `report.html`; returns the metrics.

  In a pod every process scores its share of the windows; the first one writes, and the others wait and get the metrics.
  """
  workdir, start = pathlib.Path(workdir), time.monotonic()
  if not store.test.videos:
    raise UserError(f'{store.index["name"]} has no test videos: the run is trained, there is nothing to score')
  detector = load_detector(config, workdir, store.mean_image())
  found = _all_errors(config, detector, store)
  return processes.on_first('report', lambda: _report(config, workdir, store, detector, *found, start))


def _report(config, workdir, store, detector, plain, divided, position_mean, localiser, forward_s, start):
  """Metrics, files and page from the errors of all frames."""
  errors = divided if config.eval.divide_by_position else plain
  labels = None if store.test.labels is None else split_by_video(store.test.labels, store.test.videos)
  smoothing, how = (config.eval.smoothing_frames, config.eval.smoothing_mode), config.eval.normalisation
  scores = {name: errors.scores(name, smoothing) for name in NORMALISATIONS}
  floors = floor_errors(store.test.frames, store.test.videos, store.mean_image())
  floors = {name: split_by_video(vector, store.test.videos) for name, vector in floors.items()}
  events, intervals = _events(config.eval, errors, labels, smoothing)
  metrics = _header(config, store, detector, plain, position_mean) | {
      'metrics': {name: _metrics(scores[name], labels) for name in NORMALISATIONS},
      'by_position': {name: _metrics(divided.scores(name, smoothing), labels) for name in NORMALISATIONS},
      'scenes': _scenes(store, scores[how], labels),
      'auc_interval': auc_interval(scores[how], labels) if labels is not None else None,
      'floors': None if labels is None else {
          name: {h: frame_metrics(smooth(normalise(values, h), *smoothing), labels) for h in FLOOR_NORMALISATIONS} for name, values in floors.items()},
      'events': events, 'regions': localiser.metrics() if localiser else None}
  names = [video.name for video in store.test.videos]
  write_scores(workdir / 'scores.csv', names, errors.test, scores[how], labels)
  floor_scores = {name: smooth(normalise(values, how if how in FLOOR_NORMALISATIONS else 'none'), *smoothing) for name, values in floors.items()}
  metrics['seconds'] = {'forward_passes': round(forward_s, 2), 'before_report': round(time.monotonic() - start, 2)}
  write_json(workdir / 'metrics.json', validate_metrics(metrics))
  write_page(config, workdir, store, detector, metrics, scores[how], labels, floor_scores, intervals)
  print(summary(metrics))
  return metrics


def _all_errors(config, detector, store):
  """(errors, errors divided by their place's training error, that error [T], localiser or None, seconds of the passes)."""
  shared = {'window': config.clips.window, 'batch_size': config.eval.batch_size, 'error': config.eval.error,
            'block_px': config.eval.block_px, 'sigma_px': config.eval.sigma_px}
  train_videos = calibration_videos(calibrating(store.train.videos, config.train.holdout_videos), window=config.clips.window,
                                    max_windows=config.eval.max_train_windows)
  train_windows = test_windows(train_videos, window=config.clips.window)
  windows = test_windows(store.test.videos, window=config.clips.window, every_frames=config.eval.every_frames)
  localiser = Localiser.of(store.test, windows) if store.test.masks is not None else None
  start, title = time.monotonic(), lambda text: text if processes.is_first() else ''
  train = shared_window_errors(detector, store.train.frames, train_windows.first, progress=title('training errors'), **shared)
  test = shared_window_errors(detector, store.test.frames, windows.first, progress=title('test errors'), on_maps=localiser and localiser.add, **shared)
  if localiser:
    localiser.join(processes.gather)
  seconds = time.monotonic() - start
  position_mean = train.mean(0)

  def assembled(scale):
    return Errors(split_by_video(frame_vector(test / scale, windows.first, windows.keep, len(store.test.frames)), store.test.videos),
                  _assemble_train(train / scale, train_windows, train_videos))

  return assembled(1.0), assembled(position_mean), position_mean, localiser, seconds


def calibrating(videos, holdout):
  """The training videos whose errors calibrate: the held-out ones where there are any."""
  return videos[-holdout:] if holdout else videos


def calibration_videos(videos, *, window, max_windows):
  """Whole training videos, evenly spread over the set, of about `max_windows` windows together; a longer one is cut."""
  videos = [video for video in videos if video.num_frames >= window]
  total = sum(-(-video.num_frames // window) for video in videos)
  stride = max(1, round(total / max_windows))
  chosen, left = [], max_windows * window
  for video in videos[::stride]:
    frames = min(video.num_frames, left)
    if frames >= window:
      chosen.append(StoredVideo(video.name, video.first, frames, video.scene))
      left -= frames
  return chosen


def _assemble_train(errors, windows, videos):
  """Errors of the calibrating videos, one array a video; frames outside them are in no window."""
  moved, first, start = [], windows.first.copy(), 0
  for video in videos:
    inside = (windows.first >= video.first) & (windows.first < video.first + video.num_frames)
    first[inside] = windows.first[inside] - video.first + start
    moved.append(StoredVideo(video.name, start, video.num_frames, video.scene))
    start += video.num_frames
  return split_by_video(frame_vector(errors, first, windows.keep, start), moved)


def _events(options, errors, labels, smoothing):
  """(event metrics, intervals a video), on z-scores: the only ones whose threshold training can give."""
  spans = {'persistence': options.event_persistence, 'window_frames': options.event_window_frames, 'merge_frames': options.merge_frames}
  threshold = choose_threshold(errors.train_scores(smoothing), rule=options.threshold_rule, value=options.threshold_value,
                               frames_per_s=options.frames_per_s, **spans)
  scores = errors.scores('train', smoothing)
  intervals = [detect_events(video, threshold=threshold, **spans) for video in scores]
  protocol = {'scores': 'train', 'threshold_rule': options.threshold_rule, 'threshold_value': options.threshold_value, **spans}
  return event_metrics(scores, labels, intervals, threshold=threshold, frames_per_s=options.frames_per_s) | {'protocol': protocol}, intervals


def _scenes(store, scores, labels):
  """Metrics of each camera's videos, where there are several cameras; None otherwise."""
  scenes = sorted({video.scene for video in store.test.videos})
  if labels is None or len(scenes) < 2:
    return None
  of_scene = {scene: [i for i, video in enumerate(store.test.videos) if video.scene == scene] for scene in scenes}
  return {scene: frame_metrics([scores[i] for i in chosen], [labels[i] for i in chosen]) for scene, chosen in of_scene.items()}


def _metrics(scores, labels):
  return frame_metrics(scores, labels) if labels is not None else None


def _header(config, store, detector, errors, position_mean):
  labels, train = store.test.labels, np.concatenate(errors.train)
  kind = {'eq13': 'eq13', 'block': f'largest block of {config.eval.block_px} px', 'smoothed': f'largest after {config.eval.sigma_px} px',
          'motion': 'weighted by motion'}[config.eval.error]
  if config.objective.hide_every:
    kind += f', {config.objective.hide_frames} of {config.objective.hide_every} frames hidden'
  return {
      'schema_version': VERSION,
      'data': {'name': config.data.name, 'label_set': store.index['label_set'] if labels is not None else None, 'layout': store.index['layout'],
               'sha256': store.data_hash, 'videos': len(store.test.videos), 'frames': len(store.test.frames),
               'abnormal_frames': int(labels.sum()) if labels is not None else None},
      'protocol': {'error': kind + (', divided by position' if config.eval.divide_by_position else ''), 'normalisation': config.eval.normalisation,
                   'smoothing_frames': config.eval.smoothing_frames, 'smoothing_mode': config.eval.smoothing_mode,
                   'window': config.clips.window, 'every_frames': config.eval.every_frames,
                   'lambda': config.objective.adversarial_weight, 'macro_rule': 'mean over videos that have both classes'},
      'checkpoint_step': detector.step, 'seed': config.seed, 'variant': config.variant,
      'train_errors': {'held_out': bool(config.train.holdout_videos), 'frames': len(train), 'mean': float(train.mean()), 'std': float(train.std()),
                       'position_mean': [float(value) for value in position_mean]}}
