"""Reading of traces, from a small example."""

import gzip
import json

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring import traces


def complete(name, start, duration, *, pid=1, tid=2, arguments=None):
  """A complete event of a trace in Chrome's format."""
  event = {'ph': 'X', 'pid': pid, 'tid': tid, 'name': name, 'ts': start, 'dur': duration}
  if arguments:
    event['args'] = arguments
  return event


def kernel(name, start, duration):
  return complete(name, start, duration, arguments={'hlo_op': name})


@pytest.fixture
def events(tmp_path):
  process = {'ph': 'M', 'pid': 1, 'name': 'process_name', 'args': {'name': '/device:GPU:0'}}
  thread = {'ph': 'M', 'pid': 1, 'tid': 2, 'name': 'thread_name', 'args': {'name': 'Stream'}}
  trace = [
    process,
    thread,
    kernel('conv', 0, 300),
    kernel('pool', 300, 100),
    kernel('conv', 400, 600),
    complete('other', 0, 9000),
    complete('train', 0, 500, pid=9, tid=1, arguments={'step_num': '7'}),
    complete('next_batch', 10, 50, pid=9, tid=1),
    complete('next_batch', 600, 50, pid=9, tid=1),  # after the update
  ]
  with gzip.open(tmp_path / 'a.trace.json.gz', 'wt') as file:
    json.dump({'traceEvents': trace}, file)
  return traces.read_events(traces.newest_trace(tmp_path))


def test_events_have_the_names_of_their_process_and_thread(events):
  assert len(events) == 7
  assert events[0]['process'] == '/device:GPU:0'
  assert events[0]['thread'] == 'Stream'
  assert events[-1]['process'] == ''


def test_the_time_of_an_update_includes_its_own_batch(events):
  assert traces.updates(events) == [{'step': 7, 'ms': 0.5, 'next_batch_ms': 0.05}]


def test_kernels_are_summed_by_name_and_the_longest_comes_first(events):
  longest, second = traces.top_kernels(events)
  assert longest == {'name': 'conv', 'ms': 0.9, 'calls': 2, 'share': 0.9, 'op_name': 'conv'}
  assert second['name'] == 'pool'
  assert traces.top_kernels(events, count=1) == [longest]


def test_a_folder_without_a_trace_is_named(tmp_path):
  with pytest.raises(UserError, match='none: no .*trace.json.gz'):
    traces.newest_trace(tmp_path / 'none')
