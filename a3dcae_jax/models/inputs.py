"""What the networks see of clips: frames, or their optical flow, less a mean image."""

import jax.numpy as jnp
import numpy as np

from a3dcae_jax.common.frame_rms import squared_gain
from a3dcae_jax.common.optical_flow import flow_images

KINDS = {'frames': lambda pixels: pixels, 'flow': flow_images}
UNIFORM_ROWS = (1.0, 1.0)  # rows whose speeds are not told apart


def network_input(clips, mean_image, *, kind='frames', target_rms=0.0, row_scale=UNIFORM_ROWS):
  """Images minus the training images' mean image [H, W]: clips [B, T, H, W], uint8 or float32 in [0, 1], -> float32 [B, T, H, W, 1].

  `kind` 'frames' are pixels in [0, 1]; 'flow' is the magnitude of the clips' optical flow (`common.optical_flow`; the paper's Table IX), and the
  mean image that of flow. `row_scale`, of flow, are the speeds that are usual at the top and at the bottom of the image, by the usual one: each
  row is divided by what lies between them on a line, since who is near moves more pixels.

  With target_rms c > 0 each frame S is also normalised by itself, to S sqrt(2 c^2 / (mean(S^2) + c^2)): a frame of root mean square c stays as it
  is (usual are 0.02 to 0.06), a crowded one is drawn in, and an empty one grows by sqrt(2) at most, so that its noise stays noise. The smaller c, the
  less crowds and empty scenes differ.
  """
  pixels = clips.astype(jnp.float32) / 255.0 if clips.dtype == jnp.uint8 else clips
  frames = scale_rows(KINDS[kind](pixels) - mean_image, row_scale)[..., None]
  if not target_rms:
    return frames
  energy = jnp.square(frames).mean((-3, -2, -1), keepdims=True)
  return frames * jnp.sqrt(squared_gain(energy, target_rms))


def scale_rows(images, row_scale=UNIFORM_ROWS):
  """Images [..., H, W], each row divided by the speed that is usual in it: on a line from the first of `row_scale` at the top row to the second."""
  if row_scale == UNIFORM_ROWS:
    return images
  return images / np.linspace(*row_scale, images.shape[-2], dtype=np.float32)[:, None]


def clip_means(mean_images, ids):
  """Each clip's own mean image, where there is one a scene: [S, H, W], int [B] -> [B, 1, H, W], which `network_input` takes as well."""
  return mean_images[ids][:, None]
