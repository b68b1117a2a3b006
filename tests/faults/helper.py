"""Runs commands as their users do, in processes of their own, with what they compiled kept for the next."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np

from a3dcae_jax.training.hooks import read_metrics

ROOT = pathlib.Path(__file__).parents[2]


class Commands:
  """Commands whose caches and compiled programs live under `folder`."""

  def __init__(self, folder):
    self.folder = folder
    self.environ = os.environ | {
      'PYTHONPATH': str(ROOT),
      'PYTHONUNBUFFERED': '1',
      'JAX_NUM_CPU_DEVICES': '2',
      'JAX_COMPILATION_CACHE_DIR': str(folder / 'compiled'),
      'JAX_PERSISTENT_COMPILATION_CACHE_MIN_COMPILE_TIME_SECS': '0',
      'JAX_PERSISTENT_COMPILATION_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
    }

  def main(self, workdir, *flags):
    """Arguments of Python for a run in `workdir`."""
    return [
      '-m',
      'a3dcae_jax.main',
      '--config=tests/faults/mini.py',
      f'--config.data.cache_dir={self.folder / "caches"}',
      f'--workdir={workdir}',
      *flags,
    ]

  def start(self, arguments, *, before=(), **environ):
    return Running([*before, sys.executable, *arguments], self.environ | environ)

  def run(self, arguments, **environ):
    """(exit status, all output) of a command that is left alone."""
    running = self.start(arguments, **environ)
    return running.end(600), running.text

  def pod(self, workdir, *flags, devices=2, processes=2, grace_s=60):
    """Arguments of Python for a run in `workdir` by a pod on this machine."""
    return [
      'launch/local.py',
      f'--processes={processes}',
      f'--devices={devices}',
      f'--grace_s={grace_s}',
      '--',
      *self.main(workdir, *flags),
    ]


class Running:
  """A started command; `text` is what it has said so far."""

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
    self.text, self.pid = '', self._process.pid
    self._reader = threading.Thread(target=self._read, daemon=True)
    self._reader.start()

  def _read(self):
    for line in self._process.stdout:
      self.text += line

  def until(self, condition, timeout_s=600):
    """Waits for `condition()`; fails with the output where the command ends before, or time runs out."""
    end = time.monotonic() + timeout_s
    while not condition():
      assert self._process.poll() is None and time.monotonic() < end, self.text[-3000:]
      time.sleep(0.02)

  def signal(self, number, pid=None):
    os.kill(pid or self.pid, number)

  def kill_all(self):
    """Kills the command and everything that it started."""
    os.killpg(self.pid, signal.SIGKILL)

  def end(self, timeout_s):
    """The exit status; fails where the command takes longer."""
    try:
      status = self._process.wait(timeout_s)
    except subprocess.TimeoutExpired:
      self.kill_all()
      raise AssertionError(f'still running after {timeout_s} s: {self.text[-3000:]}') from None
    self._reader.join(10)
    self._process.stdout.close()
    return status


def steps_logged(workdir):
  """The last step in metrics.jsonl, 0 before the first; its last line may be half written."""
  path = pathlib.Path(workdir) / 'metrics.jsonl'
  rows = read_metrics(path) if path.exists() else []
  return rows[-1]['step'] if rows else 0


def log_of(workdir):
  """What tells one start's metrics.jsonl from the next one's, which writes the file anew."""
  path = pathlib.Path(workdir) / 'metrics.jsonl'
  return path.stat().st_ino if path.exists() else None


def state_of(workdir, step=None):
  """(step, {path: array}) of a checkpoint, by default the newest."""
  import jax

  from a3dcae_jax.run import train as fit
  from a3dcae_jax.run.workdir import read_config
  from a3dcae_jax.training.checkpoints import Checkpoints

  checkpoints = Checkpoints(pathlib.Path(workdir) / 'checkpoints')
  config, step = read_config(workdir), step or checkpoints.latest_step()
  state = checkpoints.restore(step, jax.eval_shape(lambda: fit.fresh_state(config)))
  checkpoints.close()
  leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(state))
  return step, {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def same_state(one, other, *, step=None, atol=0.0):
  """Asserts that checkpoints of two workdirs, by default the newest, agree: to the bit, or to `atol`."""
  (at, expected), (other_at, got) = state_of(one, step), state_of(other, step)
  assert at == other_at
  for name, array in expected.items():
    np.testing.assert_allclose(got[name], array, rtol=0, atol=atol, err_msg=name)
