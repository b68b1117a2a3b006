"""Denoising auto-encoders of single numbers, trained by `training.step`."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.config import fields
from a3dcae_jax.paper.density import Mixture
from a3dcae_jax.training.state import TrainState, init_state, make_optimizer
from a3dcae_jax.training.step import make_train_step

_UNITS = 32


class Denoiser(nn.Module):
  """R(x) = x + MLP(x) for numbers in the shape of clips, [B, 1, 1, 1, 1]."""

  @nn.compact
  def __call__(self, clips: jax.Array, train: bool = False) -> jax.Array:
    """Reconstruct numbers, in their shape; `train` has no effect."""
    del train
    # The update hands on batch statistics, and here there are none.
    self.variable('batch_stats', 'none', jnp.zeros, ())
    return clips + _Perceptron(name='displacement')(clips)


class Critic(nn.Module):
  """The discriminator of numbers: [B, 1, 1, 1, 1] to logits [B]."""

  @nn.compact
  def __call__(self, clips: jax.Array) -> jax.Array:
    """Return the logits log D / (1 - D)."""
    return _Perceptron(name='logit')(clips)[:, 0, 0, 0, 0]


class _Perceptron(nn.Module):
  """Two hidden layers with tanh, and a last layer that starts at zero."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    for _ in range(2):
      x = jnp.tanh(nn.Dense(_UNITS, bias_init=nn.initializers.normal(1.0))(x))
    return nn.Dense(1, kernel_init=nn.initializers.zeros)(x)


class Training(NamedTuple):
  """How denoisers are trained.

  Attributes:
    noise_std: sigma.
    adversarial_weight: lambda of Eq. 9; 0 for no discriminator.
    steps: updates.
    batch: samples per update.
    learning_rate: of the first update; it falls along half a cosine.
  """

  noise_std: float
  adversarial_weight: float = 0.0
  steps: int = 2000
  batch: int = 512
  learning_rate: float = 2e-3


@functools.cache
def trained(mixture: Mixture, training: Training, seeds: int) -> TrainState:
  """Train a denoiser for each seed, all at once, or return the earlier result.

  Each update has fresh samples, so no sample is seen twice.

  Args:
    mixture: p.
    training: the settings.
    seeds: number of denoisers.

  Returns:
    Their states after the last update; all arrays have a leading axis [seeds].
  """
  settings = fields.Optimizer(learning_rate=training.learning_rate, schedule='cosine')
  optimizer = make_optimizer(settings, training.steps)
  loss = fields.Loss(noise_std=training.noise_std, adversarial_weight=training.adversarial_weight)

  def train(seed: jax.Array, batches: jax.Array) -> TrainState:
    state = init_state(Denoiser(), Critic(), optimizer, clip_shape=(1, 1, 1), seed=seed)
    update = make_train_step(
      Denoiser(), Critic(), optimizer, loss, seed=seed, prepare=lambda clips, _: clips
    )

    def one(state: TrainState, clips: jax.Array) -> tuple[TrainState, None]:
      return update(state, clips, None)[0], None

    return jax.lax.scan(one, state, batches)[0]

  count = training.steps * training.batch
  samples = np.stack([mixture.sample(count, seed) for seed in range(seeds)])
  batches = samples.reshape(seeds, training.steps, training.batch)
  return jax.jit(jax.vmap(train))(jnp.arange(seeds), _as_clips(batches))


def outputs(state: TrainState, x: np.ndarray) -> np.ndarray:
  """Return R(x) of each denoiser, float64 [seeds, N]; x is [N]."""

  def apply(params: dict, stats: dict) -> jax.Array:
    return Denoiser().apply({'params': params, 'batch_stats': stats}, _as_clips(x))

  found = jax.jit(jax.vmap(apply))(state.generator, state.batch_stats)
  return np.asarray(found, np.float64)[..., 0, 0, 0, 0]


def _as_clips(values: np.ndarray) -> jax.Array:
  """Return values as clips of one pixel, float32 [..., 1, 1, 1, 1]."""
  return jnp.asarray(values[..., None, None, None, None], jnp.float32)
