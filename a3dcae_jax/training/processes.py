"""The processes of a pod: joining it, what the first one does for all, values that pass between them, its end.

One process runs on each host; a run by itself is a pod of one, for which everything here is the identity. Process 0 alone reads and writes the
workdir. With `parallel`, the only file that knows processes.
"""

import collections
import json
import logging

import jax
import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.training.peer_monitor import PeerMonitor

_LONGEST_WAIT_S = (
  7 * 24 * 3600
)  # for process 0's work, such as ingesting a data set; a dead process 0 is noticed by its heartbeat
_asked = collections.Counter()
_watch = PeerMonitor()


def join(pod, *, heartbeat_s=100, join_timeout_s=300):
  """Joins `pod` (a `cluster.Pod`); a process by itself joins nothing. To be called before anything touches a device.

  Args:
    heartbeat_s: after so many seconds without a sign of life from a process the others end. join_timeout_s: how long to wait for the others.

  Raises: UserError when the others do not come.
  """
  if not pod.coordinator:
    return
  if (jax.config.jax_platforms or '').split(',')[0] == 'cpu':
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  logging.getLogger('jax._src.distributed').setLevel(logging.ERROR)
  try:
    jax.distributed.initialize(
      pod.coordinator,
      pod.num_processes,
      pod.process_id,
      local_device_ids=pod.local_devices,
      cluster_detection_method='deactivate',
      initialization_timeout=join_timeout_s,
      heartbeat_timeout_seconds=heartbeat_s,
      shutdown_timeout_seconds=900,
    )
  except (RuntimeError, ValueError) as error:
    reason = str(error).splitlines()[0]
    raise UserError(
      f'process {pod.process_id} of {pod.num_processes} found no pod at {pod.coordinator} ({pod.note}): {reason}'
    ) from None
  if pod.process_id == 0:
    _client().key_value_set('a3dcae_jax/watch', str(_watch.listen(range(1, pod.num_processes))))
  else:
    port = int(_client().blocking_key_value_get('a3dcae_jax/watch', join_timeout_s * 1000))
    _watch.connect(pod.coordinator.rpartition(':')[0].strip('[]'), port, pod.process_id)


def leave():
  """Leaves the pod after a run that ended well, or as it was asked to: the others are not to take it for a death."""
  _watch.leave()


def index():
  """Which process this is; 0 is the first."""
  return jax.process_index()


def count():
  """How many processes there are."""
  return jax.process_count()


def is_primary():
  """Whether this is the process that writes."""
  return jax.process_index() == 0


def log_once(line):
  """Prints a line once, whatever the number of processes."""
  if is_primary():
    print(line, flush=True)


def run_on_primary(what, body):
  """Runs `body()` on process 0 while the others wait; gives its value, which JSON must be able to hold, to all of them.

  Raises: on process 0 what `body` raises; on the others a UserError that says so.
  """
  if count() == 1:
    return body()
  client, key = _client(), _key(what)
  if is_primary():
    try:
      value = body()
    except BaseException as error:
      client.key_value_set(key, json.dumps({'error': f'{error}'}))
      raise
    client.key_value_set(key, json.dumps({'value': value}))
    return value
  answer = json.loads(client.blocking_key_value_get(key, _LONGEST_WAIT_S * 1000))
  if 'error' in answer:
    raise UserError(f'process 0 stopped ({what}): {answer["error"]}')
  return answer['value']


def barrier(what):
  """Waits until every process is here. A collective that is new gives up after 30 s on CPUs, and hosts compile and read at different speeds."""
  if count() > 1:
    _client().wait_at_barrier(_key(what), _LONGEST_WAIT_S * 1000)


def primary_first(what, body):
  """Runs `body()` on process 0, then on the others: what the first one makes on a shared disk, the others find there."""
  mine = [body()] if count() == 1 else []
  if count() > 1:
    run_on_primary(what, lambda: mine.append(body()))
  return mine[0] if mine else body()


def broadcast(tree):
  """Process 0's arrays for all, to the bit; the others hand in arrays of the same shapes and types."""
  if count() == 1:
    return tree
  from jax.experimental import multihost_utils

  barrier('from first')
  leaves, structure = jax.tree.flatten(tree)
  hosted = [np.asarray(leaf) for leaf in leaves]
  bits = multihost_utils.broadcast_one_to_all(
    [_bytes(leaf) for leaf in hosted]
  )  # sums of floats lose -0.0
  return structure.unflatten(
    [
      np.asarray(b).view(leaf.dtype).reshape(leaf.shape)
      for b, leaf in zip(bits, hosted, strict=True)
    ]
  )


def gather(array):
  """[processes, ...]: the array of every process, to the bit; all of one shape and type."""
  array = np.asarray(array)
  if count() == 1:
    return array[None]
  from jax.experimental import multihost_utils

  barrier('gather')
  bits = multihost_utils.process_allgather(_bytes(array))
  return np.asarray(bits).view(array.dtype).reshape(count(), *array.shape)


def my_share(total):
  """Which of `total` things are this process's: a slice; those of all processes, in order, cover every one exactly once."""
  return slice(total * index() // count(), total * (index() + 1) // count())


def gather_shares(rows, total):
  """Rows [total, ...] from each process's rows of `my_share(total)`. Shares may differ in length, and be empty."""
  if count() == 1:
    return rows
  longest = -(-total // count())
  padded = np.zeros((longest, *rows.shape[1:]), rows.dtype)
  padded[: len(rows)] = rows
  bounds = [total * i // count() for i in range(count() + 1)]
  return np.concatenate(
    [
      share[: end - start]
      for share, start, end in zip(gather(padded), bounds, bounds[1:], strict=False)
    ]
  )


def _bytes(array):
  return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _client():
  from jax._src import (
    distributed,
  )  # the coordinator's key-value cache has no public name yet; Orbax takes it from here too

  return distributed.global_state.client


def _key(what):
  """A key that every process reaches by the same sequence of calls."""
  _asked[what] += 1
  return f'a3dcae_jax/{what}/{_asked[what]}'
