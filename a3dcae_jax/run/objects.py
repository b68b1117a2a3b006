"""The parts of a run on objects: boxes, scorer, calibration, scores."""

import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import fields
from a3dcae_jax.data.frame_cache import CachedVideo, FrameCache, Split
from a3dcae_jax.evaluation.calibrate import choose_videos
from a3dcae_jax.evaluation.calibration import InputStatistics
from a3dcae_jax.evaluation.clip_program import ClipProgram
from a3dcae_jax.evaluation.evaluate import RunFacts, write_results
from a3dcae_jax.evaluation.localisation import ObjectLocaliser
from a3dcae_jax.evaluation.mean_images import mean_image_ids
from a3dcae_jax.evaluation.object_calibration import ObjectCalibration
from a3dcae_jax.evaluation.object_pictures import ObjectReport
from a3dcae_jax.evaluation.object_scorer import (
  ObjectCheckpointScorer,
  ObjectScorer,
  make_object_recipe,
  shared_measurements,
)
from a3dcae_jax.evaluation.protocol import run_protocol
from a3dcae_jax.evaluation.report_data import ReportSource, report_title
from a3dcae_jax.evaluation.results import EvaluationResult, FrameErrors
from a3dcae_jax.evaluation.scored_objects import ScoredObjects, of_boxes
from a3dcae_jax.objects.box_cache import open_boxes
from a3dcae_jax.objects.boxes import Boxes, select_boxes
from a3dcae_jax.objects.clips import ObjectTable, object_table, scored_objects, spread_objects
from a3dcae_jax.objects.detectors import make_detector
from a3dcae_jax.run.restore import restored_state
from a3dcae_jax.scoring.assemble import split_by_video
from a3dcae_jax.serving.object_statistics import (
  MEASUREMENTS,
  RAW_MEASUREMENTS,
  fill_between,
  object_errors,
  vertical_edges,
  worst_objects,
)
from a3dcae_jax.training import processes


def selected_boxes(options: fields.Objects, cache: FrameCache, split: str) -> Boxes:
  """Return the boxes of a split that count, found now or before.

  In a pod, process 0 finds them. Then the other processes open them, or find their own if they do
  not share a disk.

  Args:
    options: the config's `objects`.
    cache: frame cache with the split open.
    split: 'train' or 'test'.
  """
  detector = make_detector(options.detector)
  boxes = processes.primary_first('boxes', lambda: open_boxes(cache, detector, split))
  return select_boxes(boxes, options)


def load_object_scorer(
  settings: fields.Config, workdir: pathlib.Path, program: ClipProgram | None = None
) -> ObjectCheckpointScorer:
  """Return the scorer of a run's newest checkpoint.

  Args:
    settings: settings of the run.
    workdir: folder of the run.
    program: its program, if it is already compiled.
  """
  state = restored_state(settings, workdir)
  return ObjectCheckpointScorer(make_object_recipe(settings), state, program)


def calibrate_objects(
  settings: fields.Config,
  workdir: pathlib.Path,
  scorer: ObjectScorer,
  open_training: Callable[[], FrameCache],
) -> ObjectCalibration:
  """Return the saved calibration of a checkpoint, or make and save a new one.

  Args:
    settings: settings of the run.
    workdir: folder of the run.
    scorer: scorer of the checkpoint.
    open_training: returns a frame cache with the training split open; called only if needed.
  """
  source = _calibration_source(settings, scorer.step)
  saved = None

  def load():
    nonlocal saved
    saved = ObjectCalibration.load(workdir, source)
    return saved is not None

  if processes.run_on_primary('saved calibration', load):
    return _shared(saved, source)
  cache = open_training()
  videos = calibrating_videos(settings, cache.train)
  table, frame = _objects_of(scored_table(settings, cache, 'train'), videos)
  measurements = shared_measurements(
    scorer,
    cache.train.frames,
    table,
    batch_size=object_batch_size(settings),
    progress='training objects',
  )
  calibration = ObjectCalibration(
    source=source,
    videos='held-out videos' if settings.train.holdout_videos else 'training videos',
    frame=frame,
    edges=vertical_edges(table.corners, cache.train.frames.shape[1]),
    measurements=measurements,
    num_frames=tuple(video.num_frames for video in videos),
  )
  processes.run_on_primary('calibration saved', lambda: calibration.save(workdir))
  return calibration


def calibrating_videos(settings: fields.Config, split: Split) -> list[CachedVideo]:
  """Return the training videos that calibrate; the last one may be cut."""
  videos = split.videos
  if settings.train.holdout_videos:
    videos = videos[-settings.train.holdout_videos :]
  return choose_videos(
    videos, max_windows=settings.eval.calibration_windows, window=settings.clips.window
  )


class ObjectRun(NamedTuple):
  """What the results of a run on objects are made from.

  Attributes:
    settings: settings of the run.
    scorer: measures the objects, and shows them in the report.
    calibration: of the scorer.
    cache: frame cache with the test split open.
    inputs: mean images of the run, for the baselines.
  """

  settings: fields.Config
  scorer: ObjectScorer
  calibration: ObjectCalibration
  cache: FrameCache
  inputs: InputStatistics

  def score(self) -> ScoredObjects:
    """Measure the objects of the test split, from the boxes of the cache."""
    settings = self.settings
    table = scored_table(settings, self.cache, 'test')
    statistics = self.calibration.statistics()
    size = object_batch_size(settings)
    return of_boxes(self.scorer, self.cache.test, table, statistics, batch_size=size)


def load_object_run(
  settings: fields.Config,
  workdir: pathlib.Path,
  cache: FrameCache,
  inputs: InputStatistics,
  open_training: Callable[[], FrameCache],
) -> ObjectRun:
  """Return the newest checkpoint of a run on objects, calibrated.

  Args:
    settings: settings of the run.
    workdir: folder of the run.
    cache: frame cache with the test split open.
    inputs: mean images of the run, for the baselines.
    open_training: see `calibrate_objects`.
  """
  scorer = load_object_scorer(settings, workdir)
  calibration = calibrate_objects(settings, workdir, scorer, open_training)
  return ObjectRun(settings, scorer, calibration, cache, inputs)


def score_objects(
  run: ObjectRun, workdir: pathlib.Path, score: Callable[[], ScoredObjects]
) -> dict[str, Any]:
  """Score the test videos by their objects and write the results.

  Args:
    run: the run.
    workdir: folder for the results.
    score: measures the objects of the test split; called once, and timed.

  Returns:
    The metrics, on every process.
  """
  result, facts, source = object_results(run, score)
  return processes.run_on_primary(
    'report', lambda: write_results(workdir, run.cache, source, result, facts)
  )


def object_results(
  run: ObjectRun, score: Callable[[], ScoredObjects]
) -> tuple[EvaluationResult, RunFacts, ReportSource]:
  """Score the test videos by their objects.

  Args:
    run: the run.
    score: see `score_objects`.

  Returns:
    The errors of the frames, and what a report needs beside them.
  """
  settings, scorer, calibration, cache, inputs = run
  split = cache.test
  start = time.monotonic()
  step = settings.eval.object_step
  table, zscores = score()
  weights = settings.eval.object_weights

  def errors_by(weights):
    worst = worst_objects(object_errors(zscores, weights), table.frame, len(split.frames))
    test = [fill_between(video, step) for video in split_by_video(worst, split.videos)]
    return FrameErrors(test, calibration.errors(weights), smooth_first=True)

  shown, index = spread_objects(table, split, step)
  errors = object_errors(zscores, weights)[index]
  result = EvaluationResult(
    uncalibrated=errors_by(weights),
    per_position=None,
    position_mean=np.zeros(0),
    localiser=None if split.masks is None else ObjectLocaliser(split, shown, errors),
    parts={title: errors_by(part) for title, part in parts_of(weights).items()},
    flow_baselines={},
    seconds=time.monotonic() - start,
  )
  ids = mean_image_ids(settings.data.mean_image, inputs.names, 'test', split.videos)
  facts = RunFacts(settings, [run_protocol(settings, split)], inputs, ids)
  pictures = ObjectReport(scorer, split, shown, errors, zscores[index])
  return result, facts, ReportSource(report_title(settings), scorer.step, split, pictures)


def parts_of(weights: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
  """Return the weights of each measurement alone, and without each one.

  Args:
    weights: of appearance, motion and speed.

  Returns:
    Title -> weights; empty if only one measurement counts.
  """
  counting = [index for index, weight in enumerate(weights) if weight]
  if len(counting) < 2:
    return {}
  parts = {}
  for index in counting:
    alone = [0.0] * len(weights)
    alone[index] = 1.0
    parts[f'{MEASUREMENTS[index]} alone'] = tuple(alone)
  if len(counting) > 2:
    for index in counting:
      without = list(weights)
      without[index] = 0.0
      parts[f'without {MEASUREMENTS[index]}'] = tuple(without)
  return parts


def refuse_objects(settings: fields.Config, command: str) -> None:
  """Raise a `UserError` where a command cannot take a run on objects yet.

  Args:
    settings: settings of the run.
    command: the command as the user gave it.
  """
  if settings.objects.detector:
    raise UserError(
      f'{command} takes runs on whole frames; this one scores objects '
      f'(objects.detector is {settings.objects.detector!r})'
    )


def scored_table(settings: fields.Config, cache: FrameCache, split: str) -> ObjectTable:
  """Return the objects of a split whose frames are scored.

  Args:
    settings: settings of the run.
    cache: frame cache with the split open.
    split: 'train' or 'test'.
  """
  boxes = selected_boxes(settings.objects, cache, split)
  return scored_objects(object_table(boxes, getattr(cache, split)), settings.eval.object_step)


def object_batch_size(settings: fields.Config) -> int:
  """Return the number of objects per batch: `eval.batch_size` windows in frames."""
  return settings.eval.batch_size * settings.clips.window


def _calibration_source(settings, step):
  """Return the settings that the measurements of training objects depend on."""
  options = settings.objects
  return {
    'checkpoint_step': step,
    'detector': options.detector,
    'min_score': options.min_score,
    'classes': list(options.classes),
    'min_size_px': options.min_size_px,
    'max_per_frame': options.max_per_frame,
    'calibration_windows': settings.eval.calibration_windows,
    'step': settings.eval.object_step,
    'holdout_videos': settings.train.holdout_videos,
  }


def _shared(calibration, source):
  """Send the saved calibration from the primary process to the others."""
  if processes.count() == 1:
    return calibration
  facts = processes.run_on_primary(
    'calibration',
    lambda: {
      'videos': calibration.videos,
      'num_frames': list(calibration.num_frames),
      'objects': len(calibration.frame),
    },
  )
  count = facts['objects']
  blank = (
    np.zeros(count, np.int32),
    np.zeros((count, 2), np.float32),
    np.zeros((count, len(RAW_MEASUREMENTS)), np.float32),
  )
  own = (calibration.frame, calibration.edges, calibration.measurements) if calibration else blank
  frame, edges, measurements = (np.asarray(processes.broadcast(array)) for array in own)
  return ObjectCalibration(
    source, facts['videos'], frame, edges, measurements, tuple(facts['num_frames'])
  )


def _objects_of(table: ObjectTable, videos: list[CachedVideo]) -> tuple[ObjectTable, np.ndarray]:
  """Return the objects of some videos, and their frames in these videos joined."""
  chosen = []
  frames = []
  start = 0
  for video in videos:
    low, high = np.searchsorted(table.frame, [video.first, video.first + video.num_frames])
    chosen.append(np.arange(low, high))
    frames.append(table.frame[low:high] - video.first + start)
    start += video.num_frames
  return table.take(np.concatenate(chosen)), np.concatenate(frames).astype(np.int32)
