"""Abnormal events: detected from peaks of the score, matched with the true ones."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.scoring.persistence import maxima

PERSISTENCE = 1.0
"""Lowest persistence of an event, in z-scores."""

WINDOW_FRAMES = 20
"""Frames around a peak that belong to its event."""

MERGE_FRAMES = 50
"""Intervals with fewer frames between them are one event."""

MATCHING_RULE = (
  'a true event (a run of abnormal frames) is found if a detected interval shares a frame with it; '
  'a detected interval that shares none with any is a false alarm'
)

Interval = tuple[int, int]
"""Start and end of an event in frames; the end is exclusive."""


class EventCounts(NamedTuple):
  """Counts over a set of videos.

  Attributes:
    true_events: number of true events.
    found: number of true events that were found (true positives).
    detected: number of detected intervals.
    false_alarms: number of detected intervals that match no true event.
    delays_frames: one for each found event.
  """

  true_events: int
  found: int
  detected: int
  false_alarms: int
  delays_frames: tuple[int, ...]


def detect_events(
  scores: np.ndarray,
  *,
  threshold: float,
  persistence: float = PERSISTENCE,
  window_frames: int = WINDOW_FRAMES,
  merge_frames: int = MERGE_FRAMES,
) -> list[Interval]:
  """Return the events of one video.

  Each local maximum that reaches `threshold`, and whose persistence reaches `persistence`, spans
  the `window_frames` frames around it. Intervals less than `merge_frames` frames apart are one
  event.

  Source: Sun et al. 2021, sec. III-D and IV-E7, after Hasan et al. 2016.
  """
  scores = np.asarray(scores, np.float64)
  pairs = maxima(scores)
  stands_out = pairs.persistence >= persistence
  is_high = scores[pairs.position] >= threshold
  events = []
  peaks = pairs.position[stands_out & is_high]
  before = window_frames // 2
  after = window_frames - before
  for peak in peaks.tolist():
    start = max(peak - before, 0)
    end = min(peak + after, len(scores))
    end = max(end, start + 1)
    if events:
      last_start, last_end = events[-1]
      if start - last_end < merge_frames:
        events.pop()
        start = last_start
        end = max(end, last_end)
    events.append((start, end))
  return events


def true_events(labels: np.ndarray) -> list[Interval]:
  """Return the runs of ones in 0/1 labels [N]."""
  labels = np.asarray(labels, np.int8)
  edges = np.diff(labels, prepend=0, append=0)
  starts = np.flatnonzero(edges == 1).tolist()
  ends = np.flatnonzero(edges == -1).tolist()
  return list(zip(starts, ends, strict=True))


def match_events(
  detected: Sequence[Sequence[Interval]], labels: Sequence[np.ndarray]
) -> EventCounts:
  """Count the matches of a set of videos by `MATCHING_RULE`.

  The delay of a found event is the number of its frames before the start of the first interval
  that shares a frame with it; 0 if that interval began before the event.

  Args:
    detected: the events of each video.
    labels: 0/1 [N_v] of each video.
  """
  true_count = 0
  detected_count = 0
  false_alarms = 0
  delays = []
  for intervals, video_labels in zip(detected, labels, strict=True):
    truth = true_events(video_labels)
    true_count += len(truth)
    detected_count += len(intervals)
    for event in truth:
      event_start, _ = event
      starts = [start for start, end in intervals if _overlap((start, end), event)]
      if starts:
        delay = min(starts) - event_start
        delays.append(max(delay, 0))
    for interval in intervals:
      if not any(_overlap(interval, event) for event in truth):
        false_alarms += 1
  return EventCounts(true_count, len(delays), detected_count, false_alarms, tuple(delays))


def event_metrics(
  scores: Sequence[np.ndarray],
  labels: Sequence[np.ndarray] | None,
  detected: Sequence[Sequence[Interval]],
  *,
  threshold: float,
  frames_per_s: float,
) -> dict[str, Any]:
  """Return the counts of Table X, delays and rates, as a dict for JSON.

  False alarms are per hour of test video. Precision and recall count single frames, which are
  abnormal where score >= threshold. Without labels there are only `detected` and `threshold`.
  """
  result = {'detected': sum(map(len, detected)), 'threshold': threshold}
  if labels is None:
    return result
  counts = match_events(detected, labels)
  hours = sum(map(len, scores)) / frames_per_s / 3600
  median_delay = None
  if counts.found:
    frames = float(np.median(counts.delays_frames))
    median_delay = frames / frames_per_s
  above = np.concatenate(scores) >= threshold
  abnormal = np.concatenate(labels).astype(bool)
  hits = int((above & abnormal).sum())
  above_count = int(above.sum())
  abnormal_count = int(abnormal.sum())
  return result | {
    'true_events': counts.true_events,
    'true_positives': counts.found,
    'false_alarms': counts.false_alarms,
    'false_alarms_per_hour': counts.false_alarms / hours,
    'median_delay_s': median_delay,
    'frame_precision': hits / above_count if above_count else None,
    'frame_recall': hits / abnormal_count if abnormal_count else None,
    'matching_rule': MATCHING_RULE,
  }


def _overlap(first: Interval, second: Interval) -> bool:
  first_start, first_end = first
  second_start, second_end = second
  return first_start < second_end and first_end > second_start
