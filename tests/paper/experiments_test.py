"""The command `experiments`: its errors, its plan, and a plan that is killed and resumed."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from a3dcae_jax.common.files import read_json
from tests.faults.helper import steps_logged

ROOT = pathlib.Path(__file__).parents[2]
MINI = 'tests/faults/mini.py'


def start(*flags):
  return subprocess.Popen(
    [sys.executable, '-m', 'a3dcae_jax.experiments', *flags],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
  )


def run(*flags):
  process = start(*flags)
  out, errors = process.communicate(timeout=600)
  return process.returncode, out, errors


def one_error(*flags):
  """Return the one line of error with which the command ends."""
  status, out, errors = run(*flags)
  lines = errors.strip().splitlines()
  assert (status, out, len(lines)) == (2, '', 1), errors
  return lines[0]


@pytest.mark.slow
@pytest.mark.parametrize(
  'flags, message',
  [
    ([], '--table is missing'),
    (['--table=XI'], '--table (=XI)'),
    (['--table=IX', '--seeds=0,x'], "--seeds (=0,x): 'x' is not a whole number"),
    (['--table=IX', '--config.seed=3'], '--config.seed and --config.variant do not go'),
    (['--table=IX', '--processes=0'], '--processes (=0)'),
    (['--table=IX', '--shard=3/2'], '--shard (=3/2)'),
    (['--table=fig3', '--peer=none.py'], '--peer: none.py ended with status 2'),
    (['--table=IX', '--out=/proc/none/x'], '--out (=/proc/none/x) cannot be written'),
  ],
)
def test_a_mistake_is_one_line(flags, message):
  assert message in one_error(f'--config={MINI}', *flags)


@pytest.mark.slow
def test_missing_footage_is_found_before_the_first_run(tmp_path):
  error = one_error(
    '--table=fig3',
    '--config=configs/avenue.py:tiny',
    f'--config.data.root={tmp_path}/none',
    f'--out={tmp_path}/out',
  )
  assert f'{tmp_path}/none' in error
  assert not (tmp_path / 'out').exists()


@pytest.mark.slow
def test_a_dry_run_prints_the_commands_and_writes_nothing(tmp_path):
  out = tmp_path / 'out'
  status, text, _ = run('--table=IX,fig4', f'--config={MINI}', f'--out={out}', '--dry_run')
  assert status == 0 and not out.exists()
  commands = [line for line in text.splitlines() if not line.startswith('#')]
  assert len(commands) == 4
  assert commands[0].startswith('python -m a3dcae_jax.main --config=')
  assert '--sum' in commands[2]
  assert '# base_s0 (to run): IX: Ours (RGB only), fig4: with GAN, frames_and_flow_s0' in text


@pytest.mark.slow
def test_a_plan_that_is_ended_goes_on_and_is_complete(tmp_path):
  out = tmp_path / 'out'
  flags = (
    '--table=fig3,fig4,fig6',
    f'--config={MINI}',
    f'--config.data.cache_dir={tmp_path / "caches"}',
    '--config.train.steps=60',
    f'--out={out}',
  )
  process = start(*flags)
  base = out / 'runs' / 'base_s0'
  while not steps_logged(base):
    assert process.poll() is None, process.communicate()
    time.sleep(0.05)
  process.send_signal(signal.SIGTERM)
  _, errors = process.communicate(timeout=300)
  assert process.returncode == 75, errors
  assert not (base / 'metrics.json').exists()
  assert not (out / 'report.html').exists()
  status, text, errors = run(*flags)
  assert status == 0, errors
  assert 'resuming from the checkpoint of step' in (out / 'logs' / 'base_s0.log').read_text()
  assert read_json(base / 'metrics.json')['checkpoint_step'] == 60
  for name in ('report.html', 'fig3.csv', 'fig4.md', 'fig6.csv'):
    assert (out / name).stat().st_size
  status, text, _ = run(*flags)
  assert '2 of 2 runs are done and are not run again' in text
