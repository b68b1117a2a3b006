"""How a command joins a pod, and how its process ends.

Exit status:
  0: done.
  2: a mistake that the user can mend.
  75: SIGTERM asked the run to end, and it has saved. The same command resumes it.
  76: another process of the pod was lost. The same command resumes the run.
  130: as 75, after Ctrl-C. Where nothing is being trained, the process just ends.
  134: as 76, where JAX noticed the loss first.

Launchers may restart on 75, 76 and 134, never on 2 and 130.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from absl import flags

from a3dcae_jax.cli.command import EXIT_INTERRUPTED, EXIT_USER_ERROR, user_error
from a3dcae_jax.common.jax_environment import check_devices

EXIT_PREEMPTED = 75

# Words in the messages of JAX and its libraries when another process is lost.
_SIGNS_OF_LOSS = (
  'Gloo',
  'NCCL',
  'UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'heartbeat',
  'Connection reset',
  'Connection closed',
  'Socket closed',
  'coordination',
)

# `--help` then lists the flags that functions here define under the command that calls them.
flags.disclaim_key_flags()


def define_pod_flags() -> None:
  """Define the flags of a pod, for when the environment does not describe it."""
  flags.DEFINE_string(
    'coordinator',
    '',
    'HOST:PORT of process 0. Joins a pod by hand, with the next two flags; without them the '
    'environment is searched for a pod.',
  )
  flags.DEFINE_integer('num_processes', 0, 'Number of processes of the pod; one on each host.')
  flags.DEFINE_integer('process_id', -1, 'Number of this process, from 0.')
  flags.DEFINE_integer(
    'heartbeat_s', 100, 'Seconds without a sign of life from a process after which the pod ends.'
  )
  flags.DEFINE_integer('join_timeout_s', 300, 'Seconds to wait for the other processes to join.')


def join_pod() -> None:
  """Join the pod that the flags or the environment describe, and print which.

  Call it before anything uses a device.
  """
  from a3dcae_jax.training import cluster, processes  # import jax, which --help does without

  values = flags.FLAGS
  pod = cluster.detect(
    os.environ,
    coordinator=values.coordinator,
    num_processes=values.num_processes,
    process_id=values.process_id,
  )
  if pod.coordinator:
    print(
      f'process {pod.process_id} of {pod.num_processes}, coordinator {pod.coordinator} '
      f'({pod.note})',
      flush=True,
    )
  elif pod.note:
    print(f'one process by itself: {pod.note}', flush=True)
  processes.join(pod, heartbeat_s=values.heartbeat_s, join_timeout_s=values.join_timeout_s)
  check_devices()


def read_shard(text: str) -> tuple[int, int]:
  """Return the part of the work of this host, from `--shard` or the environment.

  Args:
    text: value of `--shard`, K/N; '' for the environment.

  Returns:
    K - 1 and N.

  Raises:
    UserError: if either cannot be read.
  """
  from a3dcae_jax.training import cluster  # imports jax, which --help does without
  from a3dcae_jax.watching.sources import parse_shard

  if text:
    return parse_shard(text)
  number, count, note = cluster.shard_of(os.environ)
  if count > 1:
    print(f'part {number + 1} of {count} ({note})', flush=True)
  return number, count


def run_in_pod(body: Callable[[], Any]) -> int | None:
  """Run `body()` and leave the pod.

  After an error in a pod of several processes, this process ends at once with a status that says
  why: a normal end would wait for the other processes.

  Returns:
    The exit status of a preempted run, otherwise None.

  Raises:
    Exception: any error of `body`, where this process is the only one.
  """
  from a3dcae_jax.training import processes
  from a3dcae_jax.training.preemption import Preempted

  try:
    body()
  except Preempted as preempted:
    processes.leave()
    print(f'{preempted}. The same command resumes from there.', file=sys.stderr, flush=True)
    return EXIT_PREEMPTED if preempted.asked_by == signal.SIGTERM else EXIT_INTERRUPTED
  except Exception as error:
    if processes.count() == 1:
      raise
    _end(error, processes.index())
  processes.leave()
  return None


def _end(error: Exception, process: int) -> NoReturn:
  """Print an error and end this process at once."""
  from a3dcae_jax.training.peer_monitor import EXIT_PEER_LOST

  status = 1
  if known := user_error(error):
    status = EXIT_USER_ERROR
    print(f'error: {known}', file=sys.stderr)
  elif any(sign in str(error) for sign in _SIGNS_OF_LOSS):
    status = EXIT_PEER_LOST
    reason = str(error).splitlines()[0][:200]
    print(
      f'error: process {process} lost a process of the pod ({reason}); everything up to the last '
      'checkpoint is saved: run the same command again',
      file=sys.stderr,
    )
  else:
    traceback.print_exc()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)
