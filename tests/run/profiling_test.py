"""Traces: the file is there and holds the updates asked for; how a trace is read, by hand."""

import gzip
import json

import jax
import jax.numpy as jnp
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.run import profiling
from a3dcae_jax.training.loop import fit
from tools import top_kernels


def test_a_profile_holds_its_updates_and_their_kernels(tmp_path, capsys):
  step = jax.jit(lambda state, batch: (jnp.tanh(state @ batch), {'rec': state.sum()}))
  matrix = jnp.eye(64)
  hooks = profiling.profile_hooks('2:3', tmp_path, 5)
  fit(matrix, step, iter([matrix] * 5), first_step=0, last_step=5, hooks=hooks)
  for hook in hooks:
    hook.close()
  folder = tmp_path / 'profile'
  assert list(folder.rglob('*.xplane.pb')), 'what TensorBoard reads'
  rows = profiling.updates(profiling.read_events(profiling.newest_trace(folder)))
  assert [row['step'] for row in rows] == [2, 3] and all(
    0 < row['next_batch_ms'] < row['ms'] for row in rows
  )
  top_kernels.main([str(folder), f'--json={tmp_path}/top.json'])
  found = json.loads((tmp_path / 'top.json').read_text())
  assert (
    sum(row['calls'] for row in found['kernels']) >= 2
    and found['kernels'][0]['name'] in capsys.readouterr().out
  )


def test_a_run_that_ends_inside_the_profile_still_writes_it(tmp_path):
  hooks = profiling.profile_hooks('2:9', tmp_path, 9)
  fit(
    jnp.int32(0),
    lambda state, batch: (state + batch, {'rec': jnp.float32(0)}),
    iter([jnp.int32(1)] * 3),
    first_step=0,
    last_step=3,
    hooks=hooks,
  )
  assert [
    row['step']
    for row in profiling.updates(profiling.read_events(profiling.newest_trace(tmp_path)))
  ] == [2, 3]


@pytest.mark.parametrize('text', ['5', '0:2', '4:3', '2:10', 'a:b'])
def test_what_is_no_range_is_named(text, tmp_path):
  with pytest.raises(
    UserError, match=f"--profile '{text}': write START:STOP, two updates from 1 to train.steps .=9."
  ):
    profiling.profile_hooks(text, tmp_path, 9)


def test_reading_by_hand(tmp_path):
  kernel = lambda name, start, us: {
    'ph': 'X',
    'pid': 1,
    'tid': 2,
    'name': name,
    'ts': start,
    'dur': us,
    'args': {'hlo_op': name},
  }
  trace = {
    'traceEvents': [
      {'ph': 'M', 'pid': 1, 'name': 'process_name', 'args': {'name': '/device:GPU:0'}},
      {'ph': 'M', 'pid': 1, 'tid': 2, 'name': 'thread_name', 'args': {'name': 'Stream'}},
      kernel('conv', 0, 300),
      kernel('pool', 300, 100),
      kernel('conv', 400, 600),
      {'ph': 'X', 'pid': 1, 'tid': 2, 'name': 'other', 'ts': 0, 'dur': 9000},
      {
        'ph': 'X',
        'pid': 9,
        'tid': 1,
        'name': 'train',
        'ts': 0,
        'dur': 500,
        'args': {'step_num': '7'},
      },
      {'ph': 'X', 'pid': 9, 'tid': 1, 'name': 'next_batch', 'ts': 10, 'dur': 50},
      {'ph': 'X', 'pid': 9, 'tid': 1, 'name': 'next_batch', 'ts': 600, 'dur': 50},
    ]
  }
  with gzip.open(tmp_path / 'a.trace.json.gz', 'wt') as file:
    json.dump(trace, file)
  events = profiling.read_events(profiling.newest_trace(tmp_path))
  assert events[0]['process'] == '/device:GPU:0' and events[0]['thread'] == 'Stream'
  assert profiling.updates(events) == [{'step': 7, 'ms': 0.5, 'next_batch_ms': 0.05}]
  assert profiling.top_kernels(events, count=1) == [
    {'name': 'conv', 'ms': 0.9, 'calls': 2, 'share': 0.9, 'op_name': 'conv'}
  ]
  with pytest.raises(UserError, match='no .*trace.json.gz there'):
    profiling.newest_trace(tmp_path / 'none')
