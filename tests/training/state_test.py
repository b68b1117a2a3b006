"""Schedules of the learning rate; RMSprop is tested in step_test.py."""

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.config import fields
from a3dcae_jax.training.state import DECAY, LAST_RATE, make_optimizer

HALF_WAY = LAST_RATE + (1 - LAST_RATE) / 2


def rates(optimizer, updates):
  """Return the learning rate of each update of a parameter with the gradient 1.

  After n updates RMSprop's running square is 1 - DECAY^n.
  """
  state = optimizer.init(jnp.zeros(()))
  found = []
  for update in range(1, updates + 1):
    change, state = optimizer.update(jnp.ones(()), state, jnp.zeros(()))
    found.append(-float(change) * np.sqrt(1 - DECAY**update))
  return np.asarray(found)


@pytest.mark.parametrize(
  'schedule, shares',
  [('constant', [1, 1, 1, 1]), ('cosine', [1, HALF_WAY, LAST_RATE, LAST_RATE])],
)
def test_a_cosine_falls_to_its_last_rate_and_stays_there(schedule, shares):
  settings = fields.Optimizer(learning_rate=0.1, schedule=schedule)
  found = rates(make_optimizer(settings, steps=2), 4)
  np.testing.assert_allclose(found, 0.1 * np.asarray(shares), rtol=1e-5)
