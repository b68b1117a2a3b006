"""Frames kept on the device, from which the compiled step gathers its clips."""

import os

import jax
import jax.numpy as jnp

from a3dcae_jax.data.windows import clip_rows

_MEMORY_SHARE = 0.4  # of the device's memory, for frames; the rest is for the networks


def gather_clips(
  frames: jax.Array, first: jax.Array, stride: jax.Array, *, window: int
) -> jax.Array:
  """Gather clips from frames on the device.

      clips[b, t] = frames[first[b] + floor(stride[b] * t)]

  Args:
    frames: uint8 [N, H, W].
    first: int32 [B].
    stride: float32 or int32 [B].
    window: frames per clip, T, static.

  Returns:
    uint8 [B, T, H, W].
  """
  rows = clip_rows(first, stride, window, jnp)
  return jnp.take(frames, rows, axis=0, mode='clip')


def fits_on_device(num_bytes: int) -> bool:
  """Return whether frames of this size take at most 40 % of a device's memory.

  On CPUs the memory is that of the machine.
  """
  stats = jax.local_devices()[0].memory_stats() or {}
  limit = stats.get('bytes_limit') or _host_memory_bytes()
  return num_bytes <= _MEMORY_SHARE * limit


def _host_memory_bytes() -> int:
  return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
