"""Run the jobs of a plan in processes of their own, and resume them."""

import dataclasses
import glob
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from a3dcae_jax.common.errors import last_message
from a3dcae_jax.common.files import write_json
from a3dcae_jax.paper.plan import Job, is_done, read_state, state_file
from a3dcae_jax.training import cluster
from a3dcae_jax.training.hooks import read_metrics

_POLL_S = 0.2
_STATUS_S = 60.0  # between two lines on the running jobs
_LOG_TAIL = 4096  # bytes of a log in which its last line is looked for

# Becomes `python ARGUMENTS`, which gets SIGTERM when its parent has died, also by SIGKILL: then it
# saves and ends. Only Linux has this (PR_SET_PDEATHSIG). With `preexec_fn`, Python would run
# between fork and exec, beside JAX's threads. -S saves the time of `site`, which comes again.
_TIED = """
import ctypes, os, signal, sys
parent, *arguments = sys.argv[1:]
if sys.platform == 'linux':
  ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))
if os.getppid() != int(parent):
  sys.exit('error: the command that started this run has ended')
os.execv(sys.executable, [sys.executable, *arguments])
"""


@dataclasses.dataclass
class Outcome:
  """How the jobs ended.

  Attributes:
    failed: name of a job -> why its results are not there.
    asked_by: the signal that ended the work; None if it ran to its end.
  """

  failed: dict[str, str] = dataclasses.field(default_factory=dict)
  asked_by: signal.Signals | None = None


@dataclasses.dataclass
class _Running:
  """A job whose process runs."""

  job: Job
  process: subprocess.Popen
  slot: int
  started: float
  is_told: bool = False

  @property
  def minutes(self) -> float:
    return (time.monotonic() - self.started) / 60


def run_jobs(
  jobs: Sequence[Job],
  *,
  processes: int = 1,
  show: Callable[[str], None] = print,
) -> Outcome:
  """Run jobs until each has its results or has failed.

  A job that is done is skipped. One that fails does not stop the others. On SIGTERM and Ctrl-C the
  running jobs are told to save and end; a second signal kills them.

  Args:
    jobs: the jobs, each after those that it needs, which are among them.
    processes: how many run at once.
    show: prints a line of progress.
  """
  runner = _Runner(jobs, processes, show)
  with runner.stopped_by_signals():
    runner.run()
  return runner.outcome


class _Runner:
  """See `run_jobs`."""

  def __init__(self, jobs: Sequence[Job], processes: int, show: Callable[[str], None]) -> None:
    self.outcome = Outcome()
    self._show = show
    self._number = {job.name: index for index, job in enumerate(jobs, start=1)}
    self._done = {job.name for job in jobs if is_done(job)}
    self._waiting = [job for job in jobs if job.name not in self._done]
    self._running: list[_Running] = []
    self._free = list(range(processes))
    self._environ = cluster.without_pod(os.environ) | {'PYTHONUNBUFFERED': '1'}
    self._devices = _devices(processes)
    self._processes = processes
    self._is_killing = False
    self._minutes: list[float] = []  # of the jobs that this call has run to their end
    self._next_status = time.monotonic() + _STATUS_S

  def run(self) -> None:
    if self._done:
      self._show(f'{len(self._done)} of {len(self._number)} runs are done and are not run again')
    while self._waiting or self._running:
      if self.outcome.asked_by:
        self._waiting = []
        self._end_running()
      else:
        self._start_ready()
      self._collect()
      self._show_status()
      time.sleep(_POLL_S if self._running else 0)

  @contextmanager
  def stopped_by_signals(self) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C stop the jobs while the context is open."""
    before = {}
    for number in (signal.SIGTERM, signal.SIGINT):
      before[number] = signal.signal(number, self._stop)
    try:
      yield
    finally:
      for number, handler in before.items():
        signal.signal(number, handler)

  def _stop(self, number: int, frame: FrameType | None) -> None:
    del frame
    self._is_killing = self.outcome.asked_by is not None
    self.outcome.asked_by = signal.Signals(number)
    # Not `print`, which the signal may have interrupted.
    os.write(2, b'\nwaiting for the running jobs to save; a second signal kills them\n')

  def _end_running(self) -> None:
    """Tell the running jobs to save and end, each once, or kill them."""
    for each in self._running:
      if self._is_killing:
        each.process.kill()
      elif not each.is_told:
        each.process.terminate()
        each.is_told = True

  def _start_ready(self) -> None:
    for job in list(self._waiting):
      if self.outcome.asked_by:
        return
      missing = [name for name in job.needs if name not in self._done]
      lost = [name for name in missing if not self._will_have_results(name)]
      if lost:
        self._waiting.remove(job)
        self._fail(job, f'needs the results of {", ".join(lost)}')
      elif not missing and self._free:
        self._waiting.remove(job)
        self._start(job)

  def _will_have_results(self, name: str) -> bool:
    return any(job.name == name for job in [*self._waiting, *(each.job for each in self._running)])

  def _start(self, job: Job) -> None:
    slot = self._free.pop(0)
    log = log_file(job)
    log.parent.mkdir(parents=True, exist_ok=True)
    environ = self._environ
    if self._devices:
      environ = environ | {'CUDA_VISIBLE_DEVICES': self._devices[slot]}
    with open(log, 'ab') as file:
      file.write(f'$ {job.command}\n'.encode())
      file.flush()
      # A group of its own: Ctrl-C in the terminal reaches this process, which passes it on once.
      process = subprocess.Popen(
        [sys.executable, '-S', '-c', _TIED, str(os.getpid()), *job.arguments],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=file,
        stderr=subprocess.STDOUT,
        process_group=0,
      )
    self._running.append(_Running(job, process, slot, time.monotonic()))
    self._show(f'{self._numbered(job)}: started, log {log}')

  def _collect(self) -> None:
    """Take the jobs that have ended."""
    for each in list(self._running):
      status = each.process.poll()
      if status is None:
        continue
      self._running.remove(each)
      self._free.append(each.slot)
      self._record_end(each, status)

  def _record_end(self, each: _Running, status: int) -> None:
    job = each.job
    state = read_state(job)
    minutes = state.get('minutes', 0.0) + each.minutes
    state |= {'minutes': round(minutes, 3), 'command': job.command}
    if status == 0:
      state['digest'] = job.digest
    write_json(state_file(job), state)
    if status == 0 and is_done(job):
      self._done.add(job.name)
      self._minutes.append(each.minutes)
      self._show(f'{self._numbered(job)}: done in {minutes:.1f} min{self._estimate()}')
    elif self.outcome.asked_by:
      self._show(f'{self._numbered(job)}: ended, the same command resumes it')
    elif status == 0:
      self._fail(job, 'ended before train.steps (train.time_limit_s?): the same command resumes it')
    else:
      self._fail(job, f'status {status}: {last_line(log_file(job))}')

  def _fail(self, job: Job, reason: str) -> None:
    self.outcome.failed[job.name] = reason
    self._show(f'{self._numbered(job)}: FAILED, {reason}; log {log_file(job)}')

  def _numbered(self, job: Job) -> str:
    """Return how lines on a job begin."""
    return f'[{self._number[job.name]}/{len(self._number)}] {job.name}'

  def _estimate(self) -> str:
    left = len(self._waiting) + len(self._running)
    if not left:
      return ''
    mean = sum(self._minutes) / len(self._minutes)
    return f'; {left} left, about {mean * left / self._processes:.0f} min'

  def _show_status(self) -> None:
    if time.monotonic() < self._next_status:
      return
    self._next_status = time.monotonic() + _STATUS_S
    for each in self._running:
      done = _progress(each.job)
      self._show(f'{self._numbered(each.job)}: {done}{each.minutes:.1f} min')


def log_file(job: Job) -> pathlib.Path:
  """Return the file with the output of a job's processes."""
  return job.workdir.parents[1] / 'logs' / f'{job.name}.log'


def last_line(path: pathlib.Path) -> str:
  """Return the last line of a log that is not empty, or 'no output'."""
  with open(path, 'rb') as file:
    file.seek(0, os.SEEK_END)
    file.seek(max(file.tell() - _LOG_TAIL, 0))
    tail = file.read().decode('utf-8', 'replace')
  return last_message(tail) or 'no output'


def _progress(job: Job) -> str:
  path = job.workdir / 'metrics.jsonl'
  if job.settings is None or not path.exists():
    return ''
  rows: list[Any] = read_metrics(path)
  return f'update {rows[-1]["step"]} of {job.settings.train.steps}, ' if rows else ''


def _devices(processes: int) -> list[str]:
  """Return the NVIDIA device of each slot; empty if all processes share them."""
  if processes < 2:
    return []
  visible = os.environ.get('CUDA_VISIBLE_DEVICES')
  if visible is None:
    names = [path.removeprefix('/dev/nvidia') for path in glob.glob('/dev/nvidia[0-9]*')]
  else:
    names = [name for name in visible.split(',') if name]
  if len(names) < 2:
    return []
  names.sort(key=lambda name: (len(name), name))
  return [names[slot % len(names)] for slot in range(processes)]
