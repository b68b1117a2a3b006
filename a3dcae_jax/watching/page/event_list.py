"""The events and faults that the page lists, with the files of each."""

import datetime
import hashlib
import json
import pathlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from a3dcae_jax.watching.output import EVENT_FILES, EVENTS
from a3dcae_jax.watching.sources import Source

KEPT_EVENTS = 5000
"""Newest events and faults that are listed. Older ones stay in the files."""

_TAIL_BYTES = 1_000_000  # read from the end of the events of an earlier call
_TAIL_SOURCES = 2000  # whose earlier events are read


class Listed(NamedTuple):
  """An event or a fault.

  Attributes:
    key: names it in addresses.
    source: name of its source.
    name: its `id`, which no other event of the source has.
    kind: 'abnormal' or the kind of a fault.
    start_s: Unix time of its first message.
    start_frame: number of the frame of that message; None if it has none.
    end_s: Unix time of its end; None if it has none, or lasts.
    is_open: whether it lasts.
    score: its highest score; None for a fault.
    record: the last message on it, as in `events.jsonl`.
  """

  key: str
  source: str
  name: str
  kind: str
  start_s: float
  start_frame: int | None
  end_s: float | None
  is_open: bool
  score: float | None
  record: dict[str, Any]


class EventList:
  """The newest events and faults of all sources.

  Args:
    out: folder of the results.
  """

  def __init__(self, out: pathlib.Path) -> None:
    self._out = out
    self._lock = threading.Lock()
    self._events: dict[str, Listed] = {}
    self.revision = 0

  def load(self, sources: Sequence[Source]) -> None:
    """Read the newest events of earlier calls; damaged lines are left out."""
    found = {}
    for source in sources[-_TAIL_SOURCES:]:
      for record in read_records(self._out / source.name / EVENTS):
        event = _merged(found.get(event_key(source.name, record['id'])), source.name, record)
        found[event.key] = event
    in_order = sorted(found.values(), key=lambda event: event.start_s)[-KEPT_EVENTS:]
    with self._lock:
      self._events = {event.key: event._replace(is_open=False) for event in in_order}
      self.revision += 1

  def add(self, record: dict[str, Any]) -> None:
    """Take a message on an event or a fault."""
    key = event_key(record['source'], record['id'])
    with self._lock:
      self._events[key] = _merged(self._events.get(key), record['source'], record)
      if len(self._events) > KEPT_EVENTS:
        del self._events[next(iter(self._events))]
      self.revision += 1

  def forget(self, source: str) -> None:
    """Remove all events of a source."""
    with self._lock:
      kept = {key: event for key, event in self._events.items() if event.source != source}
      self._events = kept
      self.revision += 1

  def newest(self, source: str = '', kind: str = '') -> list[Listed]:
    """Return events and faults, the newest first.

    Args:
      source: only those of this source; '' for all.
      kind: 'abnormal' for events, 'fault' for faults; '' for both.
    """
    with self._lock:
      events = list(self._events.values())
    return [
      event
      for event in reversed(events)
      if source in ('', event.source) and kind in ('', _group(event))
    ]

  def get(self, key: str) -> Listed | None:
    """Return the event with a key; None if there is none."""
    with self._lock:
      return self._events.get(key)

  def file(self, event: Listed, suffix: str) -> pathlib.Path | None:
    """Return a file of an event; None if it is not there.

    The path is made of what the detector knows, and must lie in the folder of the source.

    Args:
      event: the event.
      suffix: '.jpg' or '.mp4'.
    """
    folder = self._out / event.source / EVENT_FILES
    path = folder / f'{event.name}{suffix}'
    if path.name.startswith('.') or not path.is_file():
      return None
    return path if path.resolve().parent == folder.resolve() else None


def event_key(source: str, name: str) -> str:
  """Return the key of an event, the same in every call."""
  return hashlib.sha256(f'{source}\0{name}'.encode('utf-8', 'surrogatepass')).hexdigest()[:20]


def read_records(path: pathlib.Path) -> Iterator[dict[str, Any]]:
  """Yield the last messages in a file `events.jsonl`; other lines are left out."""
  try:
    with open(path, 'rb') as file:
      size = file.seek(0, 2)
      file.seek(max(0, size - _TAIL_BYTES))
      lines = file.read().splitlines()
  except OSError:
    return
  for line in lines:
    try:
      record = json.loads(line)
      _seconds(record['time'])
      is_whole = all(isinstance(record[name], str) for name in ('id', 'kind', 'type', 'message'))
      float(record.get('peak_score', 0))
    except (ValueError, KeyError, TypeError, RecursionError):
      continue
    if is_whole:
      yield record


def _merged(before, source, record):
  """Return an event after a further message on it."""
  now_s = _seconds(record['time'])
  is_end = record['type'] == 'end'
  return Listed(
    key=event_key(source, record['id']),
    source=source,
    name=record['id'],
    kind=record['kind'],
    start_s=before.start_s if before else now_s,
    start_frame=before.start_frame if before else record.get('frame'),
    end_s=now_s if is_end else None,
    is_open=record['type'] in ('start', 'update'),
    score=record.get('peak_score'),
    record=record,
  )


def _group(event):
  return 'abnormal' if event.kind == 'abnormal' else 'fault'


def _seconds(text):
  return datetime.datetime.fromisoformat(text).timestamp()
