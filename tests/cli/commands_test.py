"""Commands as processes: help that teaches, mistakes in one line with exit status 2."""

import subprocess
import sys

import pytest

MAIN = [sys.executable, '-m', 'a3dcae_jax.main']
CONFIG = '--config=configs/synthetic.py'

pytestmark = pytest.mark.slow


def run(*arguments):
  return subprocess.run(
    [*MAIN, *arguments], capture_output=True, text=True, timeout=120, check=False
  )


def test_help_shows_the_command():
  assert '--config=configs/synthetic.py --workdir=runs/synthetic' in run('--help').stdout


@pytest.mark.parametrize(
  'arguments, line',
  [
    (
      [f'{CONFIG}', '--config.train.stepz=3', '--workdir=x'],
      "--config.train.stepz: no field 'stepz'; did you mean 'steps'?",
    ),
    ([f'{CONFIG}:huge', '--workdir=x'], "unknown variant 'huge'; this config has: quick, tiny"),
    (['--config=configs/none.py', '--workdir=x'], 'there is no file configs/none.py'),
    (
      [CONFIG, '--config.train.steps=many', '--workdir=x'],
      "invalid literal for int() with base 10: 'many'",
    ),
    (
      ['--config=configs/ucsd_ped2.py', '--config.data.root=/none', '--workdir=x'],
      'data.root /none: there is no such folder',
    ),
  ],
)
def test_mistakes_are_one_line(arguments, line):
  result = run(*arguments)
  assert result.returncode == 2 and line in result.stderr and 'Traceback' not in result.stderr
  assert len(result.stderr.strip().splitlines()) == 1
