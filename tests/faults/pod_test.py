"""Pods of real processes on the CPU, connected by gloo: results, ends, resumption."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import numpy as np
import pytest

from a3dcae_jax.run.evaluate import evaluate_again
from a3dcae_jax.scoring.tables import read_scores
from a3dcae_jax.training.hooks import read_metrics
from launch.local import free_port
from tests.faults.helper import (
  EVERY,
  LONG,
  check_same_state,
  log_of,
  steps_logged,
  wait_for_step,
)

pytestmark = pytest.mark.slow
STEPS = 60
FLAGS = (*LONG, f'--config.train.steps={STEPS}', '--config.train.keep_checkpoints=99')
SAID_BY_JAX = 'This most likely indicates that another task died'
EXIT_PREEMPTED = 75
EXIT_PEER_LOST = 76


def pid_of(running, process):
  """Return the pid of a process of a pod."""
  start = f'[local] process {process} has pid'
  (line,) = [line for line in running.text.splitlines() if line.startswith(start)]
  return int(line.split()[-1])


@pytest.fixture(scope='module')
def alone(commands):
  """A run by one process with 4 devices."""
  run = commands.folder / 'alone'
  status, text = commands.run(commands.main(run, *FLAGS), JAX_NUM_CPU_DEVICES='4')
  assert status == 0, text
  return run


@pytest.fixture(scope='module')
def pod(commands):
  """The same run by 2 processes with 2 devices each, and its output."""
  run = commands.folder / 'pod'
  status, text = commands.run(commands.pod(run, *FLAGS))
  assert status == 0, text
  return run, text


def test_a_pod_trains_the_same_parameters(alone, pod):
  """They agree to float32 rounding, since gradients are added in another order.

  RMSprop divides by small gradients, so rounding grows to 1.2e-6 in 20 updates on some CPUs.
  """
  run, _ = pod
  check_same_state(alone, run, step=20, atol=3e-6)
  expected = read_metrics(alone / 'metrics.jsonl')
  found = read_metrics(run / 'metrics.jsonl')
  assert [row['step'] for row in found] == list(range(1, STEPS + 1))  # written once
  for row, expected_row in zip(found[:20], expected[:20], strict=True):
    assert row == pytest.approx(expected_row, rel=1e-4)


def test_a_pod_prints_its_size_and_the_shares_that_processes_read(pod):
  run, text = pod
  assert '[1] process 1 of 2, coordinator 127.0.0.1:' in text
  assert '4 x cpu in 2 processes, each holding all frames' in text
  devices = json.loads((run / 'provenance.json').read_text())['devices']
  assert devices == {'platform': 'cpu', 'kind': 'cpu', 'count': 4, 'processes': 2}


def test_a_pod_prints_results_once(pod):
  _, text = pod
  assert text.count(f'checkpoint of update {STEPS}') == 1


def test_a_pod_scores_every_frame_once_with_the_scores_of_one_process(tmp_path, pod):
  """The number of windows, 33, is odd."""
  run, _ = pod
  again = tmp_path / 'again'
  shutil.copytree(run, again)
  evaluate_again(again)
  names, errors, scores, _ = read_scores(run / 'scores.csv')
  _, expected_errors, expected_scores, _ = read_scores(again / 'scores.csv')
  assert names == ['01', '02', '03']
  assert [len(video) for video in errors] == [42, 42, 42]
  for found, expected in zip([*errors, *scores], [*expected_errors, *expected_scores], strict=True):
    np.testing.assert_allclose(found, expected, rtol=1e-5)
  regions = json.loads((run / 'metrics.json').read_text())['regions']
  expected_regions = json.loads((again / 'metrics.json').read_text())['regions']
  for name in ('pixel_auc', 'rbdc'):
    assert regions[name] == pytest.approx(expected_regions[name], abs=1e-6)


def test_streaming_processes_read_their_share_and_train_the_same_parameters(commands, pod):
  run = commands.folder / 'streaming'
  flags = ('--config.train.input_pipeline=streaming', '--config.train.steps=20')
  status, text = commands.run(commands.pod(run, *flags))
  assert status == 0 and 'each reading its share of every batch' in text, text
  check_same_state(pod[0], run, step=20)


def signal_process(commands, run, process, number):
  """Start a pod, signal one process once a checkpoint is due, and wait for the end.

  Returns:
    Exit status and output.
  """
  checkpoints = (run / 'checkpoints').glob('[0-9]*')
  newest = max((int(path.name) for path in checkpoints), default=0)
  log = log_of(run)
  running = commands.start(commands.pod(run, *FLAGS))
  wait_for_step(running, run, newest + EVERY + 5, log)
  running.signal(number, pid_of(running, process))
  status = running.end(90)
  assert 'did not end by itself' not in running.text, running.text[-3000:]
  return status, running.text


def test_a_pod_that_lost_a_process_or_was_preempted_ends_like_an_undisturbed_one(commands, pod):
  """The second process gets SIGKILL, then SIGTERM; the first gets SIGKILL."""
  run = commands.folder / 'disturbed'
  for process, number, expected in (
    (1, signal.SIGKILL, 128 + signal.SIGKILL),
    (1, signal.SIGTERM, EXIT_PREEMPTED),
    (0, signal.SIGKILL, 128 + signal.SIGKILL),
  ):
    status, text = signal_process(commands, run, process, number)
    assert status == expected, text[-3000:]
    if number == signal.SIGTERM:
      assert text.count(f'asked to end by SIGTERM: saved at step {steps_logged(run)}') == 2
    else:
      signs = (f'lost process {process} of the pod', SAID_BY_JAX, 'lost a process')
      assert any(sign in text for sign in signs), text[-3000:]
  status, text = commands.run(commands.pod(run, *FLAGS))
  assert status == 0 and 'resuming from the checkpoint of step' in text, text
  check_same_state(pod[0], run)
  assert read_metrics(run / 'metrics.jsonl') == read_metrics(pod[0] / 'metrics.jsonl')


def test_one_process_resumes_the_run_of_a_pod(commands, pod, tmp_path):
  last = STEPS - 20
  ignored = without_steps_after(last)
  run = pathlib.Path(shutil.copytree(pod[0], tmp_path / 'run', ignore=ignored))
  status, text = commands.run(commands.main(run, *FLAGS), JAX_NUM_CPU_DEVICES='4')
  assert status == 0 and f'resuming from the checkpoint of step {last}' in text, text
  # Gradients of 20 updates are added in another order.
  check_same_state(pod[0], run, atol=1e-4)


def without_steps_after(last):
  """Return what `shutil.copytree` ignores: the checkpoints after a step."""

  def later(folder, names):
    return [name for name in names if name.isdecimal() and int(name) > last]

  return later


def write_moving_boxes(path):
  """Write two boxes of most frames of the config `mini`."""
  lines = ['video,frame,x1,y1,x2,y2,score,class']
  for split in ('train', 'test'):
    for video in ('01', '02', '03'):
      for frame in range(42):
        if frame % 10:
          shift = frame / 8
          lines.append(f'{split}/{video},{frame},{shift},2,{shift + 6},12,0.9,0')
          lines.append(f'{split}/{video},{frame},{8 - shift},5,15,15,0.8,0')
  path.write_text('\n'.join(lines) + '\n')


def test_objects_are_trained_and_scored_in_a_pod_as_by_one_process(commands, tmp_path):
  """One process has 2 devices, two have one each; the pod resumes to the bit."""
  boxes = tmp_path / 'boxes.csv'
  write_moving_boxes(boxes)
  flags = (
    f'--config.objects.detector={boxes}',
    '--config.objects.crop_px=8',
    '--config.train.batch_size=4',
    '--config.train.steps=8',
    '--config.train.checkpoint_every_steps=4',
    '--config.train.log_every_steps=4',
    '--config.train.keep_checkpoints=9',
  )
  one, pod = tmp_path / 'one', tmp_path / 'pod'
  status, text = commands.run(commands.main(one, *flags, variants='best'))
  assert status == 0, text
  status, text = commands.run(commands.pod(pod, *flags, devices=1, variants='best'))
  assert status == 0, text
  check_same_state(one, pod, atol=3e-6)
  _, expected, _, _ = read_scores(one / 'scores.csv')
  _, errors, _, _ = read_scores(pod / 'scores.csv')
  for found, wanted in zip(errors, expected, strict=True):
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
  assert max(video.max() for video in errors) > 0
  resumed = pathlib.Path(shutil.copytree(pod, tmp_path / 'resumed', ignore=without_steps_after(4)))
  status, text = commands.run(commands.pod(resumed, *flags, devices=1, variants='best'))
  assert status == 0 and 'resuming from the checkpoint of step 4' in text, text
  check_same_state(pod, resumed)
  assert (resumed / 'scores.csv').read_bytes() == (pod / 'scores.csv').read_bytes()


class Hosts:
  """Two network namespaces joined by a cable.

  Attributes:
    names: names of the hosts.
    addresses: addresses of the hosts.
  """

  def __init__(self):
    self.names = [f'a3d{os.getpid() % 10000}{side}' for side in 'ab']
    self.addresses = ['10.77.31.1', '10.77.31.2']

  def connect(self):
    """Make the hosts and the cable between them."""
    here, there = self.names
    ip('netns', 'add', there)
    cable = ['type', 'veth', 'peer', 'name', 'pod0', 'netns', there]
    ip('link', 'add', 'pod0', 'netns', here, *cable)
    lines = ['127.0.0.1 localhost\n']
    for name, address in zip(self.names, self.addresses, strict=True):
      lines.append(f'{address} {name}\n')
    for name, address in zip(self.names, self.addresses, strict=True):
      ip('-n', name, 'addr', 'add', f'{address}/24', 'dev', 'pod0')
      ip('-n', name, 'link', 'set', 'lo', 'up')
      ip('-n', name, 'link', 'set', 'pod0', 'up')
      folder = settings_of(name)
      folder.mkdir(parents=True)
      (folder / 'hosts').write_text(''.join(lines))

  def cut(self):
    """Cut the cable."""
    ip('-n', self.names[1], 'link', 'set', 'pod0', 'down')

  def remove(self):
    """Remove the hosts."""
    for name in self.names:
      ip('netns', 'del', name, check=False)
      shutil.rmtree(settings_of(name), ignore_errors=True)

  def shell(self, index):
    """Return the words that run a command on a host under its name."""
    name = self.names[index]
    script = f'hostname {name}; exec "$0" "$@"'
    return ['ip', 'netns', 'exec', name, 'unshare', '-u', 'sh', '-c', script]


def ip(*arguments, check=True):
  return subprocess.run(['ip', *arguments], check=check, capture_output=True)


def settings_of(name):
  return pathlib.Path('/etc/netns') / name


@pytest.fixture
def hosts():
  made = Hosts()
  may_make = not os.geteuid() and shutil.which('ip') and shutil.which('unshare')
  if not may_make or ip('netns', 'add', made.names[0], check=False).returncode:
    pytest.skip('network namespaces need root and iproute2')
  try:
    made.connect()
    yield made
  finally:
    made.remove()


def test_a_host_that_is_cut_off_ends_the_pod(commands, hosts):
  run = commands.folder / 'cut'
  flags = (
    *LONG,
    '--config.train.steps=100000',
    '--heartbeat_s=6',
    f'--coordinator={hosts.addresses[0]}:{free_port()}',
    '--num_processes=2',
  )
  running = []
  for index in range(2):
    arguments = commands.main(run, *flags, f'--process_id={index}')
    running.append(commands.start(arguments, before=hosts.shell(index)))
  wait_for_step(running[0], run, 20)
  hosts.cut()
  statuses = [process.end(45) for process in running]
  expected = (EXIT_PEER_LOST, -signal.SIGABRT, 128 + signal.SIGABRT)
  for status, process in zip(statuses, running, strict=True):
    assert status in expected, process.text[-1500:]
    signs = ('lost a process of the pod', SAID_BY_JAX)
    assert any(sign in process.text for sign in signs), process.text[-2000:]
