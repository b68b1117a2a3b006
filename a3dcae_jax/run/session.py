"""A whole run: prepare, train, evaluate, report."""

import pathlib

import numpy as np

from a3dcae_jax.common.compilation_cache import use_compilation_cache
from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_write, read_json, write_json
from a3dcae_jax.data.download import fetch
from a3dcae_jax.evaluation.calibrate import check_windows
from a3dcae_jax.evaluation.evaluate import evaluate_run
from a3dcae_jax.evaluation.mean_images import network_mean, share_means
from a3dcae_jax.evaluation.perspective import FOUND, find_row_scale
from a3dcae_jax.report.compare import compare_text, group_runs, write_comparison
from a3dcae_jax.run import workdir as workdirs
from a3dcae_jax.run.datasets import ingest_table, prepare_data
from a3dcae_jax.run.lock import WorkdirLock
from a3dcae_jax.run.networks import check_sizes
from a3dcae_jax.run.profiling import profile_hooks
from a3dcae_jax.run.train import train
from a3dcae_jax.scoring.schema import validate_metrics
from a3dcae_jax.training import processes


def train_and_evaluate(config, workdir, *, profile=''):
  """Does all of `main`: prepare if needed, train or go on training, evaluate, write the report. profile: 'START:STOP' or ''.

  In a pod every process calls this; the first one alone reads and writes `workdir`, and is the one that is traced.
  Raises: UserError where another run has `workdir`, or the frame cache is not what was written; Preempted after SIGTERM.
  """
  check_sizes(config)
  workdir = pathlib.Path(workdir)
  hooks = profile_hooks(profile, workdir, config.train.steps)
  use_compilation_cache(config.train.compilation_cache_dir)
  with WorkdirLock(workdir) as lock:
    config = _with_row_speeds(config, lambda: workdirs.kept_row_speeds(workdir))
    processes.run_on_primary('config', lambda: _check_workdir(config, workdir, lock))
    cache = open_cache(config)
    config = _with_row_speeds(config, lambda: _found_row_scale(cache))
    processes.run_on_primary('workdir', lambda: _found_workdir(config, workdir, cache, lock))
    train(config, workdir, cache, hooks=hooks if processes.is_primary() else ())
    evaluate_run(config, workdir, cache)


def open_cache(config):
  """The frame cache, verified: process 0 makes it where it is not there; then the others open it, or make their own where no disk is shared."""
  cache = processes.primary_first('frame cache', lambda: _verified(prepare_data(**config.data)))
  expected = processes.run_on_primary('data hash', lambda: cache.data_hash)
  if cache.data_hash != expected:
    raise UserError(
      f'{cache.folder}: its data hash is {cache.data_hash[:12]}, that of process 0 is {expected[:12]}: copy one cache to all hosts'
    )
  if len(cache.train.frames):
    share_means(config, cache)
  return cache


def _verified(cache):
  if processes.is_primary():
    cache.verify()
  return cache


def _check_workdir(config, workdir, lock):
  if (workdir / 'config.json').exists():
    lock.take()
    workdirs.claim(
      workdir, config
    )  # before the footage is touched: a foreign workdir is refused at once


def _with_row_speeds(config, find):
  """The config with `find()` in the place of 'found', by process 0."""
  if config.input.perspective != FOUND:
    return config
  config = config.copy_and_resolve_references()
  config.input.perspective = processes.run_on_primary('row speeds', find)
  return config


def _found_row_scale(cache):
  if not cache.train.videos:
    return FOUND  # and `_found_workdir` says so
  found = find_row_scale(cache.train.frames, cache.train.videos)
  print(f'usual speed of what moves, by row (input.perspective): {found}')
  return found


def _found_workdir(config, workdir, cache, lock):
  mean_image = network_mean(
    config, cache
  )  # fails where there is nothing to train on: before the workdir is made
  cache.scene_of(
    cache.test, np.asarray([video.first for video in cache.test.videos], int)
  )  # as does a test video of a scene without a mean image
  check_windows(config, cache)
  lock.take()
  workdirs.claim(workdir, config)
  with atomic_write(workdir / 'mean_image.npy', 'wb') as file:
    np.save(file, mean_image)
  write_json(workdir / 'provenance.json', workdirs.provenance(cache))


def evaluate_again(workdir, *, normalisation='', data_root=''):
  """Does all of `evaluate`: the run's own config, but for the two overrides; '' leaves them."""
  config = config_of_run(workdir, normalisation=normalisation, data_root=data_root)
  evaluate_run(config, workdir, open_cache(config))


def config_of_run(workdir, *, normalisation='', data_root=''):
  """The config of a run that is scored again, with the overrides that are not ''."""
  config = workdirs.read_config(workdir)
  config.eval.normalisation = normalisation or config.eval.normalisation
  config.data.root = data_root or config.data.root
  return config


def prepare_and_show(config, *, download=False):
  """Does all of `prepare`: fetches the set if asked to, ingests or opens the cache, compares its arrays with their hash, prints the table."""
  if config is None:
    raise UserError('--config is missing, as in --config=configs/ucsd_ped2.py')
  if download:
    if not config.data.root:
      raise UserError('--download needs data.root, the folder to fetch into')
    if not fetch(config.data.name, config.data.root):
      print(f'{config.data.root} holds something already: it is used as it is, nothing is fetched')
  cache = prepare_data(**config.data)
  cache.verify()
  print(ingest_table(cache))


def compare_runs(folders, *, page=''):
  """Does `evaluate --compare`: prints the tables, and writes them to `page` if it is given."""
  if len(folders) < 2:
    raise UserError(f'--compare takes two or more folders of runs, got {len(folders)}')
  groups = group_runs(
    [
      (
        str(folder),
        validate_metrics(
          read_json(pathlib.Path(folder) / 'metrics.json'), source=f'{folder}/metrics.json'
        ),
      )
      for folder in folders
    ]
  )
  print(compare_text(groups))
  if page:
    write_comparison(page, groups)
