"""Map a step over devices, and copy arrays to them.

Only this file knows devices. In a pod every process maps the same step over the devices of all
processes. It passes the state and shared arrays whole, and its own share of each batch.

Replicas are numbered process by process, so that process p of P has the rows from p B/P to
(p + 1) B/P of a batch of B. So a run does not depend on how its replicas are spread over hosts.
"""

import collections
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.training import processes

AXIS = 'replica'


def map_step(
  step: Callable[..., tuple[Any, Any]],
  *,
  num_shared: int,
  devices: Sequence[jax.Device] | None = None,
  donate_state: bool = True,
) -> Callable[..., tuple[Any, Any]]:
  """Map `step(state, batch, *shared)` over the devices and compile it.

  Args:
    step: the function of one replica; `batch` is a tree of arrays [local batch, ...]. The mapped
      axis is called `AXIS`.
    num_shared: number of further arguments that every replica reads whole, such as mean images or
      frames on the device.
    devices: by default those of all processes.
    donate_state: reuse the old state's memory for the new one.

  Returns:
    A function of the state, a batch with leading axis [devices of this process], and the shared
    arrays. The state has no device axis: it is replicated before and after, so a checkpoint does
    not depend on the number of devices that wrote it.
  """
  return jax.pmap(
    step,
    axis_name=AXIS,
    in_axes=(None, 0) + (None,) * num_shared,
    out_axes=(None, None),
    devices=devices or _replica_order(),
    donate_argnums=(0,) if donate_state else (),
  )


class LocalMap:
  """A program mapped over the devices of this process, `program(*shared, *batch)`.

  Nothing passes between the devices: each computes its own rows of the batch.

  Args:
    program: the function of one device. Its batch and its results are arrays [B, ...], and the
      number of devices must divide B.
    num_shared: number of first arguments that every device reads whole. Give them as `replicate`
      returns them, so that they are not copied by each call.
  """

  def __init__(self, program: Callable[..., Any], *, num_shared: int) -> None:
    self._num_shared = num_shared
    devices = _local_devices()
    mesh = _mesh(devices)
    whole, rows = PartitionSpec(), PartitionSpec(AXIS)
    self._whole, self._rows = NamedSharding(mesh, whole), NamedSharding(mesh, rows)

    def of_one_device(shared: tuple[Any, ...], batch: tuple[Any, ...]) -> Any:
      return program(*shared, *batch)

    if len(devices) > 1:
      of_one_device = jax.shard_map(
        of_one_device, mesh=mesh, in_specs=(whole, rows), out_specs=rows, check_vma=False
      )
    self._mapped = jax.jit(of_one_device)

  def __call__(self, *arguments: Any) -> Any:
    """Run the program."""
    shared, batch = self._split(arguments)
    return self._mapped(jax.device_put(shared, self._whole), jax.device_put(batch, self._rows))

  def compile(self, *arguments: Any) -> None:
    """Compile the program for arguments of these shapes, before they are there."""
    shared, batch = self._split(arguments)
    self._mapped.lower(_placed(shared, self._whole), _placed(batch, self._rows)).compile()

  def _split(self, arguments):
    return arguments[: self._num_shared], arguments[self._num_shared :]


def _placed(tree: Any, sharding: NamedSharding) -> Any:
  """Return the shapes of a tree with a sharding."""
  return jax.tree.map(
    lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding), tree
  )


def compile_together(
  mapped: Callable[..., Any], *arguments: Any, meanwhile: Callable[[], None] = lambda: None
) -> None:
  """Compile a mapped step; in a pod, before any process runs it.

  Args:
    mapped: the step.
    *arguments: its arguments.
    meanwhile: called before the compiler, to start what may be done beside it.
  """
  lowered = mapped.lower(*arguments)
  meanwhile()
  lowered.compile()  # JAX reuses the result in the call
  processes.barrier('compiled')


def replicate(tree: Any, devices: Sequence[jax.Device] | None = None) -> Any:
  """Copy `tree` to every device once, so that no step copies it again."""
  return jax.device_put(tree, NamedSharding(_mesh(devices), PartitionSpec()))


def shard(batch: Any, devices: Sequence[jax.Device] | None = None) -> Any:
  """Split the leading axis of a batch over the devices.

  Args:
    batch: a tree of host arrays [B, ...].
    devices: by default those of this process.

  Returns:
    The tree with arrays [devices, B / devices, ...], on the devices.
  """
  devices = devices or _local_devices()
  count = len(devices)
  sharding = NamedSharding(_mesh(devices), PartitionSpec(AXIS))

  def put(array: np.ndarray) -> jax.Array:
    rows, *rest = np.shape(array)
    split = np.reshape(array, (count, rows // count, *rest))
    return jax.device_put(split, sharding)

  return jax.tree.map(put, batch)


def num_replicas() -> int:
  """Return the number of devices of all processes."""
  return jax.device_count()


def num_local() -> int:
  """Return the number of devices of this process."""
  return len(_local_devices())


def my_rows(batch_size: int) -> slice:
  """Return the rows of this process in a global batch."""
  rows = batch_size // processes.count()
  first = rows * processes.index()
  return slice(first, first + rows)


def must_wait_each_step() -> bool:
  """Return whether to wait for each step.

  With several CPU devices, older versions of JAX deadlock when collectives queue up.
  """
  return jax.default_backend() == 'cpu' and jax.device_count() > 1


def _replica_order() -> list[jax.Device] | None:
  """Return the devices of all processes, process by process.

  None, the order of pmap, for a process by itself.

  Raises:
    UserError: if hosts have different numbers of devices; they could not share a batch evenly.
  """
  if processes.count() == 1:
    return None
  counts = collections.Counter(device.process_index for device in jax.devices())
  if len(set(counts.values())) > 1:
    numbers = [counts[index] for index in sorted(counts)]
    raise UserError(f'the processes of a pod have {numbers} devices; all must have the same number')
  return sorted(jax.devices(), key=lambda device: (device.process_index, device.id))


def _local_devices() -> list[jax.Device]:
  """Return the devices of this process, in the order of the replicas."""
  if processes.count() == 1:
    return jax.local_devices()
  return sorted(jax.local_devices(), key=lambda device: device.id)


def _mesh(devices: Sequence[jax.Device] | None) -> Mesh:
  return Mesh(np.asarray(devices or _local_devices()), (AXIS,))
