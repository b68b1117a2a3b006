"""Commands in processes of their own, which tests can signal and kill."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np

from a3dcae_jax.training.checkpoints import Checkpoints
from a3dcae_jax.training.hooks import read_metrics

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 100
EVERY = 10  # steps between two checkpoints

# Processes of a pod cannot read each other's compiled programs on CPUs, so each compiles its own.
COMPILE_QUICKLY = '--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
LONG = (f'--config.train.steps={STEPS}', f'--config.train.checkpoint_every_steps={EVERY}')


class Commands:
  """Commands that share frame caches and compiled programs."""

  def __init__(self, folder):
    """Keep frame caches and runs in `folder`.

    Compiled programs are kept in JAX_COMPILATION_CACHE_DIR where it is set.
    """
    self.folder = folder
    self.environ = {'JAX_COMPILATION_CACHE_DIR': str(folder / 'compiled')}
    self.environ |= os.environ
    self.environ |= {
      'PYTHONPATH': str(ROOT),
      'PYTHONUNBUFFERED': '1',
      'JAX_NUM_CPU_DEVICES': '2',
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
      'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
      'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} {COMPILE_QUICKLY}',
    }

  def main(self, workdir, *flags, variants='tiny'):
    """Return the arguments of Python for a run in `workdir`."""
    return [
      '-m',
      'a3dcae_jax.main',
      f'--config=tests/faults/mini.py:{variants}',
      f'--config.data.cache_dir={self.folder / "caches"}',
      f'--workdir={workdir}',
      *flags,
    ]

  def pod(self, workdir, *flags, devices=2, **options):
    """Return the arguments of Python for a run by a local pod of two processes.

    `devices` is the number of each process; `options` are those of `main`.
    """
    return [
      'launch/local.py',
      '--processes=2',
      f'--devices={devices}',
      '--grace_s=60',
      '--',
      *self.main(workdir, *flags, **options),
    ]

  def start(self, arguments, *, before=(), **environ):
    """Start a command, with the words `before` in front of it."""
    return Running([*before, sys.executable, *arguments], self.environ | environ)

  def run(self, arguments, **environ):
    """Run a command to its end, and return its exit status and output."""
    running = self.start(arguments, **environ)
    return running.end(600), running.text


class Running:
  """A started command.

  Attributes:
    pid: id of its first process.
    text: output so far.
  """

  def __init__(self, command, environ):
    self._process = subprocess.Popen(
      command,
      cwd=ROOT,
      env=environ,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      errors='replace',
      start_new_session=True,
    )
    self.text = ''
    self.pid = self._process.pid
    self._reader = threading.Thread(target=self._read, daemon=True)
    self._reader.start()

  def _read(self):
    for line in self._process.stdout:
      self.text += line

  def until(self, condition, timeout_s=600):
    """Wait for `condition()`; fail if the command ends first or time runs out."""
    end = time.monotonic() + timeout_s
    while not condition():
      assert self._process.poll() is None and time.monotonic() < end, self.text[-3000:]
      time.sleep(0.02)

  def signal(self, number, pid=None):
    """Send a signal to the first process, or to `pid`."""
    os.kill(pid or self.pid, number)

  def end(self, timeout_s):
    """Return the exit status; after `timeout_s`, kill all processes and fail."""
    try:
      status = self._process.wait(timeout_s)
    except subprocess.TimeoutExpired:
      os.killpg(self.pid, signal.SIGKILL)
      raise AssertionError(f'still running after {timeout_s} s: {self.text[-3000:]}') from None
    self._reader.join(10)
    self._process.stdout.close()
    return status


def steps_logged(workdir):
  """Return the last step in metrics.jsonl, 0 before the first.

  The last line of the file may be incomplete.
  """
  path = pathlib.Path(workdir) / 'metrics.jsonl'
  if not path.exists():
    return 0
  rows = read_metrics(path)
  return rows[-1]['step'] if rows else 0


def log_of(workdir):
  """Return the inode of metrics.jsonl, new for each start; None without a file."""
  path = pathlib.Path(workdir) / 'metrics.jsonl'
  return path.stat().st_ino if path.exists() else None


def wait_for_step(running, workdir, step, log=None):
  """Wait until a run has logged `step` in a file other than `log`."""
  running.until(lambda: log_of(workdir) != log and steps_logged(workdir) >= step)


def newest_whole(workdir):
  """Return the step of the newest whole checkpoint, or None."""
  checkpoints = Checkpoints(pathlib.Path(workdir) / 'checkpoints')
  step = checkpoints.latest_step()
  checkpoints.close()
  return step


def state_of(workdir, step=None):
  """Return (step, {path: array}) of a checkpoint, by default the newest."""
  import jax

  from a3dcae_jax.run.train import fresh_state
  from a3dcae_jax.run.workdir import read_config

  settings = read_config(workdir)
  checkpoints = Checkpoints(pathlib.Path(workdir) / 'checkpoints')
  step = step or checkpoints.latest_step()
  state = checkpoints.restore(step, jax.eval_shape(lambda: fresh_state(settings)))
  checkpoints.close()
  leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(state))
  arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
  return step, arrays


def check_same_state(one, other, *, step=None, atol=0.0):
  """Check that checkpoints of two workdirs are equal, by default the newest ones."""
  expected_step, expected = state_of(one, step)
  found_step, found = state_of(other, step)
  assert found_step == expected_step
  assert found.keys() == expected.keys()
  for name, array in expected.items():
    np.testing.assert_allclose(found[name], array, rtol=0, atol=atol, err_msg=name)
