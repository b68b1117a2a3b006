r"""Run a Python command as a pod of several processes on this machine.

  python launch/local.py --processes=2 --devices=2 -- \
    -m a3dcae_jax.main --config=configs/synthetic.py:tiny --workdir=/tmp/pod

Each process has --devices CPU devices and gets the flags --coordinator, --num_processes and
--process_id. Its lines of output carry its number. SIGTERM and Ctrl-C are passed on. If a process
fails, the others have --grace_s seconds to end by themselves, as on separate hosts; then they are
killed. The exit status is that of the process that failed first, and 0 if none failed. A process
that was killed by signal S counts as 128 + S.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

PEER_LOST = 76  # exit status of a process that lost another: training.peer_monitor.EXIT_PEER_LOST


class Worker(NamedTuple):
  """A process of the pod.

  Attributes:
    process: the process.
    relay: the thread that copies its output to ours.
  """

  process: subprocess.Popen
  relay: threading.Thread


def free_port() -> int:
  """Return a TCP port that nobody listens on now."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


def commands(
  arguments: Sequence[str], *, processes: int, coordinator: str, python: str = sys.executable
) -> list[list[str]]:
  """Return the command line of each process.

  Args:
    arguments: of Python.
    processes: number of processes.
    coordinator: HOST:PORT at which they meet.
    python: the interpreter.
  """
  pod = [f'--coordinator={coordinator}', f'--num_processes={processes}']
  lines = []
  for index in range(processes):
    lines.append([python, *arguments, *pod, f'--process_id={index}'])
  return lines


def start(command: Sequence[str], *, devices: int, index: int) -> Worker:
  """Start a process whose output goes to ours, with its number before each line.

  Args:
    command: its command line.
    devices: number of its CPU devices.
    index: its number.
  """
  environment = {
    **os.environ,
    'JAX_PLATFORMS': 'cpu',
    'JAX_NUM_CPU_DEVICES': str(devices),
    'PYTHONUNBUFFERED': '1',
  }
  process = subprocess.Popen(
    command,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    errors='replace',
  )

  def copy_output() -> None:
    for line in process.stdout:
      sys.stdout.write(f'[{index}] {line}')
      sys.stdout.flush()

  relay = threading.Thread(target=copy_output, daemon=True)
  relay.start()
  print(f'[local] process {index} has pid {process.pid}', flush=True)
  return Worker(process, relay)


def wait(workers: Sequence[Worker], *, grace_s: float) -> int:
  """Wait for all processes and return the exit status of the pod.

  That is the status of the process that failed first, 0 if none did. `PEER_LOST` only says that
  another process ended, so a different status counts instead if there is one: both may have ended
  between two looks.

  Args:
    workers: the processes.
    grace_s: seconds that the others have after one failed, before they are killed.
  """
  first_failure = 0
  deadline = float('inf')
  killed = []
  while any(worker.process.poll() is None for worker in workers):
    if not first_failure:
      first_failure = _first_failure(workers, grace_s)
      if first_failure:
        deadline = time.monotonic() + grace_s
    if time.monotonic() > deadline:
      killed += _kill_running(workers)
      deadline = float('inf')
    time.sleep(0.05)
  for worker in workers:
    worker.relay.join(5)
  if first_failure not in (0, PEER_LOST):
    return first_failure
  statuses = []
  for worker in workers:
    if worker.process.returncode and worker not in killed:
      statuses.append(_status(worker.process.returncode))
  causes = [status for status in statuses if status != PEER_LOST]
  if causes:
    return causes[0]
  return PEER_LOST if statuses else 0


def _first_failure(workers: Sequence[Worker], grace_s: float) -> int:
  """Return the status of the first process that has failed, 0 if none has."""
  for index, worker in enumerate(workers):
    if worker.process.poll():
      status = _status(worker.process.returncode)
      print(
        f'[local] process {index} ended with status {status}; the others have {grace_s:g} s',
        flush=True,
      )
      return status
  return 0


def _kill_running(workers: Sequence[Worker]) -> list[Worker]:
  """Kill the processes that still run, and return them."""
  killed = []
  for index, worker in enumerate(workers):
    if worker.process.poll() is None:
      print(f'[local] process {index} did not end by itself: killed', flush=True)
      worker.process.kill()
      killed.append(worker)
  return killed


def _status(returncode: int) -> int:
  """Return the exit status that a shell would report."""
  return returncode if returncode >= 0 else 128 - returncode


def main() -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--processes', type=int, default=2, help='number of processes')
  parser.add_argument('--devices', type=int, default=1, help='CPU devices of each process')
  parser.add_argument(
    '--grace_s', type=float, default=120, help='seconds until the others are killed'
  )
  parser.add_argument('--dry_run', action='store_true', help='print the commands only')
  parser.add_argument('arguments', nargs=argparse.REMAINDER, help='-- and the arguments of Python')
  options = parser.parse_args()
  arguments = options.arguments
  if arguments[:1] == ['--']:
    arguments = arguments[1:]
  if not arguments:
    parser.error('nothing to run: give it after --, as in -- -m a3dcae_jax.main --config=...')
  coordinator = f'127.0.0.1:{free_port()}'
  lines = commands(arguments, processes=options.processes, coordinator=coordinator)
  if options.dry_run:
    for line in lines:
      print(' '.join(line))
    return 0
  workers = []
  for index, line in enumerate(lines):
    workers.append(start(line, devices=options.devices, index=index))
  _pass_signals_on(workers)
  return wait(workers, grace_s=options.grace_s)


def _pass_signals_on(workers: Sequence[Worker]) -> None:
  """Send SIGTERM and Ctrl-C to all processes that run."""

  def send(number: int, _: object) -> None:
    for worker in workers:
      if worker.process.poll() is None:
        worker.process.send_signal(number)

  signal.signal(signal.SIGTERM, send)
  signal.signal(signal.SIGINT, send)


if __name__ == '__main__':
  sys.exit(main())
