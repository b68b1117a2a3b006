"""The state that training carries from step to step, and the optimizer."""

from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from a3dcae_jax.config import fields

# Learning rate at the end of a cosine schedule, as a share of the first one. By then the network
# learns little more than the noise between batches.
LAST_RATE = 0.02

# PyTorch's defaults, which the paper used. optax's differ in the decay (0.9) and add EPS inside
# the square root.
DECAY = 0.99
EPS = 1e-8


class TrainState(flax.struct.PyTreeNode):
  """Everything that an update changes.

  Attributes:
    step: number of finished updates, an int32 scalar.
    generator: parameters of the auto-encoder, float32.
    batch_stats: running statistics of its batch normalisation; empty if it has none.
    discriminator: parameters of the discriminator, float32; empty if it is not trained.
    generator_opt: optimizer state of the auto-encoder.
    discriminator_opt: optimizer state of the discriminator; empty if it is not trained.
  """

  step: jax.Array
  generator: Any
  batch_stats: Any
  discriminator: Any
  generator_opt: Any
  discriminator_opt: Any


def make_optimizer(optimizer: fields.Optimizer, steps: int) -> optax.GradientTransformation:
  """Make RMSprop as PyTorch computes it, without momentum.

      v <- DECAY v + (1 - DECAY) g^2
      p <- p - learning_rate g / (sqrt(v) + EPS)

  The running squares v start at 0. The number of updates is part of the optimizer's state, so a
  resumed run continues its schedule.

  Source: Sun et al. 2021, section IV-C; PyTorch's documentation of `torch.optim.RMSprop`.

  Args:
    optimizer: learning rate and schedule. With 'cosine' the rate falls along half a cosine to
      `LAST_RATE` of the first one at update `steps`, and stays there.
    steps: length of the training, in updates.

  Returns:
    An optax transformation, to be used for both networks.
  """
  learning_rate = optimizer.learning_rate
  if optimizer.schedule == 'cosine':
    learning_rate = _cosine(optimizer.learning_rate, steps)
  return optax.rmsprop(
    learning_rate,
    decay=DECAY,
    eps=EPS,
    eps_in_sqrt=False,
    initial_scale=0.0,
    momentum=None,
  )


def _cosine(learning_rate: float, steps: int) -> optax.Schedule:
  """Return a cosine schedule that takes an integer count.

  optax divides the count by a float, which strict dtype promotion refuses for int32.
  """
  cosine = optax.cosine_decay_schedule(learning_rate, steps, LAST_RATE)

  def schedule(count: jax.Array) -> jax.Array:
    return cosine(count.astype(jnp.float32))

  return schedule


def init_state(
  generator: nn.Module,
  discriminator: nn.Module | None,
  optimizer: optax.GradientTransformation,
  *,
  clip_shape: tuple[int, int, int],
  seed: int,
  streams: int = 1,
) -> TrainState:
  """Initialise the networks and their optimizer states, as one compiled program.

  Args:
    generator: the auto-encoder.
    discriminator: the discriminator; None if it is not trained.
    optimizer: used for both networks.
    clip_shape: (T, H, W).
    seed: seed of the parameters.
    streams: channels of the auto-encoder's input; the discriminator sees the first.

  Returns:
    The state before the first update.
  """

  def init(key: jax.Array) -> TrainState:
    clips = jnp.zeros((1, *clip_shape, streams), jnp.float32)
    generator_key, discriminator_key = jax.random.split(key)
    variables = generator.init(generator_key, clips, train=False)
    phi = {}
    discriminator_opt = {}
    if discriminator is not None:
      phi = discriminator.init(discriminator_key, clips[..., :1])['params']
      discriminator_opt = optimizer.init(phi)
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      generator=variables['params'],
      batch_stats=variables.get('batch_stats', {}),
      discriminator=phi,
      generator_opt=optimizer.init(variables['params']),
      discriminator_opt=discriminator_opt,
    )

  return jax.jit(init)(jax.random.key(seed))
