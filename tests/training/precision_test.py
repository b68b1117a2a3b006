"""bfloat16, the default on accelerators, ranks frames as float32 does."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from a3dcae_jax.data.synthetic import SceneSpec, synthetic_videos
from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.scoring.errors import error_maps, frame_errors
from a3dcae_jax.training.step import zero_mean


def test_bfloat16_ranks_frames_as_float32_does():
  video, = synthetic_videos('test', num_videos=1, frames_per_video=64, spec=SceneSpec(height=32, width=32, escalator_rows=6))
  clips = np.stack(list(video.frames())).reshape(4, 16, 32, 32)
  real = zero_mean(clips, clips.mean((0, 1)).astype(np.float32) / 255)
  variables = AutoEncoder((8, 8, 8)).init(jax.random.key(0), real)
  with jax.numpy_dtype_promotion('standard'):
    errors = [frame_errors(error_maps(real, AutoEncoder((8, 8, 8), dtype=dtype).apply(variables, real))) for dtype in (jnp.float32, jnp.bfloat16)]
  assert stats.spearmanr(*(np.asarray(e).ravel() for e in errors)).statistic > 0.999
