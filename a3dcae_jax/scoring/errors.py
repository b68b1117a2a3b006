"""Reconstruction errors on the device (Eq. 13)."""

import jax
import jax.numpy as jnp


def error_maps(clips: jax.Array, recon: jax.Array) -> jax.Array:
  """Return the squared error of each pixel.

  Args:
    clips: [B, T, H, W, 1].
    recon: their reconstruction, of the same shape.

  Returns:
    float32 [B, T, H, W].
  """
  difference = recon.astype(jnp.float32) - clips.astype(jnp.float32)
  return jnp.square(difference).squeeze(-1)


def frame_errors(maps: jax.Array) -> jax.Array:
  """Return the mean over the pixels of each frame (Eq. 13): [B, T, H, W] -> [B, T]."""
  return maps.mean((2, 3))
