"""What the page shows of the sources, handed over by the detector's thread.

The detector writes and the page reads, under locks that are held for microseconds. Nothing here
grows with the length of a stream.
"""

import collections
import math
import pathlib
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from a3dcae_jax.serving.stream import FrameScore
from a3dcae_jax.watching.notify import Message
from a3dcae_jax.watching.page.event_list import EventList
from a3dcae_jax.watching.recorder import Picture
from a3dcae_jax.watching.sources import Source
from a3dcae_jax.watching.watch import Watch

STRIP_S = 10
"""Seconds of one value of the timeline: the highest score of this time."""

STRIP_HOURS = 6
POINT_FRAMES = 4
"""Frames of one point of the small plot: their highest score."""

POINTS = 120
ENDED_SOURCES = 4
"""Sources that have ended and are still shown, as of an archive."""

_RATE_S = 5.0  # over which rates and the longest latency are taken


class Shown(NamedTuple):
  """The last picture with a score.

  Attributes:
    picture: the picture.
    scored: the score of its frame.
    is_abnormal: whether it reaches the threshold.
  """

  picture: Picture
  scored: FrameScore
  is_abnormal: bool


class Counts(NamedTuple):
  """What was counted of one source since it began.

  Attributes:
    captured: frames that came.
    scored: frames with a score.
    dropped: frames that were dropped.
    lost_files: stills, clips and lines that could not be written.
    events: abnormal events.
  """

  captured: int = 0
  scored: int = 0
  dropped: int = 0
  lost_files: int = 0
  events: int = 0


class SourceView:
  """What the page shows of one source.

  Attributes:
    number: names it in addresses; no two views have the same one.
    source: the source.
    threshold: the score from which on a frame is abnormal, now.
  """

  def __init__(self, number: int, source: Source, threshold: float) -> None:
    """Begin without a frame."""
    self.number = number
    self.source = source
    self.threshold = threshold
    self._lock = threading.Lock()
    self._points: collections.deque[float] = collections.deque(maxlen=POINTS)
    self._in_point = 0
    size = STRIP_HOURS * 3600 // STRIP_S
    self._strip: collections.deque[list[Any]] = collections.deque(maxlen=size)
    self._shown: Shown | None = None
    self._score: float | None = None
    self._counts = Counts()
    self._rates = (0.0, 0.0)
    self._rated_s = time.monotonic()
    self._rated_counts = Counts()
    self._latency_s = self._longest_s = 0.0
    self._fault = self._message = ''
    self._is_abnormal = False
    self._fault_counts: collections.Counter[str] = collections.Counter()
    self._has_ended = False

  def add(self, scored: FrameScore, picture: Picture | None, wall_s: float) -> None:
    """Take the score of a frame.

    Args:
      scored: the score.
      picture: of the frame; None if it has none.
      wall_s: when the frame came, as `time.time()`.
    """
    score = scored.score
    latency_s = time.time() - wall_s
    with self._lock:
      self._score = score
      self._longest_s = max(self._longest_s, latency_s)
      if math.isfinite(score):
        self._add_point(score)
        self._add_to_strip(int(wall_s // STRIP_S), score)
      if picture is not None:
        self._shown = Shown(picture, scored, score >= self.threshold)

  def measure(self, watch: Watch) -> None:
    """Copy counts and threshold of the source; called about once per second."""
    counts = Counts(
      captured=watch.reader.captured,
      scored=watch.scored,
      dropped=watch.reader.dropped,
      lost_files=watch.dropped_files,
      events=watch.events,
    )
    now_s = time.monotonic()
    with self._lock:
      self._counts = counts
      self.threshold = watch.threshold
      self._fault = watch.fault
      passed_s = max(now_s - self._rated_s, 0.1)
      if passed_s >= _RATE_S or not any(self._rates):
        before = self._rated_counts
        captured, scored = counts.captured - before.captured, counts.scored - before.scored
        self._rates = captured / passed_s, scored / passed_s
      self._latency_s = max(self._latency_s, self._longest_s)
      if passed_s >= _RATE_S:
        self._rated_s, self._rated_counts = now_s, counts
        self._latency_s, self._longest_s = self._longest_s, 0.0

  def follow(self, record: dict[str, Any]) -> None:
    """Take a message on an event or a fault."""
    with self._lock:
      if record['kind'] != 'abnormal':
        self._fault_counts[record['kind']] += record['type'] in ('start', 'notice')
        self._message = record['message']
      else:
        self._is_abnormal = record['type'] != 'end'

  def end(self) -> None:
    """Show that no more frames will come."""
    with self._lock:
      self._has_ended = True

  @property
  def shown(self) -> Shown | None:
    """The last picture with a score; None before the first."""
    return self._shown

  def state(self) -> dict[str, Any]:
    """Return the present state, ready for JSON."""
    with self._lock:
      points = list(self._points)
      values = {
        'number': self.number,
        'name': self.source.name,
        'shown': self.source.shown,
        'is_live': self.source.is_live,
        'state': self._state(),
        'message': self._message if self._fault else '',
        'score': rounded(self._score),
        'threshold': rounded(self.threshold),
        'captured_per_s': round(self._rates[0], 1),
        'scored_per_s': round(self._rates[1], 1),
        'latency_s': round(self._latency_s, 2) if self.source.is_live else None,
        'picture': self._shown.picture.frame if self._shown else None,
        'faults': dict(self._fault_counts),
      }
      values |= self._counts._asdict()
    values['points'] = [rounded(point) for point in points]
    return values

  def strip(self, after: int) -> list[list[Any]]:
    """Return the timeline: pairs of a number of a time and its highest score.

    Args:
      after: only times from this number on; time t has the number t // STRIP_S.
    """
    values = []
    with self._lock:
      for number, score in reversed(self._strip):
        if number < after:
          break
        values.append([number, rounded(score)])
    return values[::-1]

  def _state(self):
    """Return 'ended', the kind of a fault, 'waiting', 'abnormal' or 'ok'."""
    if self._has_ended:
      return 'ended'
    if self._fault:
      return self._fault
    if self._score is None:
      return 'waiting'
    return 'abnormal' if self._is_abnormal else 'ok'

  def _add_point(self, score):
    if self._in_point % POINT_FRAMES == 0:
      self._points.append(score)
    else:
      self._points[-1] = max(self._points[-1], score)
    self._in_point += 1

  def _add_to_strip(self, number, score):
    if self._strip and self._strip[-1][0] >= number:
      self._strip[-1][1] = max(self._strip[-1][1], score)
    else:
      self._strip.append([number, score])


class Feed:
  """What the page shows of all sources.

  Attributes:
    events: the events and faults.
    error_scale: mean and deviation of the training errors, by which heat is coloured.
  """

  def __init__(self, out: pathlib.Path, error_scale: tuple[float, float]) -> None:
    """Begin without a source.

    Args:
      out: folder of the results.
      error_scale: see above.
    """
    self.events = EventList(out)
    self.error_scale = error_scale
    self._lock = threading.Lock()
    self._views: dict[int, SourceView] = {}
    self._ended: collections.deque[int] = collections.deque()
    self._begun = 0

  def load(self, sources: Sequence[Source]) -> None:
    """Read the events of earlier calls."""
    self.events.load(sources)

  def begin(self, source: Source, threshold: float) -> SourceView:
    """Return the view of a source that is watched from now on."""
    if not source.is_live:
      self.events.forget(source.name)  # its results are made again
    with self._lock:
      view = SourceView(self._begun, source, threshold)
      self._views[self._begun] = view
      self._begun += 1
    return view

  def measure(self, watches: Iterable[Watch]) -> None:
    """Copy the counts of all sources that are watched."""
    for watch in watches:
      watch.view.measure(watch)

  def add(self, message: Message) -> None:
    """Take a message on an event or a fault."""
    self.events.add(message.record)
    for view in self.views():
      if view.source.name == message.record['source']:
        view.follow(message.record)

  def end(self, watch: Watch) -> None:
    """Keep the view of a source that has ended, for a while."""
    watch.view.measure(watch)
    watch.view.end()
    with self._lock:
      self._ended.append(watch.view.number)
      while len(self._ended) > ENDED_SOURCES:
        del self._views[self._ended.popleft()]

  def views(self) -> list[SourceView]:
    """Return all views, in the order of their beginning."""
    with self._lock:
      return list(self._views.values())

  def view(self, number: int) -> SourceView | None:
    """Return the view with a number; None if there is none."""
    with self._lock:
      return self._views.get(number)

  def obstacle(self) -> str:
    """Return why a source has no scores, not yet or no longer; '' if all have."""
    states = [view.state() for view in self.views()]
    watched = [state for state in states if state['state'] != 'ended']
    if not states:
      return 'the program is being compiled'
    waiting = sum(state['score'] is None for state in watched)
    lost = sum(state['state'] in ('lost', 'stalled') for state in watched)
    if lost:
      return f'{lost} of {len(watched)} sources are lost or have stalled'
    if waiting and (watched[0]['is_live'] or waiting == len(states)):
      return f'{waiting} of {len(watched)} sources have no score yet'
    return ''


def rounded(value: float | None) -> float | None:
  """Return a number for JSON, which has no infinity; None for none."""
  return round(value, 3) if value is not None and math.isfinite(value) else None
