"""What training carries from step to step, and the optimizer of both networks."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from a3dcae_jax.common.errors import UserError


class TrainState(flax.struct.PyTreeNode):
  """Everything that an update changes. `step` counts finished updates.

  Attributes:
    step: scalar int32. generator, discriminator: parameters (float32). batch_stats: running statistics of the
    auto-encoder's normalisation. generator_opt, discriminator_opt: RMSprop's running squares.
  """

  step: jax.Array
  generator: Any
  batch_stats: Any
  discriminator: Any
  generator_opt: Any
  discriminator_opt: Any


SCHEDULES = ('constant', 'cosine')
LAST_RATE = 0.02  # of a cosine, as a share of its first: what is left to learn at the end is noise between batches


def make_optimizer(
  *, learning_rate=2e-4, decay=0.99, eps=1e-8, momentum=0.0, schedule='constant', steps=None
):
  """RMSprop as PyTorch computes it, which the paper used with its defaults but the rate.

      v <- decay v + (1 - decay) g^2;   p <- p - learning_rate g / (sqrt(v) + eps)

  optax's own defaults differ in `decay` (0.9) and add eps inside the root. The moments start at 0 in both.

  Args:
    learning_rate: of the first update. momentum: 0 for none.
    schedule: 'constant', as in the paper, or 'cosine': the rate falls along half a cosine to `LAST_RATE` of it at update `steps` and stays there.
    steps: updates in all, for 'cosine' alone. Its count is part of the optimizer's state, so a resumed run goes on at the rate where it stopped.

  Raises: UserError for an unknown schedule.
  Source: Sun et al. 2021, sec. IV-C; PyTorch's documentation of `torch.optim.RMSprop`.
  """
  if schedule not in SCHEDULES:
    raise UserError(f'optimizer.schedule {schedule!r}: known are {", ".join(SCHEDULES)}')
  if schedule == 'cosine':
    cosine = optax.cosine_decay_schedule(learning_rate, steps, LAST_RATE)
    learning_rate = lambda count: cosine(count.astype(jnp.float32))  # noqa: E731  (optax divides the int32 count, which strict promotion refuses)
  return optax.rmsprop(
    learning_rate,
    decay=decay,
    eps=eps,
    eps_in_sqrt=False,
    initial_scale=0.0,
    momentum=momentum or None,
  )


def init_state(generator, discriminator, optimizer, *, clip_shape, seed):
  """A fresh `TrainState` from `seed`; `clip_shape` is (T, H, W). Runs as one compiled program."""

  def init(key):
    clips = jnp.zeros((1, *clip_shape, 1), jnp.float32)
    generator_key, discriminator_key = jax.random.split(key)
    variables = generator.init(generator_key, clips, train=False)
    phi = discriminator.init(discriminator_key, clips)['params']
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      generator=variables['params'],
      batch_stats=variables['batch_stats'],
      discriminator=phi,
      generator_opt=optimizer.init(variables['params']),
      discriminator_opt=optimizer.init(phi),
    )

  return jax.jit(init)(jax.random.key(seed))
