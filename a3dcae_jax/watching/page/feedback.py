"""Feedback on events: which of them were normal, and thresholds from it.

OUT/feedback.jsonl has one line for each mark: `time`, `source`, `id` and `score` of the event, when
it began and ended, the `threshold`, the SHA-256 of the `bundle`, and `normal`. The last line on an
event counts, so that a mark is taken back by a further line.
"""

import json
import math
import os
import pathlib
import sys
import threading
import time
from typing import NamedTuple

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.watching.output import EVENTS, event_line, mend, utc_text
from a3dcae_jax.watching.page.event_list import Listed, event_key, read_records

FEEDBACK = 'feedback.jsonl'
MARGIN = 0.01
"""By how much a raised threshold lies above the highest score, in standard deviations.

The same video has the same scores only up to rounding.
"""

_SHOWN_LINES = 5  # whose numbers a warning has


class Mark(NamedTuple):
  """The last feedback on an event.

  Attributes:
    source: name of the source.
    is_normal: whether the event was normal.
    score: its highest score.
    bundle: SHA-256 of the bundle that found it.
  """

  source: str
  is_normal: bool
  score: float
  bundle: str


class Feedback:
  """The file of all feedback; it is only added to.

  Args:
    out: folder of the results.
    bundle: SHA-256 of the bundle.
    marks: see `read_marks`; None to read them.
  """

  def __init__(self, out: pathlib.Path, bundle: str, marks: dict[str, Mark] | None = None) -> None:
    self._path = out / FEEDBACK
    self._bundle = bundle
    self._lock = threading.Lock()
    self._marks = read_marks(out) if marks is None else dict(marks)

  def is_normal(self, key: str) -> bool:
    """Return whether an event was marked as normal."""
    mark = self._marks.get(key)
    return bool(mark and mark.is_normal)

  def mark(self, event: Listed, is_normal: bool) -> None:
    """Mark an event as normal, or take that back; it is on the disk when this returns.

    Raises:
      OSError: if it cannot be written; then nothing is changed.
    """
    mark = Mark(event.source, is_normal, event.score, self._bundle)
    line = {
      'time': utc_text(time.time()),
      'source': event.source,
      'id': event.name,
      'normal': is_normal,
      'score': event.score,
      'start': utc_text(event.start_s),
      'end': utc_text(event.end_s) if event.end_s else None,
      'first_frame': event.record.get('first_frame'),
      'last_frame': event.record.get('last_frame'),
      'threshold': event.record.get('threshold'),
      'bundle': self._bundle,
    }
    with self._lock:
      if self.is_normal(event.key) == is_normal:
        return
      _append(self._path, event_line(line))
      self._marks[event.key] = mark


def read_marks(out: pathlib.Path) -> dict[str, Mark]:
  """Return the last feedback on each event, by the key of the event.

  Damaged lines are left out, with a warning that has their numbers.

  Args:
    out: folder of the results.

  Raises:
    UserError: if the file cannot be read.
  """
  marks = {}
  damaged = []
  path = out / FEEDBACK
  try:
    lines = path.read_bytes().split(b'\n')
  except FileNotFoundError:
    return marks
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error.strerror}') from None
  for number, line in enumerate(lines, start=1):
    if not line.strip():
      continue
    try:
      record = json.loads(line)
      mark = Mark(
        str(record['source']), record['normal'] is True, float(record['score']), record['bundle']
      )
      marks[event_key(mark.source, str(record['id']))] = mark
    except (ValueError, KeyError, TypeError, RecursionError):
      damaged.append(number)
  if damaged:
    _warn(path, damaged)
  return marks


def raised_threshold(
  marks: dict[str, Mark], source: str, threshold: float, bundle: str
) -> tuple[float, int]:
  """Return the lowest threshold at which no event that was normal would start again.

  An event does not start if no score reaches the threshold. So the threshold lies `MARGIN` above
  the highest score of these events. Events found by another bundle do not count, since their
  scores have another scale.

  Args:
    marks: see `read_marks`.
    source: name of the source; events of other sources do not count.
    threshold: which is never lowered.
    bundle: SHA-256 of the bundle.

  Returns:
    The threshold, and the number of events that it lies above.
  """
  scores = [
    mark.score
    for mark in marks.values()
    if mark.source == source and mark.bundle == bundle and mark.is_normal
  ]
  scores = [score for score in scores if math.isfinite(score) and score >= threshold]
  if not scores:
    return threshold, 0
  return max(scores) + MARGIN, len(scores)


def other_events(out: pathlib.Path, source: str, marks: dict[str, Mark]) -> list[float]:
  """Return the highest scores of a source's events not marked as normal.

  Args:
    out: folder of the results.
    source: name of the source.
    marks: see `read_marks`.
  """
  scores = []
  for record in read_records(out / source / EVENTS):
    mark = marks.get(event_key(source, record['id']))
    is_event = (record['kind'], record['type']) == ('abnormal', 'end')
    if is_event and not (mark and mark.is_normal):
      scores.append(record['peak_score'])
  return scores


def _warn(path, damaged):
  """Print which lines of a file are left out."""
  shown = ', '.join(map(str, damaged[:_SHOWN_LINES]))
  more = len(damaged) - _SHOWN_LINES
  rest = f' and {more} more' if more > 0 else ''
  lines, are = ('line', 'is') if len(damaged) == 1 else ('lines', 'are')
  print(
    f'{path}: {lines} {shown}{rest} {are} damaged, and left out: mend or remove what is damaged',
    file=sys.stderr,
  )


def _append(path, line):
  """Add a line and wait until the disk has it; a half-written line is taken back."""
  mend(path)
  content = f'{line}\n'.encode()
  with open(path, 'ab', buffering=0) as file:
    size = file.tell()
    try:
      if file.write(content) < len(content):
        raise OSError('the disk is full')
      os.fsync(file.fileno())
    except OSError:
      file.truncate(size)
      raise
