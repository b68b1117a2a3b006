"""Several runs as one detector: a frame's error is the sum of theirs, as the paper adds the reconstruction of optical flow to that of frames (Table IX)."""

import pathlib
import time
from typing import NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_json, write_json
from a3dcae_jax.evaluation.calibrate import calibrating_windows, cutting, load_calibrated
from a3dcae_jax.evaluation.evaluate import Errors, Found, error_name, find_errors, report
from a3dcae_jax.run import workdir as workdirs
from a3dcae_jax.run.session import config_of_run, open_cache


class Scored(NamedTuple):
  """A run that is added: its detector, what it `Found`, and the first frames of its calibrating training videos."""

  detector: object
  found: Found
  firsts: list


def evaluate_sum(folders, workdir, *, normalisation='', data_root=''):
  """Does all of `evaluate --sum`: scores the runs' test frames by the sum of their errors, each divided by its training mean; returns the metrics.

  How scores are normalised (but for `normalisation`), smoothed and thresholded is as in the first run. Where in a frame something is stays with the runs
  themselves. The overrides are those of `evaluate_again`.
  Raises: UserError for fewer than two runs, a workdir that is a run, or runs of other frames or labels than the first one's, or divided in another way.
  """
  start, workdir = time.monotonic(), pathlib.Path(workdir)
  if len(folders) < 2:
    raise UserError(f'--sum takes two or more folders of runs, got {len(folders)}')
  workdirs.check_is_no_run(workdir, "the sum's")
  configs = [
    config_of_run(folder, normalisation=normalisation, data_root=data_root) for folder in folders
  ]
  first = open_cache(configs[0])
  caches = [
    first if config.data == configs[0].data else open_cache(config) for config in configs
  ]  # the same frames are opened and verified once
  for folder, config, cache in zip(folders, configs, caches, strict=True):
    _check_alike(folder, folders[0], config, configs[0], cache, caches[0])
  scored = [_scored(*each) for each in zip(folders, configs, caches, strict=True)]
  config, cache = configs[0], caches[0]
  write_json(
    workdir / 'config.json',
    {
      'sum': {
        str(folder): workdirs.plain(each) for folder, each in zip(folders, configs, strict=True)
      }
    },
  )
  write_json(
    workdir / 'provenance.json',
    workdirs.provenance(cache)
    | {
      'sum': {
        str(folder): read_json(pathlib.Path(folder) / 'provenance.json') for folder in folders
      }
    },
  )
  return report(
    config, workdir, cache, scored[0].detector, add(scored), start, error=_name(configs)
  )


def add(scored):
  """`Found` of the sum: errors, each way divided by its training mean, are added; so are the errors of the places in the window.

  Training frames count where every run calibrates on them: a run of a larger stride leaves out what is too short for it.
  """
  founds = [each.found for each in scored]

  def added(way):
    of_runs = [getattr(found, way) for found in founds]
    units = [np.concatenate(errors.train).mean() for errors in of_runs]
    test = [
      sum(video / unit for video, unit in zip(videos, units, strict=True))
      for videos in zip(*(errors.test for errors in of_runs), strict=True)
    ]
    train = [
      {first: video / unit for first, video in zip(each.firsts, errors.train, strict=True)}
      for each, errors, unit in zip(scored, of_runs, units, strict=True)
    ]
    return Errors(test, _sums(train))

  places = sum(found.position_mean / found.position_mean.mean() for found in founds)
  baselines = {name: values for found in founds for name, values in found.flow_baselines.items()}
  return Found(
    added('plain'),
    added('divided'),
    places,
    None,
    baselines,
    sum(found.seconds for found in founds),
  )


def _sums(train):
  """Sums over training videos [N_v] of dicts first frame -> errors: of the frames that all dicts have."""
  shared = [first for first in train[0] if all(first in videos for videos in train)]
  if not shared:
    raise UserError(
      '--sum: the runs calibrate on different training videos (train.holdout_videos): their errors cannot be added'
    )
  lengths = [min(len(videos[first]) for videos in train) for first in shared]
  return [
    sum(videos[first][:length] for videos in train)
    for first, length in zip(shared, lengths, strict=True)
  ]


def _scored(folder, config, cache):
  detector = load_calibrated(config, folder, cache)
  return Scored(
    detector,
    find_errors(config, detector, cache, localise=False),
    [video.first for video in calibrating_windows(config, cache)[0]],
  )


def _check_alike(folder, first_folder, config, first, cache, first_cache):
  for name, value, expected in (
    ('frames and labels', cache.data_hash[:12], first_cache.data_hash[:12]),
    ('eval.divide_by_position', config.eval.divide_by_position, first.eval.divide_by_position),
  ):
    if value != expected:
      raise UserError(
        f'--sum: {name} of {folder} are {value}, of {first_folder} {expected}: errors of other frames, or divided in another way, do not add up'
      )


def _name(configs):
  """What `protocol.error` says: each run's error and the stride that it is read at."""
  return 'sum of ' + ' and '.join(
    f'{error_name(config)} (stride {cutting(config)["stride"]})' for config in configs
  )
