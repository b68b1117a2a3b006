"""Profiles: a trace is written and contains the requested updates."""

import json

import jax
import jax.numpy as jnp
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring import traces
from a3dcae_jax.run import profiling
from a3dcae_jax.training.loop import fit
from tools import top_kernels


def traced_updates(folder):
  return traces.updates(traces.read_events(traces.newest_trace(folder)))


def run(state, step, batches, hooks):
  """Run the loop over all batches."""
  fit(state, step, iter(batches), first_step=0, last_step=len(batches), hooks=hooks)
  for hook in hooks:
    hook.close()


def test_a_profile_holds_its_updates_and_their_kernels(tmp_path, capsys):
  step = jax.jit(lambda state, batch: (jnp.tanh(state @ batch), {'rec': state.sum()}))
  matrix = jnp.eye(64)
  run(matrix, step, [matrix] * 5, profiling.profile_hooks('2:3', tmp_path, 5))
  folder = tmp_path / 'profile'
  assert list(folder.rglob('*.xplane.pb')), 'the file that TensorBoard reads'
  rows = traced_updates(folder)
  assert [row['step'] for row in rows] == [2, 3]
  assert all(0 < row['next_batch_ms'] < row['ms'] for row in rows)
  top_kernels.main([str(folder), f'--json={tmp_path}/top.json'])
  kernels = json.loads((tmp_path / 'top.json').read_text())['kernels']
  assert sum(row['calls'] for row in kernels) >= 2
  assert kernels[0]['name'] in capsys.readouterr().out


def test_a_run_that_ends_inside_the_profile_still_writes_it(tmp_path):
  def step(state, batch):
    return state + batch, {'rec': jnp.float32(0)}

  run(jnp.int32(0), step, [jnp.int32(1)] * 3, profiling.profile_hooks('2:9', tmp_path, 9))
  assert [row['step'] for row in traced_updates(tmp_path)] == [2, 3]


@pytest.mark.parametrize('text', ['5', '0:2', '4:3', '2:10', 'a:b'])
def test_a_wrong_range_is_refused(text, tmp_path):
  with pytest.raises(UserError, match=f"--profile '{text}': write START:STOP"):
    profiling.profile_hooks(text, tmp_path, 9)
