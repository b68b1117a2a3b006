"""Reconstruction errors on the device (Eq. 13)."""

import jax.numpy as jnp
from jax import lax


def error_maps(clips, recon):
  """Squared error of each pixel: [B, T, H, W, 1] twice -> float32 [B, T, H, W]."""
  return jnp.square(recon.astype(jnp.float32) - clips.astype(jnp.float32)).squeeze(-1)


def frame_errors(maps):
  """Mean over the pixels of each frame (Eq. 13): [B, T, H, W] -> [B, T]."""
  return maps.mean((2, 3))


def motion_maps(maps, clips):
  """Error maps weighted by the squared frame difference: a pixel counts where it is both unexpected and moving.

      m[b, t] = maps[b, t] * (clips[b, t] - clips[b, t-1])^2,   the first frame takes the difference to the second

  Args: maps: [B, T, H, W]. clips: [B, T, H, W, 1]. Returns: float32 [B, T, H, W].
  """
  clips = clips.squeeze(-1).astype(jnp.float32)
  after, before = (
    lax.slice_in_dim(clips, 1, None, axis=1),
    lax.slice_in_dim(clips, 0, -1, axis=1),
  )  # not `diff`: see `ops.shapes.sliced`
  motion = jnp.square(after - before)
  return maps * jnp.concatenate([lax.slice_in_dim(motion, 0, 1, axis=1), motion], axis=1)


def block_errors(maps, block_px):
  """The largest mean over any `block_px` x `block_px` block at half-block steps: [B, T, H, W] -> [B, T].

  A small abnormal thing fills a block, where it disappears in the mean of a whole frame.
  """
  step = max(block_px // 2, 1)
  sums = jnp.cumsum(jnp.cumsum(jnp.pad(maps, ((0, 0), (0, 0), (1, 0), (1, 0))), 2), 3)
  rows, columns = (jnp.arange(0, size - block_px + 1, step) for size in maps.shape[2:])
  top, left = rows[:, None], columns[None, :]
  corner = lambda r, c: sums[:, :, r, c]  # noqa: E731
  blocks = (
    corner(top + block_px, left + block_px)
    - corner(top, left + block_px)
    - corner(top + block_px, left)
    + corner(top, left)
  )
  return blocks.max((2, 3)) / block_px**2


def smoothed_errors(maps, sigma_px):
  """The largest value of each error map after Gaussian smoothing: [B, T, H, W] -> [B, T].

  The kernel reaches 3 standard deviations; beyond the border the error counts as zero.
  """
  radius = max(int(3 * sigma_px + 0.5), 1)
  weights = jnp.exp(
    -0.5 * jnp.square(jnp.arange(-radius, radius + 1, dtype=jnp.float32) / sigma_px)
  )
  weights = (weights / weights.sum()).astype(maps.dtype)
  flat = maps.reshape(-1, 1, *maps.shape[2:])
  for kernel in (weights[:, None], weights[None, :]):
    flat = lax.conv_general_dilated(flat, kernel[None, None], (1, 1), 'SAME')
  return flat.max((1, 2, 3)).reshape(maps.shape[:2])
