"""Crops of clips around boxes, resized to one size.

The crops are those of RoIAlign with 2x2 samples per pixel: the box is cut into S x S bins, and a
pixel of the crop is the mean of four bilinear samples at regular positions in its bin. A sample
beyond the outermost pixel centres of the frame has the value of the nearest one.

Source: He et al., Mask R-CNN, ICCV 2017, section 3.
"""

import jax
import jax.numpy as jnp

from a3dcae_jax.ops.conv_algorithm import target_platform

SAMPLES = 2  # per bin and direction


def crop_clips(frames: jax.Array, rows: jax.Array, boxes: jax.Array, *, size: int) -> jax.Array:
  """Cut boxes out of clips and resize them.

      crops[b, t, i, j] = mean over samples (x, y) of bin (i, j) of frames[rows[b, t]](x, y)

  A bin has `SAMPLES` times `SAMPLES` samples. The box stays in one position over the clip. The
  resizing is separable: rows first, then a matrix product over columns. Rows are gathered, but on
  TPUs they are a matrix product, too: gathers of single rows take most of the time there.

  Args:
    frames: uint8 [N, H, W].
    rows: int32 [B, T], indices of the frames of each clip.
    boxes: float32 [B, 4], x1, y1, x2, y2 in pixels, where pixel k covers k to k + 1.
    size: height and width of the crops, S.

  Returns:
    float32 [B, T, S, S] in [0, 1].
  """
  _, height, width = frames.shape
  x1, y1, x2, y2 = jnp.split(boxes, 4, axis=1)
  y = _sample_positions(y1, y2, size, height)
  x = _sample_positions(x1, x2, size, width)
  resize_rows = _multiplied_rows if target_platform() == 'tpu' else _gathered_rows
  resized = resize_rows(frames, rows, y, size)
  crops = jnp.einsum('btiw,bjw->btij', resized, _mean_matrix(x, size, width), precision='highest')
  return crops / 255


def _gathered_rows(frames: jax.Array, rows: jax.Array, y: jax.Array, size: int) -> jax.Array:
  """Resize the rows of clips, [B, T, S, W], from gathered rows of images."""
  count, height, width = frames.shape
  top = jnp.floor(y)
  share_below = (y - top)[:, None, :, None]
  top = top.astype(jnp.int32)[:, None]
  bottom = jnp.minimum(top + 1, height - 1)
  image_rows = frames.reshape(count * height, width)
  first_rows = rows[:, :, None] * height

  def gather(row: jax.Array) -> jax.Array:
    return jnp.take(image_rows, first_rows + row, axis=0, mode='clip').astype(jnp.float32)

  sampled = gather(top) * (1 - share_below) + gather(bottom) * share_below
  batch, window = rows.shape
  return sampled.reshape(batch, window, size, SAMPLES, width).mean(3)


def _multiplied_rows(frames: jax.Array, rows: jax.Array, y: jax.Array, size: int) -> jax.Array:
  """Resize the rows of clips, [B, T, S, W], by a matrix product."""
  clips = jnp.take(frames, rows, axis=0, mode='clip').astype(jnp.float32)
  in_rows = _mean_matrix(y, size, frames.shape[1])
  return jnp.einsum('bih,bthw->btiw', in_rows, clips, precision='highest')


def _sample_positions(low: jax.Array, high: jax.Array, size: int, length: int) -> jax.Array:
  """Return the sample positions in units of pixel centres, [B, size * SAMPLES]."""
  steps = (jnp.arange(size * SAMPLES, dtype=jnp.float32) + 0.5) / (size * SAMPLES)
  positions = low + steps * (high - low) - 0.5
  return jnp.clip(positions, 0, length - 1)


def _bilinear_matrix(positions: jax.Array, length: int) -> jax.Array:
  """Return the weights of all pixels in each sample, [B, K, length]."""
  pixels = jnp.arange(length, dtype=jnp.float32)
  distances = jnp.abs(positions[..., None] - pixels)
  return jnp.maximum(1 - distances, 0)


def _mean_matrix(positions: jax.Array, size: int, length: int) -> jax.Array:
  """Return the weights of all pixels in each mean of samples, [B, size, length]."""
  weights = _bilinear_matrix(positions, length)
  return weights.reshape(positions.shape[0], size, SAMPLES, length).mean(2)
