"""Events of running streams: when one starts and ends, as its scores come in."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

START_FRAMES = 5
"""Frames at or above the threshold before an event starts: 0.2 s at 25 frames/s.

Scores are smoothed, so a shorter stretch is a flash or a damaged frame.
"""

END_FRAMES = 50
"""Frames below the threshold before an event ends: 2 s at 25 frames/s.

Evaluation joins events that are less apart (`scoring.events.MERGE_FRAMES`), since something
abnormal is often hidden or still for a moment.
"""


class EventChange(NamedTuple):
  """The start or the end of an event.

  Attributes:
    kind: 'start' or 'end'.
    first_frame: the first frame at or above the threshold.
    last_frame: the last one so far.
    peak_frame: the frame with the highest score so far.
    peak_score: its score.
  """

  kind: str
  first_frame: int
  last_frame: int
  peak_frame: int
  peak_score: float


class EventDetector:
  """Finds the events of one stream.

  An event starts once `START_FRAMES` frames in a row were at or above the threshold, and ends once
  `END_FRAMES` frames in a row were below it.
  """

  def __init__(self, threshold: float) -> None:
    """Begin without an event.

    Args:
      threshold: the score from which on a frame is abnormal.
    """
    self.threshold = threshold
    self.is_open = False
    self._above = 0  # frames in a row
    self._below = 0
    self._event: EventChange | None = None

  def add(self, frame: int, score: float) -> EventChange | None:
    """Take the score of the next frame and return what it changes.

    Args:
      frame: its index.
      score: its score.
    """
    if score >= self.threshold:
      self._extend(frame, score)
      if not self.is_open and self._above >= START_FRAMES:
        self.is_open = True
        return self._event
      return None
    self._above = 0
    self._below += 1
    if not self.is_open:
      self._event = None
    elif self._below >= END_FRAMES:
      return self.end()
    return None

  def end(self) -> EventChange | None:
    """End the open event, if there is one, since the stream ends or is broken."""
    ended = None
    if self.is_open:
      ended = self._event._replace(kind='end')
    self.is_open = False
    self._above = self._below = 0
    self._event = None
    return ended

  def _extend(self, frame, score):
    self._above += 1
    self._below = 0
    if self._event is None:
      self._event = EventChange('start', frame, frame, frame, score)
      return
    self._event = self._event._replace(last_frame=frame)
    if score > self._event.peak_score:
      self._event = self._event._replace(peak_frame=frame, peak_score=score)


def count_events(scores: np.ndarray, threshold: float) -> int:
  """Return how many events an `EventDetector` starts in the scores of one video."""
  is_above = np.asarray(scores) >= threshold
  edges = np.flatnonzero(np.diff(np.r_[False, is_above, False]))
  events = 0
  is_open = False
  last_end = 0
  for start, end in edges.reshape(-1, 2).tolist():  # frames in a row at or above the threshold
    is_open = is_open and start - last_end < END_FRAMES
    if not is_open and end - start >= START_FRAMES:
      is_open = True
      events += 1
    last_end = end
  return events


def rate_text(expected: Mapping[str, Any]) -> str:
  """Return the expected events per hour with their interval, in words.

  Args:
    expected: `stream.expected` of a bundle's `detector.json`.
  """
  low, high = _figure(expected['low']), _figure(expected['high'])
  return f'{_figure(expected["per_hour"], 3)} per hour (95 %: {low} to {high})'


def duration_text(hours: float) -> str:
  """Return a duration in hours, or in minutes if it is less than one hour."""
  return f'{_figure(hours, 3)} h' if hours >= 1 else f'{_figure(60 * hours)} min'


def _figure(value: float, digits: int = 2) -> str:
  """Return a number with few digits, but not by powers of ten."""
  return f'{value:.{digits}g}' if value < 10**digits - 0.5 else f'{value:.0f}'
