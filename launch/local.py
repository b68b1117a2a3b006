"""Runs a command as a pod of several processes on this machine: to try, and to test, what several hosts do.

  python launch/local.py --processes=2 --devices=2 -- -m a3dcae_jax.main --config=configs/synthetic.py:tiny --workdir=/tmp/pod

Each process gets --devices CPU devices and the flags --coordinator --num_processes --process_id; lines of output carry the process's number.
SIGTERM and Ctrl-C go on to the processes. When one of them fails, the others get --grace_s seconds to end by themselves, as they would on hosts of
their own; then they are killed. The exit status is that of the first that failed, 0 if none did; a process killed by signal S counts as 128 + S.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time

PEER_LOST = 76  # what a process ends with that lost another: training.watch.EXIT_PEER_LOST


def free_port():
  """A TCP port that nobody listens on now."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


def commands(arguments, *, processes, coordinator, python=sys.executable):
  """The command line of each process: Python's arguments, then the flags of the pod."""
  return [
    [
      python,
      *arguments,
      f'--coordinator={coordinator}',
      f'--num_processes={processes}',
      f'--process_id={i}',
    ]
    for i in range(processes)
  ]


def start(command, *, devices, index):
  """One process; its output goes to ours, a thread putting its number before each line."""
  environ = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_NUM_CPU_DEVICES': str(devices),
    'PYTHONUNBUFFERED': '1',
  }
  process = subprocess.Popen(
    command,
    env=environ,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    errors='replace',
  )

  def relay():
    for line in process.stdout:
      sys.stdout.write(f'[{index}] {line}')
      sys.stdout.flush()

  process.relay = threading.Thread(target=relay, daemon=True)
  process.relay.start()
  print(f'[local] process {index} has pid {process.pid}', flush=True)
  return process


def wait(processes, *, grace_s):
  """Waits for all; returns the status that ended them: the first that is not 0, else 0.

  That a process lost another says only that the other ended: its own status counts, as both may have ended between two looks.
  """
  failed, deadline, killed = 0, float('inf'), []
  while any(process.poll() is None for process in processes):
    for index, process in enumerate(processes):
      if not failed and process.poll():
        failed = _status(process.returncode)
        deadline = time.monotonic() + grace_s
        print(
          f'[local] process {index} ended with status {failed}; the others have {grace_s:g} s',
          flush=True,
        )
    if time.monotonic() > deadline:
      for process in processes:
        if process.poll() is None:
          print(
            f'[local] process {processes.index(process)} did not end by itself: killed', flush=True
          )
          process.kill()
          killed.append(process)
      deadline = float('inf')
    time.sleep(0.05)
  for process in processes:
    process.relay.join(5)
  statuses = [
    _status(process.returncode)
    for process in processes
    if process.returncode and process not in killed
  ]
  if failed in (0, PEER_LOST):
    failed = next((status for status in statuses if status != PEER_LOST), max(statuses, default=0))
  return failed


def _status(returncode):
  return returncode if returncode >= 0 else 128 - returncode


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--processes', type=int, default=2)
  parser.add_argument('--devices', type=int, default=1, help='CPU devices of each process')
  parser.add_argument('--grace_s', type=float, default=120)
  parser.add_argument('--dry_run', action='store_true', help='print the commands only')
  parser.add_argument('arguments', nargs=argparse.REMAINDER, help='-- what Python is to run')
  options = parser.parse_args()
  arguments = options.arguments[1:] if options.arguments[:1] == ['--'] else options.arguments
  if not arguments:
    parser.error('nothing to run: give it after --, as in -- -m a3dcae_jax.main --config=...')
  lines = commands(arguments, processes=options.processes, coordinator=f'127.0.0.1:{free_port()}')
  if options.dry_run:
    print('\n'.join(' '.join(line) for line in lines))
    return 0
  processes = [start(line, devices=options.devices, index=i) for i, line in enumerate(lines)]
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(
      number, lambda received, _: [p.send_signal(received) for p in processes if p.poll() is None]
    )
  return wait(processes, grace_s=options.grace_s)


if __name__ == '__main__':
  sys.exit(main())
