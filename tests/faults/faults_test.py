"""Runs survive faults of machines and disks.

`docs/guides/many_hosts.md` has a table of these faults.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.evaluation.calibration import InputStatistics
from a3dcae_jax.run.clip_feed import TrainingData, clip_feed
from a3dcae_jax.run.train import train
from a3dcae_jax.run.workdir import read_config
from a3dcae_jax.training.hooks import read_metrics
from tests.faults.helper import (
  EVERY,
  LONG,
  STEPS,
  check_same_state,
  log_of,
  newest_whole,
  steps_logged,
  wait_for_step,
)

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get('A3DCAE_KILLS', '3'))
RNG = np.random.default_rng(0)

# At this step the first checkpoint is whole, since the second save waits for it.
ONE_IS_WHOLE = 2 * EVERY + 5


@pytest.fixture(scope='module')
def whole(commands):
  """A run that is never disturbed."""
  run = commands.folder / 'whole'
  status, text = commands.run(commands.main(run, *LONG))
  assert status == 0 and 'checkpoints held the loop for' in text, text
  return run


@pytest.fixture
def cache(commands, whole, tmp_path):
  """A copy of the frame cache that a test may damage."""
  (index,) = (commands.folder / 'caches').glob('*/index.json')
  return pathlib.Path(shutil.copytree(index.parent, tmp_path / 'cache'))


def resume_and_compare(commands, whole, run):
  """Resume a run, and check that it ends equal to the undisturbed one, to the bit.

  Returns:
    The output of the resumed run.
  """
  status, text = commands.run(commands.main(run, *LONG))
  assert status == 0 and 'resuming from the checkpoint of step' in text, text
  check_same_state(whole, run)
  assert read_metrics(run / 'metrics.jsonl') == read_metrics(whole / 'metrics.jsonl')
  assert json.loads((run / 'metrics.json').read_text())['checkpoint_step'] == STEPS
  return text


def kill_at(commands, run, step):
  """Start a run and kill it once it has logged `step`."""
  log = log_of(run)
  running = commands.start(commands.main(run, *LONG))
  wait_for_step(running, run, step, log)
  running.signal(signal.SIGKILL)
  assert running.end(20) == -signal.SIGKILL


def truncate_checkpoint(run, step):
  folder = run / 'checkpoints' / str(step) / 'default'
  files = [path for path in folder.rglob('*') if path.is_file()]
  largest = max(files, key=lambda path: path.stat().st_size)
  largest.write_bytes(largest.read_bytes()[:-100])


def test_a_killed_terminated_and_truncated_run_ends_like_an_undisturbed_one(commands, whole):
  """One run gets SIGKILL at random steps, SIGTERM, and a truncated checkpoint."""
  run = commands.folder / 'killed'
  newest = 0
  for _ in range(KILLS):
    kill_at(commands, run, min(newest + int(RNG.integers(2, 2 * EVERY)), STEPS - 2 * EVERY))
    before = newest
    newest = newest_whole(run) or 0
    # The newest checkpoint may not have been whole yet.
    assert newest >= max(before, steps_logged(run) - 2 * EVERY)

  log = log_of(run)
  running = commands.start(commands.main(run, *LONG))
  wait_for_step(running, run, max(newest + 5, ONE_IS_WHOLE), log)
  running.signal(signal.SIGTERM)
  assert running.end(60) == 75, running.text
  saved = newest_whole(run)
  assert f'asked to end by SIGTERM: saved at step {saved}' in running.text
  assert steps_logged(run) == saved

  truncate_checkpoint(run, saved)
  text = resume_and_compare(commands, whole, run)
  assert f'{saved} is not whole: ' in text and 'looking for an older one' in text


@pytest.fixture
def small_disk(tmp_path):
  """A disk of its own, of 4 MB."""
  mount = ['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', str(tmp_path)]
  if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
    pytest.skip('a disk of its own needs root')
  yield tmp_path
  subprocess.run(['umount', '-l', str(tmp_path)], check=True)


def fill(path):
  """Write a file until the disk is full to the last byte."""
  with open(path, 'wb', buffering=0) as file:
    for size in (2**16, 2**10, 1):
      with contextlib.suppress(OSError):
        while True:
          file.write(b'x' * size)


def test_a_full_disk_ends_the_run_and_keeps_its_checkpoints(commands, whole, small_disk):
  run = small_disk / 'run'
  running = commands.start(commands.main(run, *LONG))
  wait_for_step(running, run, ONE_IS_WHOLE)
  fill(small_disk / 'filler')
  assert running.end(60) == 2, running.text
  assert 'No space left on device' in running.text
  assert re.search(r'checkpoints keeps the checkpoint of step \d+', running.text), running.text
  assert newest_whole(run) >= EVERY
  (small_disk / 'filler').unlink()
  resume_and_compare(commands, whole, run)


def alter_byte(content):
  return content[:-7] + bytes([content[-7] ^ 1]) + content[-6:]


def cut_off(content):
  return content[:-7]


@pytest.mark.parametrize(
  'harm, words', [(alter_byte, 'SHA-256'), (cut_off, 'train.npy cannot be read')]
)
def test_a_damaged_frame_cache_is_refused(commands, whole, cache, harm, words):
  frames = cache / 'train.npy'
  frames.write_bytes(harm(frames.read_bytes()))
  status, text = commands.run(commands.main(whole, *LONG, f'--config.data.cache={cache}'))
  assert status == 2
  (error,) = [line for line in text.splitlines() if line.startswith('error: ')]
  assert str(cache) in error and words in error
  assert newest_whole(whole) == STEPS


def test_a_run_survives_the_removal_of_its_frame_cache(commands, whole, cache):
  """Frames are memory-mapped, so they exist as long as the process."""
  run = commands.folder / 'vanished'
  flags = (*LONG, f'--config.data.cache={cache}')
  running = commands.start(commands.main(run, *flags, '--config.train.input_pipeline=streaming'))
  wait_for_step(running, run, EVERY)
  shutil.rmtree(cache)
  assert running.end(120) == 0, running.text
  check_same_state(whole, run)
  status, text = commands.run(commands.main(run, *flags))
  assert status == 2 and f'error: data.cache (={cache}) is not a frame cache' in text
  assert newest_whole(run) == STEPS


def test_nan_in_the_data_stops_before_anything_is_saved(whole, cache, tmp_path):
  """Frames are uint8, so NaN can only come from the mean image."""
  split = FrameCache.open(cache).train
  nan = np.full((1, 16, 16), np.nan, np.float32)
  inputs = InputStatistics(('set',), nan, nan, (1.0, 1.0))
  data = TrainingData(split, inputs, np.zeros(len(split.videos), np.int32))
  message = 'training stopped: .*not finite at step 1; .* has no checkpoint yet'
  settings = read_config(whole)
  with pytest.raises(UserError, match=message):
    train(settings, tmp_path / 'nan', clip_feed(settings, data))
  assert newest_whole(tmp_path / 'nan') is None


def test_a_second_run_in_a_workdir_is_refused_until_the_first_has_ended(commands):
  run = commands.folder / 'shared'
  running = commands.start(commands.main(run, *LONG, '--config.train.steps=1000000'))
  wait_for_step(running, run, ONE_IS_WHOLE)
  status, text = commands.run(commands.main(run, *LONG))
  assert status == 2 and f'{run} is in use by another run (process {running.pid} on ' in text
  running.signal(signal.SIGKILL)  # the lock ends with its process
  running.end(20)
  flag = f'--config.train.steps={newest_whole(run)}'
  status, text = commands.run(commands.main(run, flag))
  assert status == 0 and 'already trained' in text, text


JUMPING_CLOCK = """import random, time
_real, _random = time.time, random.Random(0)
time.time = lambda: _real() + _random.choice((-4e8, -3600.0, 0.0, 3600.0, 4e8))
"""


def test_a_jump_of_the_system_clock_changes_nothing(commands, whole, tmp_path):
  (tmp_path / 'sitecustomize.py').write_text(JUMPING_CLOCK)
  run = commands.folder / 'jumping'
  python_path = f'{tmp_path}:{commands.environ["PYTHONPATH"]}'
  status, text = commands.run(commands.main(run, *LONG), PYTHONPATH=python_path)
  assert status == 0, text
  check_same_state(whole, run)
