"""Errors of the test frames, before they become scores and figures."""

import time
from typing import NamedTuple

import numpy as np

from a3dcae_jax.config import fields
from a3dcae_jax.data.frame_cache import Split
from a3dcae_jax.data.windows import TestWindows, test_windows
from a3dcae_jax.evaluation.baselines import flow_baseline
from a3dcae_jax.evaluation.calibration import Calibration, InputStatistics
from a3dcae_jax.evaluation.localisation import Localiser, ObjectLocaliser
from a3dcae_jax.evaluation.program import ScoringRecipe
from a3dcae_jax.evaluation.scorer import Scorer
from a3dcae_jax.evaluation.window_errors import shared_window_errors, window_list
from a3dcae_jax.scoring.assemble import frame_vector, split_by_video
from a3dcae_jax.scoring.normalisation import normalise, smooth
from a3dcae_jax.training import processes


class FrameErrors(NamedTuple):
  """Errors of frames, in lists with one array float64 [N_v] per video.

  Attributes:
    test: errors of the test videos.
    train: errors of the training videos that calibrate.
    smooth_first: whether errors are smoothed before they are normalised, not after. The worst
      object of a frame changes from frame to frame, and Eq. 14 divides by the largest error.
  """

  test: list[np.ndarray]
  train: list[np.ndarray]
  smooth_first: bool = False

  def scores(self, how: str, options: fields.Eval) -> list[np.ndarray]:
    """Return the smoothed scores of the test videos under the normalisation `how`."""
    train = np.concatenate(self.train)
    return smoothed_scores(
      self.test,
      how,
      options,
      smooth_first=self.smooth_first,
      train_mean=train.mean(),
      train_std=train.std(),
    )


def smoothed_scores(
  errors: list[np.ndarray], how: str, options: fields.Eval, *, smooth_first: bool, **train: float
) -> list[np.ndarray]:
  """Return smoothed scores of videos.

  Args:
    errors: one array per video.
    how: the normalisation.
    options: the config's `eval`.
    smooth_first: as in `FrameErrors`.
    **train: `train_mean` and `train_std`, for z-scores.
  """
  smoothing = (options.smoothing_frames, options.smoothing_mode)
  if smooth_first:
    return normalise(smooth(errors, *smoothing), how, **train)
  return smooth(normalise(errors, how, **train), *smoothing)


class EvaluationResult(NamedTuple):
  """Result of scoring the test videos.

  Attributes:
    uncalibrated: errors without per-position calibration.
    per_position: errors divided by the mean training error at their position in the window; None
      for objects.
    position_mean: [T], those mean errors; empty for objects.
    localiser: computes pixel metrics; None if the set has no masks.
    parts: errors by some of the measurements of objects, title -> errors; empty for frames.
    flow_baselines: errors of the baseline on flow, name -> float64 [N]; empty for runs on frames.
    seconds: duration of the forward passes.
  """

  uncalibrated: FrameErrors
  per_position: FrameErrors | None
  position_mean: np.ndarray
  localiser: Localiser | ObjectLocaliser | None
  parts: dict[str, FrameErrors]
  flow_baselines: dict[str, np.ndarray]
  seconds: float

  def errors(self, per_position: bool) -> FrameErrors:
    """Return the errors with or without per-position calibration."""
    return self.per_position if per_position else self.uncalibrated


def cut_windows(split: Split, window: int, options: fields.Eval) -> TestWindows:
  """Cut the videos of a test split into windows, as the config's `eval` says."""
  return test_windows(split.videos, window=window, step=options.window_step, stride=options.stride)


def find_errors(
  scorer: Scorer,
  split: Split,
  ids: np.ndarray,
  calibration: Calibration,
  options: fields.Eval,
  *,
  localise: bool = True,
) -> EvaluationResult:
  """Score the test frames.

  In a pod every process calls this and scores its share.

  Args:
    scorer: scorer of a checkpoint or a bundle.
    split: the test split.
    ids: int32 [V], mean image id of each video.
    calibration: calibration of the same scorer.
    options: the config's `eval`.
    localise: whether to collect error maps for pixel metrics.
  """
  start = time.monotonic()
  windows = cut_windows(split, scorer.window, options)
  position_mean = calibration.position_mean
  localiser = None
  if localise and split.masks is not None:
    localiser = Localiser(split, windows, position_mean if options.per_position else 1.0)
  errors = shared_window_errors(
    scorer,
    split.frames,
    window_list(windows, split, ids),
    batch_size=options.batch_size,
    on_maps=localiser.add if localiser else None,
    progress='test errors',
  )
  if localiser:
    localiser.join(processes.gather)
  return EvaluationResult(
    uncalibrated=FrameErrors(_by_video(errors, windows, split), calibration.errors(False)),
    per_position=FrameErrors(
      _by_video(errors / position_mean, windows, split), calibration.errors(True)
    ),
    position_mean=position_mean,
    localiser=localiser,
    parts={},
    flow_baselines={},
    seconds=time.monotonic() - start,
  )


def add_flow_baseline(
  result: EvaluationResult,
  recipe: ScoringRecipe,
  inputs: InputStatistics,
  split: Split,
  ids: np.ndarray,
) -> EvaluationResult:
  """Return `result` with the baseline on flow, for a run on flow."""
  start = time.monotonic()
  windows = cut_windows(split, len(result.position_mean), recipe.eval)
  baselines = flow_baseline(recipe, inputs, split, windows, ids)
  seconds = result.seconds + time.monotonic() - start
  return result._replace(flow_baselines=baselines, seconds=seconds)


def _by_video(errors, windows, split):
  """Turn errors of windows [M, T] into one array per video."""
  vector = frame_vector(errors, windows.rows, windows.keep, len(split.frames))
  return split_by_video(vector, split.videos)
