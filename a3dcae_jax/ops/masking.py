"""Hidden frames: what a network cannot see it cannot copy, and has to predict from the frames around it."""

import jax.numpy as jnp


def masked_frames(offsets, window, *, every, run):
  """Which frames of each clip are hidden: runs of `run` frames, one every `every` frames.

      hidden[b, t] = (t + offsets[b]) mod every < run

  Args: offsets: int [B], 0 .. every - 1. window: T. every, run: static, 0 < run < every.
  Returns: bool [B, T].
  """
  return (jnp.arange(window) + offsets[:, None]) % every < run


def fill_masked(visible, predicted, hidden):
  """`predicted` where frames are hidden, `visible` elsewhere: [B, T, H, W, C] twice and bool [B, T] or [1, T] -> [B, T, H, W, C]."""
  return jnp.where(hidden[:, :, None, None, None], predicted, visible)


def predict_masked(reconstruct, clips, *, every, run):
  """Every frame as predicted from clips in which it was hidden, in ceil(every / run) passes.

  Args:
    reconstruct: [B, T, H, W, C] -> [B, T, H, W, C]. clips: zero-mean. every, run: as in `masked_frames`.

  Returns:
    [B, T, H, W, C]. A frame hidden in two passes is taken from the first.
  """
  predicted, done = (
    jnp.zeros_like(clips),
    jnp.zeros((1, clips.shape[1]), bool),
  )  # one row serves all clips, however many there are
  for offset in range(0, every, run):
    hidden = masked_frames(jnp.full(1, offset), clips.shape[1], every=every, run=run)
    recon = reconstruct(fill_masked(clips, jnp.zeros_like(clips), hidden))
    predicted = fill_masked(predicted, recon, hidden & ~done)
    done = done | hidden
  return predicted
