"""Read the times of updates and kernels from the trace of a profiler."""

import collections
import gzip
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring.columns import table

_KERNEL_COLUMNS = (
  ('ms', '{ms:.3f}'),
  ('%', '{percent:.1f}'),
  ('calls', '{calls:g}'),
  ('kernel', '{name:.80}'),
  ('source', '{source}'),
)


def newest_trace(folder: str | pathlib.Path) -> pathlib.Path:
  """Return the newest trace.json.gz under a folder.

  Raises:
    UserError: if there is none.
  """
  traces = pathlib.Path(folder).rglob('*.trace.json.gz')
  newest = max(traces, key=lambda path: path.stat().st_mtime, default=None)
  if newest is None:
    raise UserError(f'{folder}: no *.trace.json.gz there; --profile=START:STOP writes one')
  return newest


def read_events(path: str | pathlib.Path) -> list[dict[str, Any]]:
  """Read the complete events of a trace in Chrome's format.

  Returns:
    Dicts with `process`, `thread`, `name`, `start_us`, `duration_us` and `arguments`.
  """
  with gzip.open(path, 'rt', encoding='utf-8') as file:
    events = json.load(file)['traceEvents']
  processes = {}
  threads = {}
  for event in events:
    if event.get('ph') != 'M':
      continue
    label = event['args'].get('name', '')
    if event['name'] == 'process_name':
      processes[event['pid']] = label
    elif event['name'] == 'thread_name':
      threads[event['pid'], event.get('tid')] = label
  complete = []
  for event in events:
    if event.get('ph') != 'X':
      continue
    complete.append(
      {
        'process': processes.get(event['pid'], ''),
        'thread': threads.get((event['pid'], event.get('tid')), ''),
        'name': event['name'],
        'start_us': event['ts'],
        'duration_us': event.get('dur', 0),
        'arguments': event.get('args', {}),
      }
    )
  return complete


def updates(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """Return how long the host spent on each traced update.

  Returns:
    Rows of `step`, `ms` and `next_batch_ms`, the part of `ms` in which the batch was made; in order
    of `step`.
  """
  batches = [event for event in events if event['name'] == 'next_batch']
  rows = []
  for event in events:
    if event['name'] != 'train' or 'step_num' not in event['arguments']:
      continue
    start = event['start_us']
    end = start + event['duration_us']
    batch_us = [b['duration_us'] for b in batches if start <= b['start_us'] < end]
    rows.append(
      {
        'step': int(event['arguments']['step_num']),
        'ms': event['duration_us'] / 1e3,
        'next_batch_ms': sum(batch_us) / 1e3,
      }
    )
  return sorted(rows, key=lambda row: row['step'])


def top_kernels(events: Sequence[Mapping[str, Any]], *, count: int = 20) -> list[dict[str, Any]]:
  """Return the operations that took the most time.

  Operations are the events with an annotation `hlo_op`, which XLA writes on every platform. On
  GPUs, those on the compute streams are the kernels themselves.

  Args:
    events: as `read_events` returns them.
    count: the largest number of rows.

  Returns:
    Rows of `name`, `ms`, `calls`, `share` of the time of all operations, and `op_name`, its origin
    in our source; the longest first.
  """
  kernels = [event for event in events if 'hlo_op' in event['arguments']]
  total_us = sum(event['duration_us'] for event in kernels)
  times = collections.Counter()
  calls = collections.Counter()
  sources = {}
  for event in kernels:
    name = event['name']
    arguments = event['arguments']
    times[name] += event['duration_us']
    calls[name] += 1
    sources[name] = arguments.get('tf_op', arguments['hlo_op'])
  rows = []
  for name, time_us in times.most_common(count):
    rows.append(
      {
        'name': name,
        'ms': time_us / 1e3,
        'calls': calls[name],
        'share': time_us / total_us if total_us else 0.0,
        'op_name': sources[name],
      }
    )
  return rows


def kernel_table(kernels: Sequence[Mapping[str, Any]]) -> str:
  """Return rows of `top_kernels` as an aligned table."""
  shown = []
  for row in kernels:
    shown.append({**row, 'percent': 100 * row['share'], 'source': row['op_name'][-60:]})
  return table(shown, _KERNEL_COLUMNS)
