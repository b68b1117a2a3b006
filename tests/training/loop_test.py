"""The loop, with a step that only counts: hooks, the end, non-finite losses."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.training.checkpoints import Checkpoints
from a3dcae_jax.training.hooks import Hook, MetricsFile, SaveCheckpoints, read_metrics
from a3dcae_jax.training.loop import NonFiniteLoss, fit


class Recorder(Hook):
  """A hook that records its arguments."""

  def __init__(self):
    self.rows = []
    self.steps = []
    self.end = None

  def on_metrics(self, rows):
    self.rows += rows

  def on_step(self, step, state):
    self.steps.append((step, int(state)))

  def on_end(self, step, state):
    self.end = (step, int(state))


def count(state, batch):
  return state + 1, {'rec': jnp.float32(batch)}


def test_every_metric_is_read_once_and_hooks_see_the_end():
  recorder = Recorder()
  state, step = fit(
    jnp.int32(2),
    count,
    iter(range(3, 10)),
    first_step=2,
    last_step=9,
    hooks=[recorder],
    read_every_steps=4,
  )
  assert (int(state), step) == (9, 9)
  assert recorder.rows == [{'step': step, 'rec': float(step)} for step in range(3, 10)]
  assert recorder.steps == [(4, 4), (8, 8), (9, 9)]
  assert recorder.end == (9, 9)


def test_stop_ends_the_run_at_a_reading():
  recorder = Recorder()
  _, step = fit(
    jnp.int32(0),
    count,
    itertools.count(1),
    first_step=0,
    last_step=100,
    hooks=[recorder],
    read_every_steps=5,
    stop=lambda: len(recorder.rows) >= 10,
  )
  assert step == 10
  assert recorder.end == (10, 10)


def test_a_loss_that_is_not_finite_names_its_step_and_no_hook_sees_it():
  recorder = Recorder()
  losses = iter([1.0, 1.0, 1.0, 1.0, 1.0, np.nan, 1.0, 1.0])
  with pytest.raises(NonFiniteLoss, match='rec not finite at step 6') as error:
    fit(
      jnp.int32(0), count, losses, first_step=0, last_step=8, hooks=[recorder], read_every_steps=4
    )
  assert error.value.step == 6
  assert recorder.steps == [(4, 4)]
  assert recorder.end is None


def test_checkpoints_keep_the_newest_and_restore(tmp_path):
  checkpoints = Checkpoints(tmp_path / 'checkpoints', keep=2)
  tree = {'a': jnp.arange(3.0), 'step': jnp.int32(0)}
  for step in (2, 4, 6):
    checkpoints.save(step, tree | {'step': jnp.int32(step)})
  checkpoints.save(6, tree)  # nothing happens the second time
  checkpoints.wait()
  assert checkpoints.steps() == [4, 6]
  assert checkpoints.latest_step() == 6
  restored = checkpoints.restore(6, tree)
  assert int(restored['step']) == 6
  np.testing.assert_array_equal(restored['a'], tree['a'])
  checkpoints.close()


def test_checkpoints_are_saved_when_due(tmp_path):
  checkpoints = Checkpoints(tmp_path / 'checkpoints', keep=10)
  saver = SaveCheckpoints(checkpoints, first_step=3, every_steps=5)

  def step(state, batch):
    return {'count': state['count'] + 1}, {'rec': jnp.float32(batch)}

  fit(
    {'count': jnp.int32(3)},
    step,
    itertools.count(),
    first_step=3,
    last_step=17,
    hooks=[saver],
    read_every_steps=2,
  )
  assert checkpoints.steps() == [6, 10, 16, 17]
  checkpoints.close()


def test_a_resumed_metrics_file_drops_rows_after_the_checkpoint(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_text('{"step": 1, "rec": 0.5}\n{"step": 2, "rec": 0.4}\n{"step": 3, "re')
  writer = MetricsFile(tmp_path, first_step=1)
  writer.on_metrics([{'step': 2, 'rec': 0.3}])
  writer.close()
  assert read_metrics(path) == [{'step': 1, 'rec': 0.5}, {'step': 2, 'rec': 0.3}]


def fit_two_batches(batches, guard):
  step = jax.jit(lambda state, batch: (state + 1, {'rec': batch.mean()}))
  fit(jnp.int32(0), step, batches, first_step=0, last_step=2, transfer_guard=guard)


@pytest.mark.parametrize('guard', ['disallow', 'allow'])
def test_explicit_transfers_are_allowed(guard):
  fit_two_batches((jax.device_put(np.ones(3, np.float32)) for _ in range(2)), guard)


def test_implicit_transfers_are_errors_under_the_guard():
  on_host = np.ones(3, np.float32)
  fit_two_batches(itertools.repeat(on_host), 'allow')
  with pytest.raises(RuntimeError, match='Disallowed host-to-device transfer'):
    fit_two_batches(itertools.repeat(on_host), 'disallow')
