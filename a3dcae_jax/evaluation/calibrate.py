"""Compute input statistics before training and the calibration after it."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import fields
from a3dcae_jax.data.frame_cache import CachedVideo, FrameCache, Split
from a3dcae_jax.data.mean_image import mean_of_videos
from a3dcae_jax.data.windows import TestWindows, fitting_stride, test_windows
from a3dcae_jax.evaluation.calibration import Calibration, InputStatistics
from a3dcae_jax.evaluation.mean_images import (
  find_mean_images,
  mean_flow,
  mean_image_ids,
  mean_image_names,
)
from a3dcae_jax.evaluation.perspective import find_row_scale
from a3dcae_jax.evaluation.scorer import CheckpointScorer
from a3dcae_jax.evaluation.window_errors import shared_window_errors, window_list
from a3dcae_jax.models.inputs import UNIFORM_ROWS
from a3dcae_jax.scoring.assemble import frame_vector
from a3dcae_jax.scoring.errors import error_maps
from a3dcae_jax.scoring.local import motion_statistics, pooled_maps, row_sums
from a3dcae_jax.training import processes

MAX_STATISTICS_WINDOWS = 128  # most training windows that motion statistics are computed from


class CalibrationPlan(NamedTuple):
  """How a run is calibrated.

  Attributes:
    eval: how test videos are scored; training videos are scored in the same way.
    mean_image: `data.mean_image`.
    holdout_videos: `train.holdout_videos`.
  """

  eval: fields.Eval
  mean_image: str
  holdout_videos: int


def find_input_statistics(
  mean_image: str, options: fields.Input, cache: FrameCache
) -> InputStatistics:
  """Return the mean images and the perspective of the training videos.

  Args:
    mean_image: `data.mean_image`.
    options: the config's `input`.
    cache: frame cache with both splits open.

  Raises:
    UserError: if there are no training frames.
  """
  if not len(cache.train.frames):
    raise UserError(f'{cache.folder} has no training frames: add training videos')
  frame_means = find_mean_images(mean_image, mean_of_videos, cache.train, cache.test)
  input_means = frame_means
  if options.kind == 'flow':
    input_means = find_mean_images(mean_image, mean_flow, cache.train, cache.test)
  row_scale = UNIFORM_ROWS
  if options.perspective == 'auto':
    row_scale = find_row_scale(cache.train.frames, cache.train.videos)
    top, bottom = row_scale
    print(f'reference speed of the top and the bottom row: {top:g} and {bottom:g}')
  names = mean_image_names(mean_image, cache.train, cache.test)
  return InputStatistics(
    names, frame_means, input_means, row_scale, cache.index['files']['train.npy']
  )


def share_input_statistics(found: InputStatistics | None, shape: Sequence[int]) -> InputStatistics:
  """Broadcast the input statistics of the primary process to the whole pod.

  Args:
    found: the statistics in the primary process; None in the others.
    shape: (H, W) of the frames.
  """
  if processes.count() == 1:
    return found
  facts = processes.run_on_primary(
    'input statistics',
    lambda: {
      'names': found.names,
      'row_scale': found.row_scale,
      'train_sha256': found.train_sha256,
    },
  )
  names = tuple(facts['names'])
  blank = np.zeros((len(names), *shape), np.float32)
  frame_means = processes.broadcast(found.frame_means if found else blank)
  input_means = processes.broadcast(found.input_means if found else blank)
  top, bottom = facts['row_scale']
  return InputStatistics(
    names, np.asarray(frame_means), np.asarray(input_means), (top, bottom), facts['train_sha256']
  )


def check_training_frames(inputs: InputStatistics, cache: FrameCache) -> None:
  """Check that a cache has the training frames that the run was trained on.

  Raises:
    UserError: if they differ.
  """
  if cache.index['files']['train.npy'] != inputs.train_sha256:
    raise UserError(
      f'{cache.folder} holds other training frames than the run was trained on: '
      'train in another --workdir, or restore the frames'
    )


def calibration_source(plan: CalibrationPlan, step: int) -> dict[str, Any]:
  """Return the settings on which a calibration depends, as JSON values.

  A saved calibration is used only if its source is equal.
  """
  return {
    'checkpoint_step': step,
    'error': plan.eval.error,
    'network_weight': plan.eval.network_weight if plan.eval.error == 'local' else None,
    'window_step': plan.eval.window_step,
    'stride': plan.eval.stride,
    'calibration_windows': plan.eval.calibration_windows,
    'holdout_videos': plan.holdout_videos,
  }


def load_or_calibrate(
  workdir: pathlib.Path,
  scorer: CheckpointScorer,
  plan: CalibrationPlan,
  inputs: InputStatistics,
  open_training: Callable[[], Split],
) -> Calibration:
  """Return the saved calibration of a checkpoint, or make and save a new one.

  The saved one is used if it has the same source. In a pod every process calls this.

  Args:
    workdir: folder of the run.
    scorer: scorer of the checkpoint; it receives the motion statistics if it needs any.
    plan: how to calibrate.
    inputs: input statistics of the run.
    open_training: returns the training split; it is called only for a new calibration.
  """
  source = calibration_source(plan, scorer.step)
  saved = processes.run_on_primary('calibration', lambda: _saved(workdir, source))
  if saved:
    calibration = Calibration.from_json(saved)
    if calibration.motion_statistics is not None:
      scorer.add_motion_statistics(calibration.motion_statistics)
    return calibration
  calibration = calibrate(scorer, plan, open_training(), inputs, source)
  processes.run_on_primary('calibration saved', lambda: calibration.save(workdir))
  return calibration


def calibrate(
  scorer: CheckpointScorer,
  plan: CalibrationPlan,
  train: Split,
  inputs: InputStatistics,
  source: dict[str, Any],
) -> Calibration:
  """Score training videos as test videos are scored, and return their errors."""
  options = plan.eval
  videos, windows = calibration_windows(plan, train.videos, scorer.window)
  ids = mean_image_ids(plan.mean_image, inputs.names, 'train', train.videos)
  listed = window_list(windows, train, ids)
  statistics = None
  if options.error == 'local':
    statistics = find_motion_statistics(
      scorer, train.frames, windows.rows, listed.ids, options.batch_size
    )
    scorer.add_motion_statistics(statistics)
  errors = shared_window_errors(
    scorer, train.frames, listed, batch_size=options.batch_size, progress='training errors'
  )
  position_mean = errors.mean(0)
  return Calibration(
    source=source,
    videos='held-out videos' if plan.holdout_videos else 'training videos',
    stride=int(windows.stride[0]),
    position_mean=position_mean,
    position_std=errors.std(0),
    windows=len(errors),
    first_frames=tuple(int(video.first) for video in videos),
    num_frames=tuple(int(video.num_frames) for video in videos),
    uncalibrated=_frame_errors(errors, windows, videos),
    per_position=_frame_errors(errors / position_mean, windows, videos),
    motion_statistics=statistics,
  )


def calibration_windows(
  plan: CalibrationPlan, videos: Sequence[CachedVideo], window: int
) -> tuple[list[CachedVideo], TestWindows]:
  """Return the calibrating videos and their windows.

  The videos are cut into windows as test videos are.
  """
  if plan.holdout_videos:
    videos = videos[-plan.holdout_videos :]
  step, stride = plan.eval.window_step, plan.eval.stride
  chosen = choose_videos(
    videos, max_windows=plan.eval.calibration_windows, window=window, step=step, stride=stride
  )
  return chosen, test_windows(chosen, window=window, step=step, stride=stride)


def choose_videos(
  videos: Sequence[CachedVideo], *, max_windows: int, window: int, step: int = 0, stride: int = 1
) -> list[CachedVideo]:
  """Choose videos, evenly spread, that give about `max_windows` windows.

  Videos are taken whole, except that the last one may be cut. Videos too short for the stride are
  left out. If all are too short, the stride is the largest that fits the longest video.

  Args:
    videos: training videos.
    max_windows: approximate number of windows.
    window: frames per window.
    step: as in `test_windows`.
    stride: as in `test_windows`.

  Raises:
    UserError: if no video has `window` frames.
  """
  longest = max(videos, key=lambda video: video.num_frames, default=None)
  longest_frames = longest.num_frames if longest else 0
  if longest_frames < window:
    raise UserError(
      f'no training video calibrates: the longest has {longest_frames} frames, fewer than '
      f'the window (={window})'
    )
  shortest = window * fitting_stride(longest, window=window, stride=stride)
  fitting = [video for video in videos if video.num_frames >= shortest]
  step_frames = step or window
  total_windows = sum(-(-video.num_frames // step_frames) for video in fitting)
  every = max(1, round(total_windows / max_windows))
  frames_left = max(max_windows * step_frames, shortest)
  chosen = []
  for video in fitting[::every]:
    frames = min(video.num_frames, frames_left)
    if frames >= shortest:
      chosen.append(CachedVideo(video.name, video.first, frames, video.scene))
      frames_left -= frames
  return chosen


def find_motion_statistics(
  scorer: CheckpointScorer,
  frames: np.ndarray,
  rows: np.ndarray,
  ids: np.ndarray,
  batch_size: int,
) -> np.ndarray:
  """Return the motion statistics of training windows.

  `scoring.local.motion_statistics` defines them.

  Args:
    scorer: reconstructs the windows.
    frames: uint8 [N, H, W].
    rows: int [M, T], frame indices of each window; at most `MAX_STATISTICS_WINDOWS` are used.
    ids: int32 [M], mean image id of each window.
    batch_size: windows per batch.
  """

  @jax.jit
  def sums_of(clips, ids, counted):
    clips, reconstruction = scorer.explain(clips, ids)
    pooled = pooled_maps(error_maps(clips, reconstruction), clips)
    energy = pooled.energy * counted[:, None, None, None]
    return row_sums(pooled._replace(energy=energy))

  chosen = np.arange(0, len(rows), -(-len(rows) // MAX_STATISTICS_WINDOWS))
  total = 0.0
  for start in range(0, len(chosen), batch_size):
    batch = np.resize(chosen[start : start + batch_size], batch_size)
    # The last batch is filled with repeated clips, which must not count.
    counted = (np.arange(batch_size) < len(chosen) - start).astype(np.float32)
    sums = sums_of(frames[rows[batch]], ids[batch], counted)
    total = total + np.asarray(sums, np.float64)
  return motion_statistics(total)


def _frame_errors(errors, windows, videos):
  """Return the errors of all frames of the calibrating videos, float64 [N].

  The videos are joined without the frames between them.
  """
  rows = windows.rows
  start = 0
  for video in videos:
    last = video.first + video.num_frames
    inside = (windows.first >= video.first) & (windows.first < last)
    rows[inside] += start - video.first
    start += video.num_frames
  return frame_vector(errors, rows, windows.keep, start)


def _saved(workdir, source):
  saved = Calibration.load(workdir, source)
  return saved.to_json() if saved else None
