"""Masked frames: a network has to predict them from the frames around them.

A network can copy a frame that it sees; it cannot copy a masked one.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def masked_frames(offsets: jax.Array, window: int, *, every: int, run: int) -> jax.Array:
  """Return which frames of each clip are masked: runs of frames at a fixed period.

      masked[b, t] = (t + offsets[b]) mod every < run

  Args:
    offsets: int [B], from 0 to every - 1.
    window: frames per clip, T.
    every: period of the masks in frames.
    run: frames per mask, 0 < run < every.

  Returns:
    bool [B, T].
  """
  frames = jnp.arange(window) + offsets[:, None]
  return frames % every < run


def fill_masked(visible: jax.Array, predicted: jax.Array, masked: jax.Array) -> jax.Array:
  """Take masked frames from `predicted` and all others from `visible`.

  Args:
    visible: [B, T, H, W, C].
    predicted: [B, T, H, W, C].
    masked: bool [B, T] or [1, T].

  Returns:
    [B, T, H, W, C].
  """
  return jnp.where(masked[:, :, None, None, None], predicted, visible)


def predict_masked(
  reconstruct: Callable[[jax.Array], jax.Array], clips: jax.Array, *, every: int, run: int
) -> jax.Array:
  """Predict every frame from a clip in which it is masked.

  This takes ceil(every / run) passes, each with other frames masked. A frame that is masked in two
  passes is taken from the first.

  Args:
    reconstruct: the network, [B, T, H, W, C] -> [B, T, H, W, C].
    clips: zero-mean clips [B, T, H, W, C].
    every: as in `masked_frames`.
    run: as in `masked_frames`.

  Returns:
    [B, T, H, W, C].
  """
  frames = clips.shape[1]
  predicted = jnp.zeros_like(clips)
  # All clips have the same masks, so one row serves a batch of any size.
  done = jnp.zeros((1, frames), bool)
  for offset in range(0, every, run):
    offsets = jnp.full(1, offset)
    masked = masked_frames(offsets, frames, every=every, run=run)
    visible = fill_masked(clips, jnp.zeros_like(clips), masked)
    recon = reconstruct(visible)
    predicted = fill_masked(predicted, recon, masked & ~done)
    done = done | masked
  return predicted
