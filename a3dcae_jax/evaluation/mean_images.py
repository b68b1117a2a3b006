"""The mean image that a run's networks get their images less of: of frames, or of their optical flow."""

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.common.optical_flow import flow_images
from a3dcae_jax.data.frame_cache import mean_of_videos
from a3dcae_jax.evaluation.flow_blocks import flow_blocks
from a3dcae_jax.run.networks import sees_flow
from a3dcae_jax.training import processes


def network_mean(config, cache):
  """float32 [H, W], or one a scene or video: `FrameCache.mean_image` of what the run's networks see. Found once for an opened cache."""
  return cache.mean_image(mean_of(config))


def share_means(config, cache):
  """Finds the mean images by one process, which alone reads all frames for them, and gives them to every one."""
  for of in dict.fromkeys(
    (mean_of_videos, mean_of(config))
  ):  # the baselines are of frames in any case
    cache.keep_mean_image(
      processes.broadcast(
        cache.mean_image(of) if processes.is_primary() else np.zeros(cache.mean_shape, np.float32)
      ),
      of,
    )


def mean_of(config):
  """(frames, videos) -> mean image [H, W] of what the networks see: `mean_of_videos` or `mean_flow`."""
  return mean_flow if sees_flow(config) else mean_of_videos


def mean_flow(frames, videos):
  """Mean of the flow images of `videos`, float32 [H, W]: of their `flow_blocks`."""
  total, count = np.zeros(frames.shape[1:], np.float64), 0
  for block in flow_blocks(frames, videos):
    total += np.asarray(_flow_sum(block), np.float64)
    count += len(block)
  return (total / count).astype(np.float32)


@jax.jit
def _flow_sum(frames):
  return flow_images(frames[None].astype(jnp.float32) / 255).sum((0, 1))
