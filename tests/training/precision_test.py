"""bfloat16, the default on accelerators, ranks frames as float32 does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from a3dcae_jax.config import fields
from a3dcae_jax.data.synthetic import SceneSpec, synthetic_videos
from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.scoring.errors import error_maps, frame_errors
from a3dcae_jax.training.state import init_state, make_optimizer
from a3dcae_jax.training.step import make_train_step

WIDTHS = (8, 8, 8)
STEPS = 40


def frames_of(split):
  """Return the frames of two synthetic videos, uint8 [N, 32, 32]."""
  spec = SceneSpec(height=32, width=32, escalator_rows=6)
  frames = []
  for video in synthetic_videos(split, num_videos=2, frames_per_video=64, spec=spec):
    frames += list(video.frames())
  return np.stack(frames)


@pytest.fixture(scope='module')
def videos():
  """Training and test clips, uint8 [B, 16, 32, 32], and the mean image [32, 32]."""
  train = frames_of('train')
  test = frames_of('test')
  mean_image = train.mean(0).astype(np.float32) / 255
  return train.reshape(-1, 16, 32, 32), test.reshape(-1, 16, 32, 32), mean_image


def scores(dtype, state, clips, mean_image):
  network = AutoEncoder(WIDTHS, dtype=dtype)
  variables = {'params': state.generator, 'batch_stats': state.batch_stats}
  real = network_input(clips, mean_image)
  recon = jax.jit(network.apply)(variables, real)
  return np.asarray(frame_errors(error_maps(real, recon))).ravel()


def trained(clips, mean_image):
  networks = (AutoEncoder(WIDTHS), Discriminator((2, 2, 3), 3))
  optimizer = make_optimizer(fields.Optimizer(learning_rate=2e-3), STEPS)
  state = init_state(*networks, optimizer, clip_shape=clips.shape[1:], seed=0)
  loss = fields.Loss(adversarial_weight=0.0)
  step = jax.jit(make_train_step(*networks, optimizer, loss, seed=0))
  for _ in range(STEPS):
    state, metrics = step(state, clips, mean_image)
  return state, float(metrics['rec'])


@pytest.fixture(scope='module')
def state(videos):
  """The state of a network after some training.

  Before training, errors measure the contrast of the videos, which any network ranks equally.
  """
  clips, _, mean_image = videos
  with jax.numpy_dtype_promotion('standard'):
    state, last = trained(clips, mean_image)
  energy = np.square(network_input(clips, mean_image)).mean()
  assert last < 0.5 * energy  # the error of a reconstruction that is zero everywhere
  return state


@pytest.mark.slow
@pytest.mark.parametrize('seen', ['test', 'noisy'])
def test_bfloat16_ranks_frames_as_float32_does(videos, state, rng, seen):
  """Abnormal frames, and normal ones with the noise of a camera.

  Normal frames are the hard case: they are nearly equal and nearly flat, so maxima are close
  together.
  """
  train, clips, mean_image = videos
  if seen == 'noisy':
    clips = np.clip(train + rng.standard_normal(train.shape), 0, 255).astype(np.uint8)
  with jax.numpy_dtype_promotion('standard'):
    exact = scores(jnp.float32, state, clips, mean_image)
    rounded = scores(jnp.bfloat16, state, clips, mean_image)
  assert len(exact) == 128
  assert stats.spearmanr(exact, rounded).statistic > 0.999
