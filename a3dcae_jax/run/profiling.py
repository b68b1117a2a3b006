"""Traces a few updates of a run, and reads from a trace which kernels took the time."""

import collections
import gzip
import json
import pathlib
import re

import jax

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.training.hooks import Hook


class Profile(Hook):
  """Traces updates `first_step` to `last_step` into `folder`, whole: it starts and ends with the device idle."""

  def __init__(self, folder, *, first_step, last_step):
    self._folder, self._first, self._last = pathlib.Path(folder), first_step, last_step
    self._runs = self._ended = False

  def before_step(self, step, state):
    if step == self._first:
      jax.block_until_ready(state)
      jax.profiler.start_trace(self._folder)
      self._runs = True
    elif step == self._last + 1:
      self._stop(state)

  def on_end(self, step, state):
    self._stop(state)

  def close(self):
    self._stop(None)
    if not self._ended:
      print(f'no profile: updates {self._first} to {self._last} were not run')

  def _stop(self, state):
    if not self._runs:
      return
    self._runs, self._ended = False, True
    jax.block_until_ready(state)
    jax.profiler.stop_trace()
    print(
      f'profile of updates {self._first} to {self._last} in {self._folder}: '
      f'tensorboard --logdir={self._folder}, or open {newest_trace(self._folder)} in ui.perfetto.dev'
    )


def profile_hooks(text, workdir, last_step):
  """[] or [Profile] from a flag 'START:STOP', numbers of updates, both included; a `UserError` for anything else."""
  if not text:
    return []
  found = re.fullmatch(r'(\d+):(\d+)', text)
  start, stop = map(int, found.groups()) if found else (0, 0)
  if not 1 <= start <= stop <= last_step:
    raise UserError(
      f'--profile {text!r}: write START:STOP, two updates from 1 to train.steps (={last_step}), as in --profile=20:25'
    )
  return [Profile(pathlib.Path(workdir) / 'profile', first_step=start, last_step=stop)]


def newest_trace(folder):
  """The newest trace.json.gz under `folder`; a `UserError` where there is none."""
  traces = sorted(
    pathlib.Path(folder).rglob('*.trace.json.gz'), key=lambda path: path.stat().st_mtime
  )
  if not traces:
    raise UserError(f'{folder}: no *.trace.json.gz there; --profile=START:STOP writes one')
  return traces[-1]


def read_events(path):
  """Complete events of a trace in Chrome's format: dicts of `process`, `thread`, `name`, `start_us`, `duration_us`, `arguments`."""
  with gzip.open(path, 'rt', encoding='utf-8') as file:
    events = json.load(file)['traceEvents']
  names = {
    (event['name'], event['pid'], event.get('tid')): event['args'].get('name', '')
    for event in events
    if event.get('ph') == 'M' and event['name'] in ('process_name', 'thread_name')
  }
  return [
    {
      'process': names.get(
        ('process_name', event['pid'], None),
        names.get(('process_name', event['pid'], event.get('tid')), ''),
      ),
      'thread': names.get(('thread_name', event['pid'], event.get('tid')), ''),
      'name': event['name'],
      'start_us': event['ts'],
      'duration_us': event.get('dur', 0),
      'arguments': event.get('args', {}),
    }
    for event in events
    if event.get('ph') == 'X'
  ]


def updates(events):
  """Rows of `step`, `ms` and `next_batch_ms`: how long the host was at each traced update, and at the making of its batch."""
  batches = [event for event in events if event['name'] == 'next_batch']
  rows = []
  for event in events:
    if event['name'] == 'train' and 'step_num' in event['arguments']:
      end = event['start_us'] + event['duration_us']
      inside = sum(
        batch['duration_us'] for batch in batches if event['start_us'] <= batch['start_us'] < end
      )
      rows.append(
        {
          'step': int(event['arguments']['step_num']),
          'ms': event['duration_us'] / 1e3,
          'next_batch_ms': inside / 1e3,
        }
      )
  return sorted(rows, key=lambda row: row['step'])


def top_kernels(events, *, count=20):
  """The operations that took the most time: rows of `name`, `ms`, `calls`, `share` of the time of all operations, `op_name`.

  An operation is an event that names the HLO it runs (`hlo_op`), as XLA's executors annotate it on every platform; on GPUs those on the
  compute streams are the kernels themselves.
  """
  kernels = [event for event in events if 'hlo_op' in event['arguments']]
  total_us = sum(event['duration_us'] for event in kernels)
  times, calls, sources = collections.Counter(), collections.Counter(), {}
  for event in kernels:
    times[event['name']] += event['duration_us']
    calls[event['name']] += 1
    sources[event['name']] = event['arguments'].get('tf_op', event['arguments'].get('hlo_op', ''))
  return [
    {
      'name': name,
      'ms': time_us / 1e3,
      'calls': calls[name],
      'share': time_us / total_us if total_us else 0.0,
      'op_name': sources[name],
    }
    for name, time_us in times.most_common(count)
  ]
