"""The optimizer's schedules, by hand. RMSprop itself is in step_test.py."""

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.training.state import LAST_RATE, make_optimizer


def rates(optimizer, updates):
  """What each update takes off a parameter whose gradient is 1, with the running square held at 1: the rate itself."""
  state, taken = optimizer.init(jnp.zeros(())), []
  for _ in range(updates):
    change, state = optimizer.update(jnp.ones(()), state, jnp.zeros(()))
    taken.append(-float(change))
  return np.asarray(taken)


def test_a_cosine_falls_to_its_last_rate_and_stays_there():
  settings = {'learning_rate': 0.1, 'decay': 0.0}  # no memory: the square is the last gradient's
  np.testing.assert_allclose(rates(make_optimizer(**settings), 3), 0.1, rtol=1e-5)
  half = LAST_RATE + (1 - LAST_RATE) / 2
  expected = 0.1 * np.asarray([1, half, LAST_RATE, LAST_RATE])
  np.testing.assert_allclose(
    rates(make_optimizer(**settings, schedule='cosine', steps=2), 4), expected, rtol=1e-5
  )


def test_an_unknown_schedule_is_named():
  with pytest.raises(UserError, match="optimizer.schedule 'linear': known are constant, cosine"):
    make_optimizer(schedule='linear')
