"""The baselines of a run: those of every run, and that of optical flow where its networks see flow."""

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.evaluation.scorer import shared_window_errors
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.run.networks import frame_options, sees_flow
from a3dcae_jax.scoring.assemble import frame_vector
from a3dcae_jax.scoring.baselines import baseline_errors
from a3dcae_jax.scoring.errors import error_maps, frame_errors

FLOW = 'mean_flow_distance'  # mean over pixels of (flow - mean flow)^2: the error of a network that gives back the mean flow, whatever comes


def flow_baseline(config, detector, cache, windows):
  """{FLOW: float64 [N]} of the test frames where the run's networks see flow, else {}; by the windows of the run itself. In a pod all processes call it."""
  if not sees_flow(config):
    return {}

  @jax.jit
  def energies(weights, mean_image, clips):
    images = network_input(clips, mean_image, **frame_options(config))
    maps = error_maps(images, jnp.zeros_like(images))
    return frame_errors(maps), maps

  errors = shared_window_errors(
    detector._replace(program=energies),
    cache.test.frames,
    windows,
    batch_size=config.eval.batch_size,
    scenes=cache.scene_of(cache.test, windows.first),
    progress='flow baseline',
  )
  return {FLOW: frame_vector(errors, windows.rows, windows.keep, len(cache.test.frames))}


def video_means(cache):
  """Mean images of the test videos: [H, W] for all, or one a video, [V, H, W]."""
  scenes = cache.scene_of(cache.test, np.asarray([video.first for video in cache.test.videos]))
  return cache.mean_image() if scenes is None else cache.mean_image()[scenes]


def frame_baselines(config, cache):
  """Floor -> float64 [N] of the test frames: `scoring.baselines`, which are of frames whatever the networks see."""
  target_rms = 0.0 if sees_flow(config) else frame_options(config).get('target_rms', 0.0)
  return baseline_errors(
    cache.test.frames, cache.test.videos, video_means(cache), target_rms=target_rms
  )
