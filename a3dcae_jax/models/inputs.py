"""Input of the networks: frames or optical flow minus a mean image, or objects."""

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.common.frame_rms import squared_gain
from a3dcae_jax.common.optical_flow import flow_images

# The `row_scale` that changes no row.
UNIFORM_ROWS = (1.0, 1.0)


def network_input(
  clips: jax.Array,
  mean_image: jax.Array,
  *,
  kind: str = 'frames',
  target_rms: float = 0.0,
  row_scale: tuple[float, float] = UNIFORM_ROWS,
) -> jax.Array:
  """Compute zero-mean images from clips.

  With target_rms c > 0 each frame S is also normalised by itself, to

      S sqrt(2 c^2 / (mean(S^2) + c^2))

  A frame of root mean square c keeps its size (frames have 0.02 to 0.06), a crowded frame is
  reduced, and an empty one grows by sqrt(2) at most, so that its noise stays small. A smaller c
  makes crowded and empty frames more similar.

  Args:
    clips: [B, T, H, W], uint8, or float32 in [0, 1].
    mean_image: mean of the training images, frames or flow: [H, W], or [B, 1, H, W] from
      `clip_means`.
    kind: 'frames' for pixels in [0, 1]; 'flow' for the magnitude of optical flow
      (`common.optical_flow`; Table IX of the paper).
    target_rms: root mean square c that frames are normalised towards; 0 for no normalisation.
    row_scale: scale of the rows of flow images, see `scale_rows`.

  Returns:
    float32 [B, T, H, W, 1].

  Raises:
    ValueError: if `kind` is unknown.
  """
  images = clips
  if clips.dtype == jnp.uint8:
    images = clips.astype(jnp.float32) / 255.0
  if kind == 'flow':
    images = flow_images(images)
  elif kind != 'frames':
    raise ValueError(f"kind must be 'frames' or 'flow', got {kind!r}")

  centred = scale_rows(images - mean_image, row_scale)
  frames = centred[..., None]
  if not target_rms:
    return frames
  energy = jnp.square(frames).mean((-3, -2, -1), keepdims=True)
  gain = jnp.sqrt(squared_gain(energy, target_rms))
  return frames * gain


def object_input(crops: jax.Array, *, kind: str = 'frames') -> jax.Array:
  """Compute the input of the networks from crops of objects.

      frames:      S - mean of S over the crop
      differences: (S[t + 1] - S[t - 1]) / 2, and one-sided at both ends

  Args:
    crops: float32 [B, T, H, W] in [0, 1].
    kind: 'frames', or 'frames_and_differences' for both, as two channels.

  Returns:
    float32 [B, T, H, W, C].
  """
  frames = crops - crops.mean((1, 2, 3), keepdims=True)
  if kind == 'frames':
    return frames[..., None]
  return jnp.stack([frames, jnp.gradient(crops, axis=1)], axis=-1)


def num_streams(kind: str) -> int:
  """Return the number of channels of the input of `kind`."""
  return 2 if kind == 'frames_and_differences' else 1


def scale_rows(
  images: jax.Array | np.ndarray, row_scale: tuple[float, float] = UNIFORM_ROWS
) -> jax.Array | np.ndarray:
  """Divide each row of flow images by the reference speed of that row.

  People near the camera move more pixels per frame than those far away.

  Args:
    images: [..., H, W].
    row_scale: reference speed of the top and of the bottom row, relative to that of the image;
      linear in between.

  Returns:
    [..., H, W].
  """
  if row_scale == UNIFORM_ROWS:
    return images
  speeds = np.linspace(*row_scale, images.shape[-2], dtype=np.float32)
  return images / speeds[:, None]


def clip_means(mean_images: jax.Array, ids: jax.Array) -> jax.Array:
  """Return the mean image of each clip, as `network_input` takes it.

  Args:
    mean_images: [S, H, W].
    ids: int [B], index of the mean image of each clip.

  Returns:
    [B, 1, H, W].
  """
  chosen = mean_images[ids]
  return chosen[:, None]
