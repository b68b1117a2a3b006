"""Jobs run in processes, several at once; failures and signals leave the rest in order."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from a3dcae_jax.paper import plan
from a3dcae_jax.paper.runner import _devices, last_line, log_file, run_jobs
from a3dcae_jax.training import cluster
from tests.paper.made_runs import base, with_command, write_run

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def jobs(tmp_path):
  return plan.make_jobs(base(), ['IX'], [0], tmp_path)


def finished(job, lines):
  """Return a job whose process writes what a finished run leaves; `lines` is code before that."""
  write_run(job, strength=1)
  path = job.workdir / 'metrics.json'
  hidden = path.rename(path.with_name('hidden'))
  plan.state_file(job).unlink()
  code = f'{lines}\nimport os; os.rename({str(hidden)!r}, {str(path)!r})'
  return with_command(job, code)


def test_jobs_run_in_order_and_done_ones_are_skipped(jobs):
  frames, flow, added = jobs.values()
  write_run(frames, strength=1)
  others = [finished(flow, 'print("trained")'), finished(added, '')]
  lines = []
  outcome = run_jobs([frames, *others], show=lines.append)
  assert not outcome.failed and outcome.asked_by is None
  assert lines[0] == '1 of 3 runs are done and are not run again'
  assert lines[1].startswith('[2/3] flow_s0: started')
  assert lines[2].startswith('[2/3] flow_s0: done in 0.0 min; 1 left')
  assert lines[3].startswith('[3/3] frames_and_flow_s0: started')
  assert 'trained' in log_file(flow).read_text()
  assert plan.read_state(flow)['minutes'] > 0
  assert run_jobs([frames, *others], show=lines.append).failed == {}
  assert lines[-1] == '3 of 3 runs are done and are not run again'


def test_a_failed_job_does_not_stop_the_others_but_those_that_need_it(jobs):
  frames, flow, added = jobs.values()
  fails = with_command(frames, 'import sys; sys.exit("error: no footage")')
  outcome = run_jobs([fails, finished(flow, ''), added], show=lambda line: None)
  assert outcome.failed == {
    'base_s0': 'status 1: error: no footage',
    'frames_and_flow_s0': 'needs the results of base_s0',
  }
  assert plan.is_done(flow)


def test_a_job_that_ends_early_is_not_done(jobs):
  (frames, *_) = jobs.values()
  outcome = run_jobs([with_command(frames, 'pass')], show=lambda line: None)
  assert 'ended before train.steps' in outcome.failed['base_s0']


def test_jobs_run_at_the_same_time(jobs, tmp_path):
  frames, flow, _ = jobs.values()
  wait = (
    'import os, time\nopen({own!r}, "w")\nwhile not os.path.exists({other!r}): time.sleep(0.01)'
  )
  one, two = str(tmp_path / 'one'), str(tmp_path / 'two')
  meeting = [
    finished(frames, wait.format(own=one, other=two)),
    finished(flow, wait.format(own=two, other=one)),
  ]
  assert run_jobs(meeting, processes=2, show=lambda line: None).failed == {}


def test_sigterm_lets_the_running_job_save_and_starts_no_other(jobs, tmp_path):
  frames, flow, _ = jobs.values()
  started = tmp_path / 'started'
  code = (
    'import os, signal, sys, time\n'
    'signal.signal(signal.SIGTERM, lambda *_: (print("saved"), sys.exit(75)))\n'
    f'open({str(started)!r}, "w")\n'
    'time.sleep(60)'
  )

  def ask():
    while not started.exists():
      time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)

  thread = threading.Thread(target=ask)
  thread.start()
  before = signal.getsignal(signal.SIGTERM)
  outcome = run_jobs([with_command(frames, code), flow], show=lambda line: None)
  thread.join()
  assert outcome.asked_by == signal.SIGTERM and not outcome.failed
  assert last_line(log_file(frames)) == 'saved'
  assert not log_file(flow).exists()
  assert signal.getsignal(signal.SIGTERM) is before


PARENT = """
import pathlib, sys
from a3dcae_jax.paper import plan
from a3dcae_jax.paper.runner import run_jobs
from tests.paper.made_runs import base, with_command

job = plan.make_jobs(base(), ['fig3'], [0], pathlib.Path(sys.argv[1]))['base', 0]
run_jobs([with_command(job, sys.argv[2])])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux tells a child')
def test_a_run_saves_and_ends_when_its_parent_is_killed(tmp_path):
  started, saved = tmp_path / 'started', tmp_path / 'saved'
  code = (
    'import pathlib, signal, sys, time\n'
    f'signal.signal(signal.SIGTERM, lambda *_: sys.exit(pathlib.Path({str(saved)!r}).touch()))\n'
    f'pathlib.Path({str(started)!r}).touch()\n'
    'time.sleep(60)'
  )
  parent = subprocess.Popen([sys.executable, '-c', PARENT, str(tmp_path / 'out'), code], cwd=ROOT)
  wait_for(started, parent)
  assert not saved.exists()
  parent.kill()
  parent.wait()
  wait_for(saved)


def wait_for(path, process=None):
  """Wait for a file, for a minute or as long as a process runs."""
  end = time.monotonic() + 60
  while not path.exists():
    assert time.monotonic() < end and (process is None or process.poll() is None)
    time.sleep(0.01)


def test_the_last_line_of_a_log_is_found_after_a_progress_bar(tmp_path):
  log = tmp_path / 'log'
  log.write_bytes(b'x' * 10_000 + b'\n 10%\r 20%\r\nerror: last\n\n')
  assert last_line(log) == 'error: last'
  log.write_bytes(b'')
  assert last_line(log) == 'no output'


def test_runs_at_the_same_time_get_their_own_devices(monkeypatch):
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '3,11,5')
  assert _devices(1) == []
  assert _devices(4) == ['3', '5', '11', '3']
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0')
  assert _devices(2) == []


def test_a_part_of_the_work_comes_from_the_environment():
  array = {'SLURM_ARRAY_TASK_ID': '5', 'SLURM_ARRAY_TASK_COUNT': '4', 'SLURM_ARRAY_TASK_MIN': '3'}
  assert cluster.shard_of(array) == (2, 4, 'SLURM array')
  with pytest.raises(cluster.UserError, match='number the array without gaps'):
    cluster.shard_of(array | {'SLURM_ARRAY_TASK_ID': '9'})
  pod = {'JAX_COORDINATOR_ADDRESS': 'a:1', 'JAX_NUM_PROCESSES': '3', 'JAX_PROCESS_ID': '1'}
  pod['JAX_PLATFORMS'] = 'cpu'
  assert cluster.shard_of(pod)[:2] == (1, 3)
  assert cluster.detect(cluster.without_pod(pod)).num_processes == 1
