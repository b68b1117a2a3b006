"""The only file that knows devices: how a step is mapped over them and how arrays get there."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = 'replica'


def check_batch_size(batch_size, num_devices):
  """Raises `ValueError` unless the global batch divides over the devices."""
  if batch_size % num_devices:
    raise ValueError(f'the batch size (={batch_size}) must be divisible by the number of devices (={num_devices})')


def map_step(step, *, num_shared, devices=None, donate_state=True):
  """Compiles `step(state, batch, *shared)` and maps it over the devices with axis name `AXIS`.

  Args:
    step: per-replica function; `batch` is a tree of arrays [local batch, ...].
    num_shared: how many further arguments every replica reads whole (the mean image, resident frames).
    devices: default all. donate_state: reuse the old state's memory for the new one.

  Returns:
    A function of (state, batch with leading axis [devices], *shared). The state carries no device axis: it comes and goes
    replicated, so a checkpoint does not know how many devices wrote it.
  """
  return jax.pmap(
      step, axis_name=AXIS, in_axes=(None, 0) + (None,) * num_shared, out_axes=(None, None), devices=devices,
      donate_argnums=(0,) if donate_state else ())


def replicate(tree, devices=None):
  """Lays `tree` out on every device, once, so that no step copies it again."""
  return jax.device_put(tree, NamedSharding(_mesh(devices), PartitionSpec()))


def shard(batch, devices=None):
  """Splits the leading axis of a tree of host arrays over the devices: [B, ...] -> [devices, B / devices, ...], on the devices."""
  devices = devices or jax.local_devices()
  sharding = NamedSharding(_mesh(devices), PartitionSpec(AXIS))
  count = len(devices)
  return jax.tree.map(lambda x: jax.device_put(np.reshape(x, (count, len(x) // count, *np.shape(x)[1:])), sharding), batch)


def must_wait_each_step(devices=None):
  """Whether each step is waited for: several CPU devices deadlock in older JAX when collectives pile up unwaited."""
  devices = devices or jax.local_devices()
  return devices[0].platform == 'cpu' and len(devices) > 1


def _mesh(devices):
  return Mesh(np.asarray(devices or jax.local_devices()), (AXIS,))
