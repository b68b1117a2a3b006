"""Pods of real processes on the CPU, talking through gloo: what they compute, how they end, how they go on."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import numpy as np
import pytest

from a3dcae_jax.run import evaluate as run_evaluate
from a3dcae_jax.scoring.tables import read_scores
from a3dcae_jax.training.hooks import read_metrics
from launch.local import free_port
from tests.faults.helper import log_of, same_state, steps_logged

pytestmark = pytest.mark.slow
FLAGS = (
  '--config.train.steps=300',
  '--config.train.checkpoint_every_steps=20',
  '--config.train.keep_checkpoints=99',
)
SAID_BY_JAX = 'This most likely indicates that another task died'


def pid_of(running, process):
  line = next(
    line
    for line in running.text.splitlines()
    if line.startswith(f'[local] process {process} has pid')
  )
  return int(line.split()[-1])


@pytest.fixture(scope='module')
def alone(commands):
  """300 updates by one process with 4 devices."""
  status, text = commands.run(
    commands.main(commands.folder / 'alone', *FLAGS), JAX_NUM_CPU_DEVICES='4'
  )
  assert status == 0, text
  return commands.folder / 'alone'


@pytest.fixture(scope='module')
def pod(commands):
  """The same by 2 processes with 2 devices each, never disturbed."""
  status, text = commands.run(commands.pod(commands.folder / 'pod', *FLAGS))
  assert status == 0, text
  return commands.folder / 'pod', text


def test_a_pod_trains_the_same_parameters(alone, pod):
  """To float32 rounding: the four replicas' gradients are added up in another order."""
  same_state(alone, pod[0], step=20, atol=1e-6)
  one, two = read_metrics(alone / 'metrics.jsonl'), read_metrics(pod[0] / 'metrics.jsonl')
  assert [row['step'] for row in two] == list(range(1, 301))  # written once
  for a, b in zip(one[:20], two[:20], strict=True):
    assert b == pytest.approx(a, rel=1e-4)


def test_a_pod_says_what_it_is_and_who_reads_what(pod):
  assert (
    '[1] process 1 of 2, coordinator 127.0.0.1:' in pod[1]
    and '4 x cpu in 2 processes, each holding all frames' in pod[1]
  )
  assert pod[1].count('checkpoint of step 300') == 1
  assert json.loads((pod[0] / 'provenance.json').read_text())['devices'] == {
    'platform': 'cpu',
    'kind': 'cpu',
    'count': 4,
    'processes': 2,
  }


def test_a_pod_scores_every_frame_once_and_alike(tmp_path, pod):
  shutil.copytree(pod[0], tmp_path / 'again')
  run_evaluate.evaluate_again(
    tmp_path / 'again'
  )  # one process over the pod's checkpoint; 33 windows are an odd number
  names, errors, scores, _ = read_scores(pod[0] / 'scores.csv')
  _, expected_errors, expected_scores, _ = read_scores(tmp_path / 'again' / 'scores.csv')
  assert names == ['01', '02', '03'] and [len(video) for video in errors] == [42, 42, 42]
  for got, expected in zip([*errors, *scores], [*expected_errors, *expected_scores], strict=True):
    np.testing.assert_allclose(got, expected, rtol=1e-5)
  got, expected = (
    json.loads((folder / 'metrics.json').read_text())['regions']
    for folder in (pod[0], tmp_path / 'again')
  )
  assert got['pixel_auc'] == pytest.approx(expected['pixel_auc'], abs=1e-6) and got[
    'rbdc'
  ] == pytest.approx(expected['rbdc'], abs=1e-6)


def test_streaming_processes_read_their_share_and_train_the_same(commands, pod):
  run = commands.folder / 'streaming'
  status, text = commands.run(
    commands.pod(run, '--config.train.input_pipeline=streaming', '--config.train.steps=20')
  )
  assert status == 0 and 'each reading its share of every batch' in text, text
  same_state(pod[0], run, step=20)


def test_lost_and_preempted_processes_end_the_pod_and_it_goes_on(commands, pod):
  """SIGKILL of the second process, SIGTERM to it, SIGKILL of the first, each time started again: the parameters of the undisturbed pod."""
  run = commands.folder / 'disturbed'
  for victim, number, expected in (
    (1, signal.SIGKILL, 137),
    (1, signal.SIGTERM, 75),
    (0, signal.SIGKILL, 137),
  ):
    log, newest = (
      log_of(run),
      max((int(path.name) for path in (run / 'checkpoints').glob('[0-9]*')), default=0),
    )
    running = commands.start(commands.pod(run, *FLAGS))
    running.until(
      lambda log=log, newest=newest: log_of(run) != log and steps_logged(run) >= newest + 25
    )
    running.signal(number, pid_of(running, victim))
    assert running.end(90) == expected, running.text[-3000:]
    assert 'did not end by itself' not in running.text, running.text[-3000:]
    if number == signal.SIGTERM:
      assert running.text.count(f'asked to end by SIGTERM: saved at step {steps_logged(run)}') == 2
    else:
      assert (
        f'lost process {victim} of the pod' in running.text
        or SAID_BY_JAX in running.text
        or 'lost a process' in running.text
      )
  status, text = commands.run(commands.pod(run, *FLAGS))
  assert status == 0 and 'going on from the checkpoint of step' in text, text
  same_state(pod[0], run)
  assert read_metrics(run / 'metrics.jsonl') == read_metrics(pod[0] / 'metrics.jsonl')


def test_one_process_goes_on_where_a_pod_stopped(commands, pod, tmp_path):
  run = pathlib.Path(
    shutil.copytree(
      pod[0],
      tmp_path / 'run',
      ignore=lambda folder, names: [n for n in names if n.isdecimal() and int(n) > 280],
    )
  )
  status, text = commands.run(commands.main(run, *FLAGS), JAX_NUM_CPU_DEVICES='4')
  assert status == 0 and 'going on from the checkpoint of step 280' in text, text
  same_state(pod[0], run, atol=1e-4)  # 20 updates, whose gradients are added up in another order


@pytest.fixture
def hosts():
  """Two network namespaces joined by a cable: (name, address) of each; `ip link` may cut it."""
  names = [f'a3d{os.getpid() % 10000}{side}' for side in 'ab']
  addresses = ['10.77.31.1', '10.77.31.2']

  def ip(*arguments, check=True):
    return subprocess.run(['ip', *arguments], check=check, capture_output=True)

  if (
    os.geteuid()
    or not shutil.which('ip')
    or not shutil.which('unshare')
    or ip('netns', 'add', names[0], check=False).returncode
  ):
    pytest.skip('network namespaces need root and iproute2')
  folders = [pathlib.Path('/etc/netns') / name for name in names]
  try:
    ip('netns', 'add', names[1])
    ip(
      'link',
      'add',
      'pod0',
      'netns',
      names[0],
      'type',
      'veth',
      'peer',
      'name',
      'pod0',
      'netns',
      names[1],
    )
    for name, address, folder in zip(names, addresses, folders, strict=True):
      ip('-n', name, 'addr', 'add', f'{address}/24', 'dev', 'pod0')
      ip('-n', name, 'link', 'set', 'lo', 'up')
      ip('-n', name, 'link', 'set', 'pod0', 'up')
      folder.mkdir(parents=True)
      (folder / 'hosts').write_text(
        '127.0.0.1 localhost\n'
        + ''.join(f'{a} {n}\n' for a, n in zip(addresses, names, strict=True))
      )
    yield list(zip(names, addresses, strict=True)), ip
  finally:
    for name, folder in zip(names, folders, strict=True):
      ip('netns', 'del', name, check=False)
      shutil.rmtree(folder, ignore_errors=True)


def test_a_host_cut_off_ends_the_pod(commands, hosts):
  (here, there), ip = hosts
  run, flags = (
    commands.folder / 'cut',
    (
      '--config.train.steps=100000',
      '--heartbeat_s=6',
      f'--coordinator={here[1]}:{free_port()}',
      '--num_processes=2',
    ),
  )
  running = []
  for index, (name, _) in enumerate((here, there)):
    shell = [
      'ip',
      'netns',
      'exec',
      name,
      'unshare',
      '-u',
      'sh',
      '-c',
      f'hostname {name}; exec "$0" "$@"',
    ]
    running.append(
      commands.start(commands.main(run, *flags, f'--process_id={index}'), before=shell)
    )
  running[0].until(lambda: steps_logged(run) >= 20)
  ip('-n', there[0], 'link', 'set', 'pod0', 'down')
  statuses = [process.end(45) for process in running]
  assert all(status in (76, -signal.SIGABRT, 128 + signal.SIGABRT) for status in statuses), [
    statuses,
    *(process.text[-1500:] for process in running),
  ]
  for process in running:
    assert 'lost a process of the pod' in process.text or SAID_BY_JAX in process.text, process.text[
      -2000:
    ]
