"""Train and evaluate a run (`main`), or prepare a data set (`prepare`)."""

import pathlib
from typing import Any

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import check_writable, write_json
from a3dcae_jax.config import fields
from a3dcae_jax.data.download import fetch
from a3dcae_jax.data.frame_cache import SPLITS
from a3dcae_jax.data.windows import training_clips
from a3dcae_jax.evaluation.calibrate import (
  calibration_windows,
  check_training_frames,
  find_input_statistics,
  share_input_statistics,
)
from a3dcae_jax.evaluation.calibration import InputStatistics
from a3dcae_jax.evaluation.mean_images import mean_image_ids, mean_image_names
from a3dcae_jax.evaluation.results import cut_windows
from a3dcae_jax.objects.detectors import check_detector, make_detector
from a3dcae_jax.run import workdir as workdirs
from a3dcae_jax.run.ahead import beside, evaluation_program
from a3dcae_jax.run.clip_feed import TrainingData, clip_feed, trained_on
from a3dcae_jax.run.datasets import ingest_table, open_cache, prepare_data
from a3dcae_jax.run.evaluate import calibrate_trained, calibration_plan, evaluate_run
from a3dcae_jax.run.lock import WorkdirLock
from a3dcae_jax.run.object_feed import object_feed
from a3dcae_jax.run.objects import calibrating_videos, selected_boxes
from a3dcae_jax.run.profiling import profile_hooks
from a3dcae_jax.run.train import check_batch_size, train
from a3dcae_jax.training import processes


def train_and_evaluate(
  settings: fields.Config, workdir: str | pathlib.Path, *, profile: str = ''
) -> dict[str, Any] | None:
  """Prepare the data if needed, train or resume, evaluate, write the report.

  This is `main`. In a pod every process calls it; only the primary process reads and writes
  `workdir`.

  Args:
    settings: settings of the run.
    workdir: folder of the run.
    profile: 'START:STOP', updates to trace; empty for none.

  Returns:
    The metrics; None if there are no test videos.

  Raises:
    UserError: if another run is using `workdir`, or if the frame cache is damaged.
    Preempted: after SIGTERM or Ctrl-C.
  """
  workdir = pathlib.Path(workdir)
  hooks = profile_hooks(profile, workdir, settings.train.steps)
  if settings.objects.detector:
    check_detector(settings.objects.detector)
  processes.log_once(f'workdir {workdir}')
  with WorkdirLock(workdir) as lock:
    processes.run_on_primary('config', lambda: _check_existing(settings, workdir, lock))
    cache = open_cache(settings.data)
    _check_videos(settings, cache)
    inputs = _input_statistics(settings, workdir, cache)
    check_training_frames(inputs, cache)
    processes.run_on_primary('workdir', lambda: _set_up(settings, workdir, cache, inputs, lock))
    ids = mean_image_ids(settings.data.mean_image, inputs.names, 'train', cache.train.videos)
    own_hooks = hooks if processes.is_primary() else ()
    feed = _feed(settings, cache, TrainingData(cache.train, inputs, ids))
    scoring = evaluation_program(settings, cache, inputs)
    with beside(scoring.compile) as meanwhile:
      train(settings, workdir, feed, hooks=own_hooks, meanwhile=meanwhile)
    if cache.test.videos:
      return evaluate_run(settings, workdir, cache, scoring.program)
    calibrate_trained(settings, workdir, cache, inputs)
    processes.log_once(
      f'{cache.index["name"]} has no test videos: the run is trained and calibrated, '
      'there is nothing to score'
    )
    return None


def prepare_and_show(settings: fields.Config, *, download: bool = False) -> None:
  """Open the frame cache of a data set, verify it and print its content.

  This is `prepare`. The cache is made if it does not exist.

  Args:
    settings: settings of a run on that data set.
    download: whether to fetch the videos first.
  """
  data = settings.data
  if download and data.name == 'synthetic':
    print('synthetic is made from a seed: there is nothing to download')
  elif download:
    if not data.root:
      raise UserError('--download needs data.root, the folder to fetch into')
    if not fetch(data.name, data.root):
      print(f'{data.root} is not empty: nothing is fetched, its files are used as they are')
  if settings.objects.detector:
    make_detector(settings.objects.detector, download=download)
  cache = prepare_data(data)
  cache.verify()
  print(ingest_table(cache))
  if settings.objects.detector:
    for split in SPLITS:
      boxes = selected_boxes(settings.objects, cache, split)
      frames = len(getattr(cache, split).frames)
      print(
        f'{split}: {len(boxes.frame):,} objects, {len(boxes.frame) / max(frames, 1):.1f} a frame'
      )


def _check_existing(settings, workdir, lock):
  """Refuse a workdir of another config, or out of reach, before any video is read."""
  check_writable(workdir, '--workdir')
  if '\\' in str(workdir.absolute()):
    raise UserError(
      f'--workdir (={workdir}) has a backslash, which Orbax reads as a slash: name another folder'
    )
  if workdirs.has_checkpoint(workdir):
    lock.take()
    workdirs.init_or_check_workdir(workdir, settings)


def _check_videos(settings, cache):
  """Check what would otherwise end the run only after hours of training."""
  check_batch_size(settings.train.batch_size)
  videos = trained_on(cache.train.videos, settings.train.holdout_videos)
  mode = settings.data.mean_image
  names = mean_image_names(mode, cache.train, cache.test)
  mean_image_ids(mode, names, 'test', cache.test.videos)
  if settings.objects.detector:
    calibrating_videos(settings, cache.train)
    return
  if cache.test.videos:
    cut_windows(cache.test, settings.clips.window, settings.eval)
    plan = calibration_plan(settings)
    calibration_windows(plan, cache.train.videos, settings.clips.window)
  training_clips(videos, window=settings.clips.window, strides=settings.clips.strides)


def _feed(settings, cache, data):
  """Return the training examples of a run: objects or whole frames."""
  if settings.objects.detector:
    return object_feed(settings, cache.train, selected_boxes(settings.objects, cache, 'train'))
  return clip_feed(settings, data)


def _input_statistics(settings, workdir, cache):
  """Return the saved or new input statistics, the same on every process."""

  def find():
    if workdirs.has_checkpoint(workdir):
      return InputStatistics.load(workdir, settings.data)
    return find_input_statistics(settings.data.mean_image, settings.input, cache)

  found = find() if processes.is_primary() else None
  return share_input_statistics(found, cache.train.frames.shape[1:])


def _set_up(settings, workdir, cache, inputs, lock):
  """Make the workdir, once all other checks have passed."""
  lock.take()
  workdirs.init_or_check_workdir(workdir, settings)
  if not workdirs.has_checkpoint(workdir):
    inputs.save(workdir)
  write_json(workdir / workdirs.PROVENANCE, workdirs.provenance(cache.data_hash))
