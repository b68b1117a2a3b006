"""Abnormal events: peaks of the score that stand out, as intervals of frames, and how they match the true ones."""

from typing import NamedTuple

import numpy as np

from a3dcae_jax.scoring.persistence import maxima

MATCHING_RULE = (
  'a true event (a run of abnormal frames) is found if a detected interval shares a frame with it; a detected interval that shares '
  'none with any is a false alarm'
)


class EventCounts(NamedTuple):
  """true_events, found (true positives), detected, false_alarms: counts. delays_frames: of each found event."""

  true_events: int
  found: int
  detected: int
  false_alarms: int
  delays_frames: tuple


def detect_events(scores, *, threshold, persistence, window_frames, merge_frames=50):
  """Intervals [(start, end), ...] of one video, end exclusive.

  Every local maximum of at least `threshold` whose persistence is at least `persistence` spans the `window_frames` frames
  around it; intervals less than `merge_frames` frames apart are one event.

  Source: Sun et al. 2021, sec. III-D and IV-E7, after Hasan et al. 2016.
  """
  scores = np.asarray(scores, np.float64)
  found = maxima(scores)
  peaks = found.position[(found.persistence >= persistence) & (scores[found.position] >= threshold)]
  events = []
  for peak in peaks:
    start, end = (
      max(int(peak) - window_frames // 2, 0),
      min(int(peak) + (window_frames + 1) // 2, len(scores)),
    )
    end = max(end, start + 1)
    if events and start - events[-1][1] < merge_frames:
      events[-1] = (events[-1][0], max(end, events[-1][1]))
    else:
      events.append((start, end))
  return events


def true_events(labels):
  """Runs of ones as [(start, end), ...], end exclusive."""
  edges = np.diff(np.r_[0, np.asarray(labels, np.int8), 0])
  return [
    (int(a), int(b))
    for a, b in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True)
  ]


def match_events(detected, labels):
  """`EventCounts` of a set of videos by `MATCHING_RULE`.

  A found event's delay is how many of its frames pass before the first interval that shares a frame with it begins (0 if that began before it).

  Args: detected: list of [(start, end), ...]. labels: list of 0/1 [N_v].
  """
  truths = found = false_alarms = 0
  delays = []
  for intervals, video_labels in zip(detected, labels, strict=True):
    truth = true_events(video_labels)
    truths += len(truth)
    for start, end in truth:
      hits = [a for a, b in intervals if a < end and b > start]
      found += bool(hits)
      delays += [max(min(hits) - start, 0)] if hits else []
    false_alarms += sum(
      not any(a < end and b > start for start, end in truth) for a, b in intervals
    )
  return EventCounts(truths, found, sum(map(len, detected)), false_alarms, tuple(delays))


def event_metrics(scores, labels, detected, *, threshold, frames_per_s):
  """Table X's counts, delays, false alarms an hour of test video, and frame-wise precision and recall of score >= threshold; a dict for JSON."""
  hours = sum(map(len, scores)) / frames_per_s / 3600
  result = {'detected': sum(map(len, detected)), 'threshold': threshold}
  if labels is None:
    return result
  counts = match_events(detected, labels)
  above, truth = np.concatenate(scores) >= threshold, np.concatenate(labels).astype(bool)
  hits = int((above & truth).sum())
  return result | {
    'true_events': counts.true_events,
    'true_positives': counts.found,
    'false_alarms': counts.false_alarms,
    'false_alarms_per_hour': counts.false_alarms / hours,
    'median_delay_s': float(np.median(counts.delays_frames)) / frames_per_s
    if counts.found
    else None,
    'frame_precision': hits / int(above.sum()) if above.any() else None,
    'frame_recall': hits / int(truth.sum()) if truth.any() else None,
    'matching_rule': MATCHING_RULE,
  }
