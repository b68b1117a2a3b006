"""How a command joins a pod, and how its process ends there: flags, detection, exit status.

Exit status: 0 done; 2 a mistake that a person can mend; 75 asked to end by SIGTERM, saved, run the same command again; 76 another process of the
pod was lost, run the same command again (134 where JAX noticed it first). Launchers may restart on 75, 76, 134, never on 2.
"""

import os
import sys
import traceback

from absl import flags

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.training.peer_monitor import EXIT_PEER_LOST
from a3dcae_jax.training.preemption import Preempted

EXIT_PREEMPTED = 75
_LOST = (
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


def define_pod_flags():
  """Defines the flags of a pod; without them it is looked for in the environment."""
  flags.DEFINE_string(
    'coordinator',
    '',
    'HOST:PORT of process 0. With the next two: joins a pod by hand; without: looks for one in the environment.',
  )
  flags.DEFINE_integer('num_processes', 0, 'How many processes the pod has; one on each host.')
  flags.DEFINE_integer('process_id', -1, 'Which of them this is, from 0.')
  flags.DEFINE_integer(
    'heartbeat_s',
    100,
    'The pod ends after so many seconds without a sign of life from one of its processes.',
  )
  flags.DEFINE_integer(
    'join_timeout_s', 300, 'How long to wait for the other processes to come, seconds.'
  )


def join_pod():
  """Joins the pod that the flags or the environment show, and says which; to be called before anything touches a device."""
  from a3dcae_jax.training import cluster, processes  # after the flags: --help stays quick

  values = flags.FLAGS
  pod = cluster.detect(
    os.environ,
    coordinator=values.coordinator,
    num_processes=values.num_processes,
    process_id=values.process_id,
  )
  if pod.coordinator:
    print(
      f'process {pod.process_id} of {pod.num_processes}, coordinator {pod.coordinator} ({pod.note})',
      flush=True,
    )
  elif pod.note:
    print(f'one process by itself: {pod.note}', flush=True)
  processes.join(pod, heartbeat_s=values.heartbeat_s, join_timeout_s=values.join_timeout_s)


def run_in_pod(body):
  """Runs `body()`; an error in a pod ends this process at once, with a status that says why: leaving politely would wait for the others.

  Returns: the exit status of a run that was preempted, else None. Raises: what `body` raises, in a process by itself.
  """
  from a3dcae_jax.training import processes

  try:
    body()
  except Preempted as notice:
    processes.leave()
    print(f'{notice}. The same command goes on from there.', file=sys.stderr, flush=True)
    return EXIT_PREEMPTED
  except Exception as error:
    if processes.count() == 1:
      raise
    _end(error, processes.index())
  processes.leave()
  return None


def _end(error, process):
  status = 1
  if isinstance(error, UserError):
    status = 2
    print(f'error: {error}', file=sys.stderr)
  elif any(sign in str(error) for sign in _LOST):
    status = EXIT_PEER_LOST
    print(
      f'error: process {process} lost a process of the pod ({str(error).splitlines()[0][:200]}); everything up to the last '
      'checkpoint is saved: run the same command again',
      file=sys.stderr,
    )
  else:
    traceback.print_exc()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)
