"""What clusters and disks do to a run: for each fault what happens, and that nothing is lost. docs/notes/0005-faults.md is the table."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.run import train
from a3dcae_jax.run.workdir import read_config
from a3dcae_jax.training.checkpoints import Checkpoints
from a3dcae_jax.training.hooks import read_metrics
from tests.faults.helper import log_of, same_state, steps_logged

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get('A3DCAE_KILLS', '3'))  # 20 for the note
LONG = ('--config.train.steps=300', '--config.train.checkpoint_every_steps=20')
RNG = np.random.default_rng(0)


@pytest.fixture(scope='module')
def whole(commands):
  """300 updates, never disturbed."""
  status, text = commands.run(commands.main(commands.folder / 'whole', *LONG))
  assert status == 0 and 'checkpoints held the loop for' in text, text
  return commands.folder / 'whole'


def goes_on(commands, whole, run, *flags):
  """Checks that a disturbed run, started again, ends as the undisturbed one did, to the bit; returns what it says."""
  status, text = commands.run(commands.main(run, *LONG, *flags))
  assert status == 0 and 'going on from the checkpoint of step' in text, text
  same_state(whole, run)
  assert read_metrics(run / 'metrics.jsonl') == read_metrics(whole / 'metrics.jsonl')
  assert json.loads((run / 'metrics.json').read_text())['checkpoint_step'] == 300
  return text


def newest_whole(run):
  checkpoints = Checkpoints(run / 'checkpoints')
  step = checkpoints.latest_step()
  checkpoints.close()
  return step


def test_killed_again_and_again_terminated_and_cut_short(commands, whole):
  """One run through all three: SIGKILL at random steps, SIGTERM, and its newest checkpoint truncated."""
  run, newest = commands.folder / 'killed', 0
  for _ in range(KILLS):
    target = min(newest + int(RNG.integers(2, 40)), 290)
    log, running = log_of(run), commands.start(commands.main(run, *LONG))
    running.until(lambda log=log, target=target: log_of(run) != log and steps_logged(run) >= target)
    running.signal(signal.SIGKILL)
    assert running.end(20) == -signal.SIGKILL
    before, newest = newest, newest_whole(run) or 0
    assert newest >= max(
      before, steps_logged(run) - 40
    )  # the one that was due may not have been whole yet
  log, running = log_of(run), commands.start(commands.main(run, *LONG))
  late = max(
    newest + 5, 45
  )  # that of step 20 is whole by then, however early the kills came: the next waits for it, and it is what is left below
  running.until(lambda: log_of(run) != log and steps_logged(run) >= late)
  running.signal(signal.SIGTERM)
  assert running.end(60) == 75, running.text
  saved = newest_whole(run)
  assert (
    f'asked to end by SIGTERM: saved at step {saved}. The same command goes on from there.'
    in running.text
    and steps_logged(run) == saved
  )
  largest = max(
    (run / 'checkpoints' / str(saved) / 'default').rglob('*'),
    key=lambda path: path.stat().st_size * path.is_file(),
  )
  largest.write_bytes(largest.read_bytes()[:-100])
  text = goes_on(commands, whole, run)
  assert f'{saved} is not whole: ' in text and 'looking for an older one' in text


def test_disk_full(commands, whole, tmp_path):
  if (
    os.geteuid()
    or subprocess.run(
      ['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', str(tmp_path)],
      check=False,
      capture_output=True,
    ).returncode
  ):
    pytest.skip('a disk of its own needs root')
  try:
    run = tmp_path / 'run'
    running = commands.start(commands.main(run, *LONG))
    running.until(lambda: steps_logged(run) >= 45)
    with open(tmp_path / 'filler', 'wb', buffering=0) as filler:
      for size in (2**16, 2**10, 1):
        try:
          while True:
            filler.write(b'x' * size)
        except OSError:
          pass
    assert running.end(60) == 2
    assert (
      'No space left on device' in running.text
      and 'newest whole checkpoint is that of step' in running.text
    ), running.text
    assert newest_whole(run) >= 20
    (tmp_path / 'filler').unlink()
    goes_on(commands, whole, run)
  finally:
    subprocess.run(['umount', '-l', str(tmp_path)], check=True)


@pytest.fixture
def cache(commands, whole, tmp_path):
  """A copy of the frame cache that a test may harm."""
  (source,) = (
    path for path in (commands.folder / 'caches').iterdir() if (path / 'index.json').exists()
  )
  return pathlib.Path(shutil.copytree(source, tmp_path / 'cache'))


def test_corrupted_frame_store(commands, whole, cache):
  run = commands.folder / 'whole'
  content = (cache / 'train.npy').read_bytes()
  (cache / 'train.npy').write_bytes(content[:-7] + bytes([content[-7] ^ 1]) + content[-6:])
  status, text = commands.run(commands.main(run, *LONG, f'--config.data.cache={cache}'))
  assert (
    status == 2
    and f'error: {cache}: its arrays are not the ones that were written (SHA-256 differs)' in text
  )
  (cache / 'train.npy').write_bytes(content[:-7])
  status, text = commands.run(commands.main(run, *LONG, f'--config.data.cache={cache}'))
  assert status == 2 and f'error: {cache / "train.npy"} cannot be read' in text
  (cache / 'train.npy').write_bytes(content)
  assert newest_whole(run) == 300


def test_data_vanishing(commands, whole, cache):
  run = commands.folder / 'vanished'
  running = commands.start(
    commands.main(
      run, *LONG, f'--config.data.cache={cache}', '--config.train.input_pipeline=streaming'
    )
  )
  running.until(lambda: steps_logged(run) >= 30)
  shutil.rmtree(cache)
  assert running.end(120) == 0, (
    running.text
  )  # the frames are mapped: they live as long as the process
  same_state(whole, run)
  status, text = commands.run(commands.main(run, *LONG, f'--config.data.cache={cache}'))
  assert status == 2 and f'error: {cache / "index.json"} does not exist' in text
  assert newest_whole(run) == 300


def test_nan_in_the_data(commands, whole, cache, tmp_path):
  """Frames are uint8, so NaN can only come by the mean image; the first loss shows it, and nothing is saved."""
  opened = FrameCache.open(cache)
  opened.keep_mean_image(np.full((16, 16), np.nan, np.float32))
  with pytest.raises(
    UserError,
    match='training stopped: .*not finite at step 1; the last good checkpoint is that of step None',
  ):
    train.train(read_config(whole), tmp_path / 'nan', opened)
  assert newest_whole(tmp_path / 'nan') is None


def test_two_runs_in_one_workdir(commands):
  run = commands.folder / 'shared'
  running = commands.start(commands.main(run, '--config.train.steps=1000000', LONG[1]))
  running.until(lambda: steps_logged(run) >= 20)
  status, text = commands.run(commands.main(run, *LONG))
  assert status == 2 and f'{run} is in use by another run (process {running.pid} on ' in text
  running.signal(signal.SIGKILL)  # the lock ends with its process
  running.end(20)
  status, text = commands.run(commands.main(run, f'--config.train.steps={newest_whole(run)}'))
  assert status == 0 and 'already trained' in text, text


JUMPING = """import random, time
_real, _random = time.time, random.Random(0)
time.time = lambda: _real() + _random.choice((-4e8, -3600.0, 0.0, 3600.0, 4e8))
"""


def test_a_clock_that_jumps(commands, whole, tmp_path):
  (tmp_path / 'sitecustomize.py').write_text(JUMPING)
  run = commands.folder / 'jumping'
  status, text = commands.run(
    commands.main(run, *LONG), PYTHONPATH=f'{tmp_path}:{commands.environ["PYTHONPATH"]}'
  )
  assert status == 0, text
  same_state(whole, run)
