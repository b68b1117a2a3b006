"""What training footage says of a detector: the errors by which scores are calibrated and thresholds set."""

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import CachedVideo
from a3dcae_jax.data.windows import fitting_stride, test_windows
from a3dcae_jax.evaluation.mean_images import network_mean
from a3dcae_jax.evaluation.motion_statistics import with_usual
from a3dcae_jax.evaluation.program import local_rule
from a3dcae_jax.evaluation.scorer import load_detector, shared_window_errors
from a3dcae_jax.scoring.assemble import frame_vector, split_by_video


def load_calibrated(config, workdir, cache):
  """The detector of a run's newest checkpoint, with what its error needs of training footage."""
  detector = load_detector(config, workdir, network_mean(config, cache))
  if config.eval.error != 'local':
    return detector
  _, windows = calibrating_windows(config, cache)
  return with_usual(
    detector,
    cache.train.frames,
    windows.rows,
    batch_size=config.eval.batch_size,
    rule=local_rule(config.eval),
    scenes=cache.scene_of(cache.train, windows.first),
  )


def calibrating_windows(config, cache):
  """(training videos, their `TestWindows`) whose errors calibrate: cut as the test videos are."""
  cut = cutting(config)
  videos = calibration_videos(
    calibrating(cache.train.videos, config.train.holdout_videos),
    max_windows=config.eval.max_train_windows,
    **cut,
  )
  return videos, test_windows(videos, **cut)


def calibrated_stride(config, cache):
  """The stride of the windows that calibrate: `eval.stride`, or the largest that fits where all training videos are too short for it."""
  return int(calibrating_windows(config, cache)[1].stride[0])


def check_windows(config, cache):
  """Raises the `UserError` that scoring would end with where a video is too short for its windows: before training rather than after it."""
  if cache.test.videos:
    test_windows(cache.test.videos, **cutting(config))
    calibrating_windows(config, cache)


def cutting(config):
  """How a run's videos are cut into windows, as the keyword arguments of `test_windows`; stride 1 where a run is older than the field."""
  return {
    'window': config.clips.window,
    'every_frames': config.eval.every_frames,
    'stride': config.eval.get('stride', 1),
  }


def training_errors(config, detector, cache):
  """(errors [M, T] of the calibrating training windows, function of a scale [T] or number -> a list with the divided errors of each video)."""
  videos, windows = calibrating_windows(config, cache)
  errors = shared_window_errors(
    detector,
    cache.train.frames,
    windows,
    batch_size=config.eval.batch_size,
    scenes=cache.scene_of(cache.train, windows.first),
    progress='training errors',
  )
  return errors, lambda scale: _assemble_train(errors / scale, windows, videos)


def calibrating(videos, holdout):
  """The training videos whose errors calibrate: the held-out ones where there are any."""
  return videos[-holdout:] if holdout else videos


def calibration_videos(videos, *, max_windows, window, every_frames=0, stride=1):
  """Whole training videos, evenly spread over the set, of about `max_windows` windows together; a longer one is cut.

  Videos too short for the stride are left out, unless all are: then the stride is the largest that fits one.

  Raises: UserError if no video has `window` frames.
  """
  longest = max(videos, key=lambda video: video.num_frames, default=None)
  if longest is None or longest.num_frames < window:
    frames = longest.num_frames if longest else 0
    raise UserError(
      f'no training video calibrates: the longest has {frames} frames, fewer than the window (={window})'
    )
  step, shortest = (
    every_frames or window,
    window * fitting_stride(longest, window=window, stride=stride),
  )
  fitting = [video for video in videos if video.num_frames >= shortest]
  total = sum(-(-video.num_frames // step) for video in fitting)
  chosen, left = [], max(max_windows * step, shortest)
  for video in fitting[:: max(1, round(total / max_windows))]:
    frames = min(video.num_frames, left)
    if frames >= shortest:
      chosen.append(CachedVideo(video.name, video.first, frames, video.scene))
      left -= frames
  return chosen


def _assemble_train(errors, windows, videos):
  """Errors of the calibrating videos, one array a video; frames outside them are in no window."""
  moved, rows, start = [], windows.rows, 0
  for video in videos:
    inside = (windows.first >= video.first) & (windows.first < video.first + video.num_frames)
    rows[inside] += start - video.first
    moved.append(CachedVideo(video.name, start, video.num_frames, video.scene))
    start += video.num_frames
  return split_by_video(frame_vector(errors, rows, windows.keep, start), moved)
