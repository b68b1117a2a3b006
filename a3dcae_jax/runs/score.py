"""Scores a trained run: errors of every test frame, metrics, floors, files."""

import pathlib
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import write_json
from a3dcae_jax.data.resident import fits_on_device, gather_clips
from a3dcae_jax.data.windows import test_windows
from a3dcae_jax.runs.fit import restore_or_init
from a3dcae_jax.runs.networks import make_networks
from a3dcae_jax.runs.pages import write_page
from a3dcae_jax.scoring.assemble import frame_vector, split_by_video
from a3dcae_jax.scoring.errors import error_maps, frame_errors
from a3dcae_jax.scoring.floors import floor_errors
from a3dcae_jax.scoring.metrics import frame_metrics
from a3dcae_jax.scoring.normalisation import NORMALISATIONS, normalise, smooth
from a3dcae_jax.scoring.tables import write_scores
from a3dcae_jax.training.checkpoints import Checkpoints
from a3dcae_jax.training.step import zero_mean

SCHEMA_VERSION = 1
FLOOR_NORMALISATIONS = ('eq14', 'minmax', 'none')  # they have no training errors to be calibrated by


class Detector(NamedTuple):
  """A trained auto-encoder, ready for windows: `reconstruct(uint8 [B, T, H, W])` -> (clips, recon), both [B, T, H, W, 1] float32."""
  reconstruct: object
  step: int


class TrainErrors(NamedTuple):
  """Errors of training frames: what calibrates scores without a test label."""
  windows: np.ndarray  # [M, T]

  @property
  def position_mean(self):
    """Mean error of each place in the window, [T]: the saw-tooth."""
    return self.windows.mean(0)


def load_detector(config, workdir, mean_image):
  """The newest checkpoint of a run; a `UserError` if there is none."""
  checkpoints = Checkpoints(pathlib.Path(workdir) / 'checkpoints', keep=config.train.keep_checkpoints)
  try:
    if checkpoints.latest_step() is None:
      raise UserError(f'{workdir}/checkpoints: no checkpoint to evaluate; train first')
    state, step = restore_or_init(config, checkpoints)
  finally:
    checkpoints.close()
  generator, _ = make_networks(**config.model)
  variables = {'params': state.generator, 'batch_stats': state.batch_stats}
  mean_image = jnp.asarray(mean_image)

  @jax.jit
  def reconstruct(clips):
    clips = zero_mean(clips, mean_image)
    return clips, generator.apply(variables, clips, train=False)

  return Detector(reconstruct, step)


def window_errors(detector, frames, first, *, window, batch_size, progress=''):
  """Eq. 13 errors [M, T] of the windows that start at frames `first`: batches of one size, so one compilation."""
  resident = fits_on_device(frames.size)
  offsets = np.arange(window)

  @jax.jit
  def errors_of(clips_or_rows, *resident_frames):
    clips = gather_clips(resident_frames[0], clips_or_rows, jnp.ones_like(clips_or_rows), window=window) if resident else clips_or_rows
    return frame_errors(error_maps(*detector.reconstruct(clips)))

  shared = [jax.device_put(np.asarray(frames))] if resident else []
  pending = []
  for start in tqdm.tqdm(range(0, len(first), batch_size), desc=progress, unit='batch', disable=not progress, dynamic_ncols=True):
    rows = np.resize(first[start:start + batch_size], batch_size).astype(np.int32)  # the last batch repeats itself
    pending.append(errors_of(rows if resident else frames[rows[:, None] + offsets], *shared))
    if len(pending) > 2:
      pending[-3].block_until_ready()  # a bounded number of batches on their way
  return np.concatenate(jax.device_get(pending))[:len(first)] if pending else np.zeros((0, window))


def train_errors(config, detector, store):
  """Errors of up to `eval.max_train_windows` training windows, evenly spread."""
  windows = test_windows([v for v in store.train.videos if v.num_frames >= config.clips.window], window=config.clips.window)
  count = min(config.eval.max_train_windows, len(windows.first))
  chosen = windows.first[np.linspace(0, len(windows.first) - 1, count).astype(int)]
  return TrainErrors(window_errors(detector, store.train.frames, chosen, window=config.clips.window, batch_size=config.eval.batch_size,
                                   progress='training errors'))


def evaluate_run(config, workdir, store):
  """Scores the newest checkpoint of `workdir` and writes `scores.csv`, `metrics.json`, `report.html`; returns the metrics."""
  workdir, start = pathlib.Path(workdir), time.monotonic()
  detector = load_detector(config, workdir, store.mean_image())
  calibration = train_errors(config, detector, store)
  windows = test_windows(store.test.videos, window=config.clips.window, every_frames=config.eval.every_frames)
  raw = window_errors(detector, store.test.frames, windows.first, window=config.clips.window, batch_size=config.eval.batch_size,
                      progress='test errors')
  errors, train_vector = _frame_errors(raw, windows, calibration, store, divide=config.eval.divide_by_position)
  labels = None if store.test.labels is None else split_by_video(store.test.labels, store.test.videos)
  scores = {how: _scores(errors, how, train_vector, config.eval.smoothing_frames) for how in NORMALISATIONS}
  floors = floor_errors(store.test.frames, store.test.videos, store.mean_image())
  floors = {name: split_by_video(vector, store.test.videos) for name, vector in floors.items()}
  metrics = _header(config, store, detector, calibration) | {
      'metrics': {how: _metrics(scores[how], labels) for how in NORMALISATIONS},
      'by_position': _by_position(raw, windows, calibration, store, labels, config.eval.smoothing_frames),
      'floors': _floors(floors, labels), 'seconds': round(time.monotonic() - start, 2)}
  names = [video.name for video in store.test.videos]
  write_scores(workdir / 'scores.csv', names, errors, scores[config.eval.normalisation], labels)
  write_json(workdir / 'metrics.json', metrics)
  how = config.eval.normalisation
  floor_scores = {name: normalise(values, how if how in FLOOR_NORMALISATIONS else 'none') for name, values in floors.items()}
  write_page(config, workdir, store, detector, metrics, scores[how], labels, floor_scores)
  print(summary(metrics))
  return metrics


def _frame_errors(raw, windows, calibration, store, *, divide):
  scale = calibration.position_mean if divide else 1.0
  vector = frame_vector(raw / scale, windows.first, windows.keep, len(store.test.frames))
  return split_by_video(vector, store.test.videos), (calibration.windows / scale).ravel()


def _scores(errors, how, train_vector, smoothing_frames):
  return smooth(normalise(errors, how, train_mean=train_vector.mean(), train_std=train_vector.std()), smoothing_frames)


def _metrics(scores, labels):
  return frame_metrics(scores, labels) if labels is not None else None


def _by_position(raw, windows, calibration, store, labels, smoothing_frames):
  errors, train_vector = _frame_errors(raw, windows, calibration, store, divide=True)
  return {how: _metrics(_scores(errors, how, train_vector, smoothing_frames), labels) for how in NORMALISATIONS}


def _floors(floors, labels):
  if labels is None:
    return None
  return {name: {how: frame_metrics(normalise(errors, how), labels) for how in FLOOR_NORMALISATIONS} for name, errors in floors.items()}


def _header(config, store, detector, calibration):
  labels = store.test.labels
  return {
      'schema_version': SCHEMA_VERSION,
      'data': {'name': config.data.name, 'label_set': store.index['label_set'] if labels is not None else None, 'layout': store.index['layout'],
               'sha256': store.data_hash, 'videos': len(store.test.videos), 'frames': len(store.test.frames),
               'abnormal_frames': int(labels.sum()) if labels is not None else None},
      'protocol': {'error': 'eq13, divided by position' if config.eval.divide_by_position else 'eq13', 'normalisation': config.eval.normalisation,
                   'smoothing_frames': config.eval.smoothing_frames, 'window': config.clips.window, 'every_frames': config.eval.every_frames,
                   'lambda': config.objective.adversarial_weight, 'macro_rule': 'mean over videos that have both classes'},
      'checkpoint_step': detector.step, 'seed': config.seed, 'variant': config.variant,
      'train_errors': {'frames': int(calibration.windows.size), 'mean': float(calibration.windows.mean()), 'std': float(calibration.windows.std()),
                       'position_mean': [float(value) for value in calibration.position_mean]}}


def summary(metrics):
  """The figures as a table for the terminal: the run, its by-position twin, the floors."""
  data = metrics['data']
  lines = [f'{data["name"]}: {data["frames"]} test frames in {data["videos"]} videos, checkpoint of step {metrics["checkpoint_step"]}']
  if metrics['floors'] is None:
    return '\n'.join([*lines, 'no labels for the test videos: scores are written, there is no AUC'])
  lines.append(f'labels {data["label_set"]}, {data["abnormal_frames"]} abnormal; AUC / EER in percent, all frames together (micro)')
  lines.append(f'{"":26s}' + ''.join(f'{how:>16s}' for how in NORMALISATIONS))
  rows = {'this run (Eq. 13)' if metrics['protocol']['error'] == 'eq13' else 'this run': metrics['metrics'],
          'divided by position': metrics['by_position']}
  rows |= {f'floor: {name.replace("_", " ")}': floor for name, floor in metrics['floors'].items()}
  for name, row in rows.items():
    lines.append(f'{name:26.26s}' + ''.join(f'{_cell(row.get(how)):>16s}' for how in NORMALISATIONS))
  return '\n'.join(lines)


def _cell(metrics):
  if metrics is None:
    return '-'
  if metrics['auc'] is None:
    return 'one class'
  return f'{100 * metrics["auc"]:.1f} / {100 * metrics["eer"]:.1f}'
