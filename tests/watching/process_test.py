"""`detect` as a process: its signals, its pipe, its share of an archive."""

import csv
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests.watching.toy import HttpCamera, camera, jpeg, write_toy_bundle, write_video

ROOT = pathlib.Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def bundle(tmp_path_factory):
  return write_toy_bundle(tmp_path_factory.mktemp('process') / 'toy.bundle')


def command(bundle, out, *arguments):
  return [
    sys.executable,
    '-m',
    'a3dcae_jax.detect',
    f'--bundle={bundle}',
    f'--out={out}',
    '--status_s=0.5',
    *map(str, arguments),
  ]


def frames_in(path):
  with open(path, newline='') as file:
    return [int(row['frame']) for row in csv.DictReader(file)]


def test_sigterm_ends_it_cleanly_and_a_kill_loses_a_second_at_most(bundle, tmp_path):
  server = HttpCamera(list(camera(30)), pause_s=0.02)
  for number in (signal.SIGTERM, signal.SIGKILL):
    out = tmp_path / number.name
    process = subprocess.Popen(
      command(bundle, out, f'a={server.address}'),
      cwd=ROOT,
      stdout=subprocess.PIPE,
      text=True,
    )
    for line in process.stdout:
      if line.startswith('a: ') and ' 0.0 scored' not in line:
        break
    time.sleep(1.5)
    process.send_signal(number)
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait(20) == (0 if number == signal.SIGTERM else -number)
    scored = frames_in(out / 'a' / 'scores.csv')
    assert scored == list(range(len(scored)))
    assert len(scored) > 10
    if number == signal.SIGTERM:
      assert f'a: {len(scored)} of ' in rest
  server.stop()


def test_a_pipe_of_pictures_is_read_to_its_end(bundle, tmp_path):
  content = b''.join(jpeg(frame) for frame in camera(40, range(10, 30)))
  ended = subprocess.run(
    command(bundle, tmp_path / 'out', '-'), cwd=ROOT, input=content, capture_output=True
  )
  assert ended.returncode == 0, ended.stderr
  assert len(frames_in(tmp_path / 'out' / 'stdin' / 'scores.csv')) == 40


def test_raw_frames_that_end_too_early_are_named(bundle, tmp_path):
  content = b''.join(frame.tobytes() for frame in camera(10))[:-100]
  ended = subprocess.run(
    command(bundle, tmp_path / 'out', '--raw=96x64', '-'),
    cwd=ROOT,
    input=content,
    capture_output=True,
  )
  assert ended.returncode == 2
  assert (
    ended.stderr.decode()
    .splitlines()[-1]
    .startswith('error: standard input ends within a frame: 6044 of 6144 bytes')
  )
  assert len(frames_in(tmp_path / 'out' / 'stdin' / 'scores.csv')) == 9


def test_a_pipe_that_stalls_does_not_hinder_the_end(bundle, tmp_path):
  process = subprocess.Popen(
    command(bundle, tmp_path / 'out', '--raw=96x64', '--until=1', '-'),
    cwd=ROOT,
    stdin=subprocess.PIPE,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
  )
  process.stdin.write(b''.join(frame.tobytes() for frame in camera(20)))
  process.stdin.flush()
  assert process.wait(60) == 0, process.stderr.read()
  process.stdin.close()
  process.stderr.close()
  assert len(frames_in(tmp_path / 'out' / 'stdin' / 'scores.csv')) == 20


def test_processes_of_a_pod_share_an_archive(bundle, tmp_path):
  archive = tmp_path / 'archive'
  archive.mkdir()
  for index in range(3):
    write_video(archive / f'{index}.avi', camera(10))
  processes = []
  for index in range(2):
    pod = {
      'JAX_COORDINATOR_ADDRESS': '127.0.0.1:1',
      'JAX_NUM_PROCESSES': '2',
      'JAX_PROCESS_ID': str(index),
    }
    arguments = command(bundle, tmp_path / 'out', archive)
    processes.append(
      subprocess.Popen(arguments, cwd=ROOT, env=os.environ | pod, stdout=subprocess.PIPE, text=True)
    )
  texts = [process.communicate(timeout=60)[0] for process in processes]
  assert [process.returncode for process in processes] == [0, 0]
  assert 'part 1 of 2' in texts[0]
  done = [
    [line.partition(':')[0] for line in text.splitlines() if 'frames scored, ' in line]
    for text in texts
  ]
  assert [sorted(each) for each in done] == [['0.avi', '2.avi'], ['1.avi']]
