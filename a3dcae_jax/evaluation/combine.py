"""Several runs as one detector, by the sum of their errors (Table IX).

The errors of each run are first divided by their mean on training videos, so that all runs have the
same weight.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.evaluation.results import EvaluationResult, FrameErrors


class ScoredRun(NamedTuple):
  """A run whose errors are added.

  Attributes:
    first_frames: index of the first frame of each of its calibrating videos.
    result: errors of its test frames.
  """

  first_frames: Sequence[int]
  result: EvaluationResult


def add_results(runs: Sequence[ScoredRun]) -> EvaluationResult:
  """Add the errors of several runs.

  Only training videos on which every run calibrates are added. A run with a larger stride leaves
  out videos that are too short. If one run scores objects, errors are smoothed before they are
  normalised.

  Raises:
    UserError: if the runs have no calibrating video in common.
  """
  results = [run.result for run in runs]
  has_positions = all(result.per_position is not None for result in results)
  position_mean = np.zeros(0)
  if has_positions:
    position_mean = sum(each.position_mean / each.position_mean.mean() for each in results)
  flow_baselines = {}
  for result in results:
    flow_baselines |= result.flow_baselines
  return EvaluationResult(
    uncalibrated=_add_errors(runs, per_position=False),
    per_position=_add_errors(runs, per_position=True) if has_positions else None,
    position_mean=position_mean,
    localiser=None,
    parts={},
    flow_baselines=flow_baselines,
    seconds=sum(result.seconds for result in results),
  )


def _add_errors(runs, per_position):
  errors = [run.result.errors(per_position) for run in runs]
  means = [np.concatenate(each.train).mean() for each in errors]
  test = []
  for videos in zip(*(each.test for each in errors), strict=True):
    test.append(sum(video / mean for video, mean in zip(videos, means, strict=True)))
  train = []
  for run, each, mean in zip(runs, errors, means, strict=True):
    videos = [video / mean for video in each.train]
    train.append(dict(zip(run.first_frames, videos, strict=True)))
  smooth_first = any(each.smooth_first for each in errors)
  return FrameErrors(test, _sum_shared_videos(train), smooth_first)


def _sum_shared_videos(train):
  """Sum dicts {first frame: errors [N_v]} over the videos that are in all of them."""
  shared = [first for first in train[0] if all(first in videos for videos in train)]
  if not shared:
    raise UserError(
      '--sum: the runs calibrate on different training videos (train.holdout_videos), so their '
      'errors cannot be added'
    )
  sums = []
  for first in shared:
    length = min(len(videos[first]) for videos in train)
    sums.append(sum(videos[first][:length] for videos in train))
  return sums
