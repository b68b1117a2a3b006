"""The processes of a pod: joining, leaving, and passing values between them.

One process runs on each host. A run by itself is a pod of one, for which all functions here return
their input. Process 0, the primary, alone reads and writes the workdir. Apart from `parallel`, only
this file knows processes.
"""

import collections
import json
import logging
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.training.cluster import Pod
from a3dcae_jax.training.peer_monitor import PeerMonitor

# Longest wait for work of process 0, such as the ingest of a data set. The heartbeat detects a dead
# process 0 earlier.
_LONGEST_WAIT_S = 7 * 24 * 3600
_LONGEST_WAIT_MS = 1000 * _LONGEST_WAIT_S
_SHUTDOWN_TIMEOUT_S = 900
_PORT_KEY = 'a3dcae_jax/watch'

_calls = collections.Counter()
_monitor = PeerMonitor()


def join(pod: Pod, *, heartbeat_s: int = 100, join_timeout_s: int = 300) -> None:
  """Join a pod, before anything uses a device. A process by itself joins nothing.

  Args:
    pod: the pod that was detected.
    heartbeat_s: seconds without a sign of life from a process after which the others end.
    join_timeout_s: seconds to wait for the other processes.

  Raises:
    UserError: if the other processes do not come.
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
      shutdown_timeout_seconds=_SHUTDOWN_TIMEOUT_S,
    )
  except (RuntimeError, ValueError) as error:
    reason = str(error).splitlines()[0]
    raise UserError(
      f'process {pod.process_id} of {pod.num_processes} found no pod at {pod.coordinator} '
      f'({pod.note}): {reason}'
    ) from None
  if pod.process_id == 0:
    port = _monitor.listen(pod.num_processes - 1)
    _client().key_value_set(_PORT_KEY, str(port))
  else:
    port = int(_client().blocking_key_value_get(_PORT_KEY, join_timeout_s * 1000))
    host = pod.coordinator.rpartition(':')[0].strip('[]')
    _monitor.connect(host, port, pod.process_id)


def leave() -> None:
  """Leave the pod at the end of a run, so that the others do not report a loss."""
  _monitor.leave()


def index() -> int:
  """Return the number of this process; 0 is the primary."""
  return jax.process_index()


def count() -> int:
  """Return the number of processes."""
  return jax.process_count()


def is_primary() -> bool:
  """Return whether this is process 0, which writes."""
  return jax.process_index() == 0


def log_once(line: str) -> None:
  """Print a line on process 0."""
  if is_primary():
    print(line, flush=True)


def run_on_primary(name: str, body: Callable[[], Any]) -> Any:
  """Run `body()` on process 0 while the others wait, and return its value on all.

  Args:
    name: name of the work, for the error message.
    body: its value must be JSON.

  Raises:
    UserError: on the other processes, when `body` raises on process 0.
  """
  if count() == 1:
    return body()
  key = _key(name)
  if is_primary():
    return _run_and_send(key, body)
  answer = json.loads(_client().blocking_key_value_get(key, _LONGEST_WAIT_MS))
  if 'error' in answer:
    raise UserError(f'process 0 stopped ({name}): {answer["error"]}')
  return answer['value']


def _run_and_send(key: str, body: Callable[[], Any]) -> Any:
  """Run `body()` and publish its value, or its error, under `key`."""
  try:
    value = body()
  except BaseException as error:
    _client().key_value_set(key, json.dumps({'error': f'{error}'}))
    raise
  _client().key_value_set(key, json.dumps({'value': value}))
  return value


def barrier(name: str) -> None:
  """Wait until every process is here.

  The first call of a collective gives up after 30 s on CPUs, and hosts compile and read at
  different speeds.
  """
  if count() > 1:
    _client().wait_at_barrier(_key(name), _LONGEST_WAIT_MS)


def primary_first(name: str, body: Callable[[], Any]) -> Any:
  """Run `body()` on process 0, then on the others.

  The others find what process 0 has made on a shared disk.

  Returns:
    The value of this process's own call.
  """
  if count() == 1:
    return body()
  values = []

  def run() -> None:
    values.append(body())

  run_on_primary(name, run)
  if not values:
    run()
  return values[0]


def broadcast(tree: Any) -> Any:
  """Return process 0's arrays on every process, to the bit.

  Args:
    tree: arrays. Those of the other processes must have the same shapes and dtypes.
  """
  if count() == 1:
    return tree
  from jax.experimental import multihost_utils

  barrier('from first')
  leaves, structure = jax.tree.flatten(tree)
  own = [np.asarray(leaf) for leaf in leaves]
  # Bytes, because the broadcast is a sum, and sums of floats lose -0.0.
  sent = multihost_utils.broadcast_one_to_all([_bytes(array) for array in own])
  received = []
  for array, data in zip(own, sent, strict=True):
    received.append(np.asarray(data).view(array.dtype).reshape(array.shape))
  return structure.unflatten(received)


def gather(array: np.ndarray) -> np.ndarray:
  """Return the arrays of all processes, to the bit.

  Args:
    array: an array, with the same shape and dtype on every process.

  Returns:
    [processes, ...].
  """
  array = np.asarray(array)
  if count() == 1:
    return array[None]
  from jax.experimental import multihost_utils

  barrier('gather')
  data = multihost_utils.process_allgather(_bytes(array))
  return np.asarray(data).view(array.dtype).reshape(count(), *array.shape)


def my_share(total: int) -> slice:
  """Return the share of this process in `total` items.

  The shares of all processes, in order, cover every item exactly once.
  """
  return _share(total, index())


def gather_shares(rows: np.ndarray, total: int) -> np.ndarray:
  """Join the rows of all processes.

  Args:
    rows: the rows `my_share(total)` of this process. Shares may differ in length, and be empty.
    total: number of rows of all processes.

  Returns:
    [total, ...].
  """
  if count() == 1:
    return rows
  longest = -(-total // count())
  shape = (longest, *rows.shape[1:])
  padded = np.zeros(shape, rows.dtype)
  padded[: len(rows)] = rows
  shares = []
  for process, gathered in enumerate(gather(padded)):
    share = _share(total, process)
    shares.append(gathered[: share.stop - share.start])
  return np.concatenate(shares)


def _share(total: int, process: int) -> slice:
  return slice(total * process // count(), total * (process + 1) // count())


def _bytes(array: np.ndarray) -> np.ndarray:
  return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _client() -> Any:
  """Return the client of the coordinator's key-value store.

  It has no public name; Orbax takes it from here too.
  """
  from jax._src import distributed

  return distributed.global_state.client


def _key(name: str) -> str:
  """Return a key that every process reaches by the same sequence of calls."""
  _calls[name] += 1
  return f'a3dcae_jax/{name}/{_calls[name]}'
