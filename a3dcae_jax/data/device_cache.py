"""Device-resident frames: the whole split lives on the device as uint8 and clips are gathered inside the jitted step."""

import jax
import jax.numpy as jnp

from a3dcae_jax.data.windows import clip_rows

_SHARE = 0.4  # of the device's memory that resident frames may take: the rest is for the network


def gather_clips(frames, first, stride, *, window):
  """Clips from frames on the device.

      clips[b, t] = frames[first[b] + floor(stride[b] * t)]

  Args: frames: uint8 [N, H, W]. first: int32 [B]. stride: float32 or int32 [B]. window: static T.
  Returns: uint8 [B, T, H, W].
  """
  return jnp.take(frames, clip_rows(first, stride, window, jnp), axis=0, mode='clip')


def fits_on_device(num_bytes):
  """Whether `num_bytes` of frames take less than 40 % of a device's memory (of the machine's, on CPUs)."""
  stats = jax.local_devices()[0].memory_stats() or {}
  limit = stats.get('bytes_limit') or _host_memory_bytes()
  return num_bytes <= _SHARE * limit


def _host_memory_bytes():
  import os

  return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
