"""Results of runs as `main` writes them, made without training."""

import dataclasses
import pathlib

import numpy as np

from a3dcae_jax.common.files import write_json
from a3dcae_jax.config import checked, make_config
from a3dcae_jax.paper.plan import Base, Job, state_file
from a3dcae_jax.run import workdir as workdirs
from a3dcae_jax.scoring.events import detect_events, event_metrics
from a3dcae_jax.scoring.metrics import frame_metrics
from a3dcae_jax.scoring.normalisation import NORMALISATIONS, normalise, smooth
from a3dcae_jax.scoring.tables import write_scores
from tests.scoring.example import example_metrics

CONFIG_FILE = str(pathlib.Path(__file__).parents[2] / 'a3dcae_jax' / 'configs' / 'synthetic.py')
VIDEOS = 6
FRAMES = 60
SMOOTHING = 2.0
THRESHOLD = 2.0


def base(variants='tiny', **overrides):
  """Return the config of the synthetic set as a user gives it."""
  config = make_config('synthetic', variants, values={'data.root': ''})
  config.update_from_flattened_dict(overrides)
  return Base(CONFIG_FILE, tuple(variants.split(',')), overrides, checked(config))


def labels():
  """Return labels of the test videos: the last third of each is abnormal."""
  video = (np.arange(FRAMES) >= 2 * FRAMES // 3).astype(np.uint8)
  return [video] * VIDEOS


def write_run(job: Job, *, strength: float, noise: int = 0) -> None:
  """Write the results of a job.

  Args:
    job: the job.
    strength: by how much errors of abnormal frames are larger.
    noise: seed of the noise in the errors.
  """
  rng = np.random.default_rng([noise, job.seed])
  errors = [rng.uniform(1, 2, FRAMES) + strength * video for video in labels()]
  figures = {}
  for how in NORMALISATIONS:
    scores = normalise(errors, how, train_mean=1.5, train_std=0.3)
    figures[how] = frame_metrics(smooth(scores, SMOOTHING), labels())
  metrics = example_metrics()
  metrics['metrics'] = figures
  metrics['calibration'] |= {'mean': 1.5, 'std': 0.3}
  scores = smooth(normalise(errors, 'zscore', train_mean=1.5, train_std=0.3), SMOOTHING)
  detected = [detect_events(video, threshold=THRESHOLD) for video in scores]
  metrics['events'] |= event_metrics(
    scores, labels(), detected, threshold=THRESHOLD, frames_per_s=25
  )
  metrics['data'] |= {'name': 'synthetic', 'videos': VIDEOS, 'frames': VIDEOS * FRAMES}
  metrics['protocol']['smoothing'] = {'frames': SMOOTHING, 'mode': 'centred', 'of': 'scores'}
  metrics['checkpoint_step'] = job.settings.train.steps if job.settings else 4
  write_json(job.workdir / 'metrics.json', metrics)
  names = [f'{index:02d}' for index in range(VIDEOS)]
  write_scores(job.workdir / 'scores.csv', names, errors, errors, labels(), 'official')
  if job.settings:
    write_json(job.workdir / workdirs.CONFIG, workdirs.to_json(job.settings))
  devices = {'platform': 'cpu', 'kind': 'cpu', 'count': 1, 'processes': 1}
  write_json(job.workdir / workdirs.PROVENANCE, {'devices': devices, 'data_sha256': 'x'})
  write_json(state_file(job), {'minutes': 1.5, 'digest': job.digest})


def with_command(job: Job, code: str) -> Job:
  """Return a job that runs Python code instead of `main`."""
  return dataclasses.replace(job, arguments=('-c', code))
