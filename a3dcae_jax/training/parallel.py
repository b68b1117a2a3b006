"""The only file that knows devices: how a step is mapped over them and how arrays get there.

In a pod every process maps the same step over the devices of all and hands in what its own devices need: the state and whatever is shared
whole, of each batch its share. Replicas count through the processes in order, so that process p of P has rows p B/P .. (p + 1) B/P of a batch
of B, and a run does not depend on how its replicas are spread over hosts.
"""

import collections

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.training import processes

AXIS = 'replica'


def check_batch_size(batch_size, num_devices):
  """Raises `ValueError` unless the global batch divides over the devices."""
  if batch_size % num_devices:
    raise ValueError(
      f'the batch size (={batch_size}) must be divisible by the number of devices (={num_devices})'
    )


def map_step(step, *, num_shared, devices=None, donate_state=True):
  """Compiles `step(state, batch, *shared)` and maps it over the devices with axis name `AXIS`.

  Args:
    step: per-replica function; `batch` is a tree of arrays [local batch, ...].
    num_shared: how many further arguments every replica reads whole (the mean image, resident frames).
    devices: default all, of all processes. donate_state: reuse the old state's memory for the new one.

  Returns:
    A function of (state, batch with leading axis [this process's devices], *shared). The state carries no device axis: it comes and goes
    replicated, so a checkpoint does not know how many devices wrote it.
  """
  return jax.pmap(
    step,
    axis_name=AXIS,
    in_axes=(None, 0) + (None,) * num_shared,
    out_axes=(None, None),
    devices=devices or _replica_order(),
    donate_argnums=(0,) if donate_state else (),
  )


def compile_together(mapped, *arguments):
  """Compiles a mapped step for these arguments on every process of a pod before any runs it; a process by itself compiles when it runs."""
  if jax.process_count() > 1:
    mapped.lower(*arguments).compile()  # JAX keeps it for the call
    processes.barrier('compiled')


def replicate(tree, devices=None):
  """Lays `tree` out on every device, once, so that no step copies it again."""
  return jax.device_put(tree, NamedSharding(_mesh(devices), PartitionSpec()))


def shard(batch, devices=None):
  """Splits the leading axis of a tree of host arrays over the devices: [B, ...] -> [devices, B / devices, ...], on the devices."""
  devices = devices or _local_devices()
  sharding = NamedSharding(_mesh(devices), PartitionSpec(AXIS))
  count = len(devices)
  return jax.tree.map(
    lambda x: jax.device_put(np.reshape(x, (count, len(x) // count, *np.shape(x)[1:])), sharding),
    batch,
  )


def num_replicas():
  """Devices of all processes."""
  return jax.device_count()


def my_rows(batch_size):
  """The rows of a batch over all devices that are this process's: a slice."""
  each = batch_size // jax.process_count()
  return slice(each * jax.process_index(), each * (jax.process_index() + 1))


def must_wait_each_step(devices=None):
  """Whether each step is waited for: several CPU devices deadlock in older JAX when collectives pile up unwaited."""
  devices = devices or jax.devices()
  return devices[0].platform == 'cpu' and len(devices) > 1


def _replica_order():
  """The devices of all processes, process by process; None, pmap's own order, for a process by itself.

  Raises: UserError where hosts have different numbers of devices: they could not share a batch evenly.
  """
  if jax.process_count() == 1:
    return None
  counts = collections.Counter(device.process_index for device in jax.devices())
  if len(set(counts.values())) > 1:
    raise UserError(
      f'the processes of a pod need as many devices each, got {[counts[i] for i in sorted(counts)]}'
    )
  return sorted(jax.devices(), key=lambda device: (device.process_index, device.id))


def _local_devices():
  return (
    jax.local_devices()
    if jax.process_count() == 1
    else sorted(jax.local_devices(), key=lambda device: device.id)
  )


def _mesh(devices):
  return Mesh(np.asarray(devices or _local_devices()), (AXIS,))
