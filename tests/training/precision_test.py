"""bfloat16, the default on accelerators, ranks frames as float32 does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from a3dcae_jax.data.synthetic import SceneSpec, synthetic_videos
from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.scoring.errors import error_maps, frame_errors
from a3dcae_jax.training.state import init_state, make_optimizer
from a3dcae_jax.training.step import Objective, make_train_step

WIDTHS = (8, 8, 8)


@pytest.fixture(scope='module')
def footage():
  """(training clips, test clips) uint8 [B, 16, 32, 32], mean image [32, 32]."""
  spec = SceneSpec(height=32, width=32, escalator_rows=6)
  train, test = (
    np.stack(
      [
        frame
        for video in synthetic_videos(split, num_videos=2, frames_per_video=64, spec=spec)
        for frame in video.frames()
      ]
    )
    for split in ('train', 'test')
  )
  return *(frames.reshape(-1, 16, 32, 32) for frames in (train, test)), train.mean(0).astype(
    np.float32
  ) / 255


def scores(dtype, state, clips, mean_image):
  network = AutoEncoder(WIDTHS, dtype=dtype)
  variables = {'params': state.generator, 'batch_stats': state.batch_stats}
  real = network_input(clips, mean_image)
  return np.asarray(frame_errors(error_maps(real, jax.jit(network.apply)(variables, real)))).ravel()


def trained(clips, mean_image, steps):
  networks, optimizer = (
    (AutoEncoder(WIDTHS), Discriminator((2, 2, 3), 3)),
    make_optimizer(learning_rate=2e-3),
  )
  state = init_state(*networks, optimizer, clip_shape=clips.shape[1:], seed=0)
  step = jax.jit(make_train_step(*networks, optimizer, Objective(adversarial_weight=0.0), seed=0))
  for _ in range(steps):
    state, metrics = step(state, clips, mean_image)
  return state, float(metrics['rec'])


@pytest.fixture(scope='module')
def state(footage):
  """Of a network that has learnt something: before training, errors are those of the footage's target_rms, which any network ranks alike."""
  clips, _, mean_image = footage
  with jax.numpy_dtype_promotion('standard'):
    state, last = trained(clips, mean_image, 40)
  assert (
    last < 0.5 * np.square(network_input(clips, mean_image)).mean()
  )  # far below what an output of nothing has
  return state


@pytest.mark.slow
@pytest.mark.parametrize('seen', ['test', 'noisy'])
def test_bfloat16_ranks_frames_as_float32_does(footage, state, rng, seen):
  """Of what is abnormal, and of normal frames with a camera's noise, which are nearly alike and flat nearly everywhere: there maxima stand closest together."""
  train, test, mean_image = footage
  clips = (
    test
    if seen == 'test'
    else np.clip(train + rng.standard_normal(train.shape), 0, 255).astype(np.uint8)
  )
  with jax.numpy_dtype_promotion('standard'):
    exact, rounded = (
      scores(dtype, state, clips, mean_image) for dtype in (jnp.float32, jnp.bfloat16)
    )
  assert len(exact) == 128 and stats.spearmanr(exact, rounded).statistic > 0.999
