"""One source under watch: its frames, scores, events, faults and files."""

import datetime
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from a3dcae_jax.serving.stream import FrameScore, StreamScorer
from a3dcae_jax.serving.stream_events import START_FRAMES, EventChange, EventDetector
from a3dcae_jax.watching.capture import STALL_S
from a3dcae_jax.watching.detector import BoxStream
from a3dcae_jax.watching.health import Fault, HealthMonitor
from a3dcae_jax.watching.hours import Thresholds
from a3dcae_jax.watching.masks import Mask
from a3dcae_jax.watching.notify import Message
from a3dcae_jax.watching.output import (
  EVENT_FILES,
  SourceFolder,
  event_line,
  event_prefix,
  utc_text,
)
from a3dcae_jax.watching.overlay import OverlayWriter
from a3dcae_jax.watching.reader import Arrived, Reader
from a3dcae_jax.watching.recorder import Picture, Recorder
from a3dcae_jax.watching.sources import Source

WATCHDOG_S = 3 * STALL_S
"""Seconds without a frame after which the reading thread is given up and a new one begins."""

UPDATE_S = 5.0
"""Seconds between two updates on an event whose score has risen."""


class _Waiting(NamedTuple):
  """A frame, as it waits for its score.

  Attributes:
    index: its number.
    time_s: its time in the source.
    wall_s: when it came, as `time.time()`.
    picture: None without one.
  """

  index: int
  time_s: float
  wall_s: float
  picture: Picture | None


class _Best(NamedTuple):
  """The frame with the highest score of an event."""

  score: float
  frame: int
  box: Any
  picture: Picture | None


class View(Protocol):
  """Shows a source to people."""

  def add(self, scored: FrameScore, picture: Picture | None, wall_s: float) -> None:
    """Take the score of a frame, its picture if it has one, and when the frame came."""
    ...


class Parts(NamedTuple):
  """The parts of a `Watch`.

  Attributes:
    source: what is watched.
    slot: number of its stream in the scorer.
    reader: its thread.
    folder: its results.
    boxes: finds the boxes of objects; None for whole frames.
    health: looks at all frames.
    mask: ignored region; None without one.
    overlay: writes `overlay.mp4`; None without.
    notify: called with each message.
    hours: thresholds by the hour of the day; empty without.
    view: what the page shows of it; None without a page.
  """

  source: Source
  slot: int
  reader: Reader
  folder: SourceFolder
  boxes: BoxStream | None
  health: HealthMonitor
  mask: Mask | None
  overlay: OverlayWriter | None
  notify: Callable[[Message], None]
  hours: Thresholds
  view: View | None = None


class Watch:
  """Takes frames and scores of one source and writes its events and faults.

  Attributes:
    source: what is watched.
    slot: number of its stream in the scorer.
    reader: its thread.
    folder: its results.
    view: what the page shows of it; None without a page.
    scored: number of frames with a score.
    events: number of abnormal events so far.
    latency_s: longest time from a frame to its score since the last status line.
    latest: the last score; None before the first.
    picture: the last picture; None before the first.
    fault: what is wrong with the source now; '' if nothing is.
  """

  def __init__(
    self, parts: Parts, scorer: StreamScorer, *, threshold: float, frames_per_s: float
  ) -> None:
    """Begin.

    Args:
      parts: what it is made of.
      scorer: scores all sources.
      threshold: the score from which on a frame is abnormal.
      frames_per_s: approximate rate of the source.
    """
    self.source, self.slot, self.reader, self.folder = parts[:4]
    self.view = parts.view
    self._parts = parts
    self._scorer = scorer
    self._detector = EventDetector(threshold)
    self._threshold = threshold
    latency_s = 1.0 + (scorer.latency_frames + START_FRAMES) / frames_per_s
    self._recorder = Recorder(self.folder.path / EVENT_FILES, latency_s)
    self._waiting: deque[_Waiting] = deque()
    self._count = 0
    self._newest: _Waiting | None = None  # the last frame that came
    self._scored_frame: _Waiting | None = None  # the last frame with a score
    self._streamed = 0  # frames since the source was opened
    self._time_offset_s = 0.0
    self._last_time_s = 0.0
    self._open: dict[str, Any] | None = None  # record of the open event
    self._best: _Best | None = None
    self._reported_s = 0.0
    self._fault_ids: dict[str, str] = {}
    self._fault_count = 0
    self.scored = self.events = 0
    self.latency_s = 0.0
    self.latest: FrameScore | None = None
    self.picture: Picture | None = None
    self.fault = ''

  @property
  def latest_s(self) -> float:
    """Time of the last frame with a score, in the source; 0 before the first."""
    return self._scored_frame.time_s if self._scored_frame else 0.0

  @property
  def threshold(self) -> float:
    """The score from which on a frame is abnormal, now."""
    return self._detector.threshold

  @property
  def dropped_files(self) -> int:
    """Number of stills, clips and lines that could not be written."""
    overlay = self._parts.overlay
    return self._recorder.dropped + self.folder.lost + bool(overlay and overlay.has_failed)

  def add(self, arrived: Arrived) -> None:
    """Take the next frame from the queue."""
    if arrived.is_first and self._count:
      self._begin_again()
    captured = arrived.captured
    time_s = captured.time_s + self._time_offset_s
    self._last_time_s = max(self._last_time_s, time_s)
    picture = None
    if captured.picture is not None:
      picture = Picture(self._count, time_s, captured.picture)
      self._recorder.add(picture)
      self.picture = picture
    came = _Waiting(self._count, time_s, arrived.wall_s, picture)
    self._newest = came
    self._end_fault('lost', 'the source is back', came)
    self._end_fault('stalled', 'frames come again', came)
    for fault in self._parts.health.add(captured.frame, captured.size, captured.checksum, time_s):
      self._add_fault(fault, came)
    self._waiting.append(came)
    self._count += 1
    frame = captured.frame
    if self._parts.mask:
      frame = self._parts.mask.covered(frame)
    kept = self._parts.mask.kept if self._parts.mask else None
    self._scorer.add(frame, self._boxes(frame), self.slot, kept)
    self._streamed += 1

  def _boxes(self, frame: np.ndarray) -> np.ndarray | None:
    """Return the boxes of a frame that are scored; None if none are needed."""
    finder = self._parts.boxes
    if finder is None:
      return None
    if self._streamed % self._scorer.bundle.step and not finder.needs_all_frames:
      return np.zeros((0, 4), np.float32)
    boxes = finder.detect(frame)
    return boxes[self._parts.mask.kept(boxes)] if self._parts.mask else boxes

  def put(self, scored: FrameScore) -> None:
    """Take the score of the next frame that waits."""
    frame = self._waiting.popleft()
    self.scored += 1
    self.latest = scored
    self._scored_frame = frame
    self.latency_s = max(self.latency_s, time.time() - frame.wall_s)
    score = scored.score if not self.fault else -np.inf  # a fault has its own message
    if self._parts.hours:
      hour = time.localtime(frame.wall_s).tm_hour
      self._detector.threshold = self._parts.hours.get(hour, self._threshold)
    change = self._detector.add(frame.index, score)
    self._follow(scored, frame)
    if change:
      self._change_event(change, frame)
    elif self._open and score >= self.threshold:
      self._update_event(frame)
    event = self._open['id'] if self._open else ''
    time_s = frame.wall_s if self.source.is_live else frame.time_s
    self.folder.scores.add(f'{frame.index},{time_s:.3f},{scored.score:.6g},{event}')
    if self._parts.overlay:
      self._parts.overlay.add(scored, frame.picture, self.threshold)
    if self.view:
      self.view.add(scored, frame.picture, frame.wall_s)

  def check(self) -> None:
    """Start the fault of a live source that is lost or has stalled."""
    if not self.source.is_live:
      return
    silent_s = time.monotonic() - self.reader.last_frame_s
    if self.reader.error:
      if 'lost' not in self._fault_ids and not self.reader.waiting:
        self._flush()  # the last frames get their scores before the fault starts
      self._end_fault('stalled', 'the source is lost')
      self._start_fault('lost', f'the source is lost: {self.reader.error}')
    elif silent_s > STALL_S:
      self._start_fault('stalled', f'no frame has come for {silent_s:.0f} s')
    if silent_s > WATCHDOG_S and not self.reader.error:
      self.reader.restart()

  def end(self, is_stopped: bool) -> dict[str, Any] | None:
    """Score what waits, end the open event and close all files.

    Args:
      is_stopped: whether the detector stops before the source has ended.

    Returns:
      The summary; None for a source that was not watched to its end.
    """
    self.reader.stop()
    self._flush()
    self._recorder.close()
    overlay = self._parts.overlay
    if overlay:
      overlay.close()
    summary = None
    if self.reader.error and not self.source.is_live:
      self._start_fault('lost', self.reader.error)
    elif not is_stopped and not self.source.is_live:
      summary = {'frames': self._count, 'scored': self.scored, 'events': self.events}
    self.folder.close(summary)
    return summary

  def _begin_again(self) -> None:
    """End the stream of scores, since the source was opened again."""
    self._flush()
    self._parts.health.restart()
    self._time_offset_s = self._last_time_s + 1.0

  def _flush(self) -> None:
    for scored in self._scorer.flush(self.slot):
      self.put(scored)
    self._waiting.clear()  # too few for a window
    self._streamed = 0
    change = self._detector.end()
    if change:
      self._change_event(change, self._scored_frame)
    self._recorder.end_clip()

  def _follow(self, scored: FrameScore, frame: _Waiting) -> None:
    """Remember the abnormal frame with the highest score so far."""
    if scored.score < self.threshold:
      if not self._detector.is_open and not self._open:
        self._best = None
    elif self._best is None or scored.score > self._best.score:
      picture = self._recorder.nearest(frame.index)
      self._best = _Best(scored.score, frame.index, scored.box, picture)

  def _change_event(self, change: EventChange, frame: _Waiting) -> None:
    """Record the start or the end of an event, which the score of a frame decides."""
    if change.kind == 'start':
      self.events += 1
      stamp = f'{change.first_frame}'
      if self.source.is_live:
        now = datetime.datetime.fromtimestamp(frame.wall_s, datetime.UTC)
        stamp = now.strftime('%Y%m%dT%H%M%S.%f')[:-3] + 'Z'
      self._open = {'id': event_prefix(self.source.name) + stamp}
      self._recorder.start_clip(self._open['id'])
    else:
      self._recorder.end_clip_soon(self._last_time_s)
    self._open |= change._asdict()
    self._report_event(change.kind, frame)
    if change.kind == 'end':
      self._open = self._best = None

  def _update_event(self, frame: _Waiting) -> None:
    """Report that the score of an open event has risen, every `UPDATE_S` at most."""
    score, index = self._best.score, self._best.frame
    has_risen = score > self._open['peak_score']
    if has_risen and frame.time_s - self._reported_s >= UPDATE_S:
      self._open |= {'last_frame': frame.index, 'peak_frame': index, 'peak_score': score}
      self._report_event('update', frame)

  def _report_event(self, kind: str, frame: _Waiting) -> None:
    self._reported_s = frame.time_s
    box = self._best.box
    record = self._record('abnormal', kind, self._open['id'], frame)
    record |= {key: self._open[key] for key in EventChange._fields[1:]}
    record['threshold'] = self.threshold
    record['box'] = [round(share, 4) for share in box] if box else None
    record['still'] = f'{EVENT_FILES}/{self._open["id"]}.jpg'
    record['clip'] = f'{EVENT_FILES}/{self._open["id"]}.mp4'
    record['message'] = f'abnormal, score {record["peak_score"]:.1f}'
    still = self._recorder.write_still(self._open['id'], self._best.picture, box)
    self._write(record, still)

  def _add_fault(self, fault: Fault, frame: _Waiting) -> None:
    if fault.kind == 'size':
      self._write(self._record('size', 'notice', self._new_id('size'), frame, fault.message))
    elif fault.is_start:
      self._start_fault(fault.kind, fault.message, frame)
    else:
      self._end_fault(fault.kind, fault.message, frame)

  def _start_fault(self, kind: str, message: str, frame: _Waiting | None = None) -> None:
    if kind in self._fault_ids:
      return
    self._fault_ids[kind] = self._new_id(kind)
    self.fault = kind
    self._write(self._record(kind, 'start', self._fault_ids[kind], frame, message))

  def _end_fault(self, kind: str, message: str, frame: _Waiting | None = None) -> None:
    if kind not in self._fault_ids:
      return
    self._write(self._record(kind, 'end', self._fault_ids.pop(kind), frame, message))
    self.fault = next(iter(self._fault_ids), '')

  def _new_id(self, kind: str) -> str:
    self._fault_count += 1
    stamp = f'{self._fault_count}'
    if self.source.is_live:
      stamp = datetime.datetime.now(datetime.UTC).strftime('%Y%m%dT%H%M%SZ') + f'-{stamp}'
    return f'{self.source.name}-{kind}-{stamp}'.replace('/', '-')

  def _record(
    self, kind: str, change: str, name: str, frame: _Waiting | None, message: str = ''
  ) -> dict[str, Any]:
    """Return a message.

    Args:
      kind: 'abnormal', or that of a fault.
      change: 'start', 'update', 'end' or 'notice'.
      name: `id` of the event.
      frame: the frame that shows it, whose time and number the message has. None where frames
        are missing: then it has the number of the last one that came, and the time is now.
      message: in words.
    """
    last = frame or self._newest
    return {
      'type': change,
      'kind': kind,
      'id': name,
      'source': self.source.name,
      'time': utc_text(frame.wall_s if frame else time.time()),
      'frame': last.index if last else 0,
      'time_s': round(last.time_s if last else 0.0, 3),
      'message': message,
    }

  def _write(self, record: dict[str, Any], still: bytes = b'') -> None:
    self.folder.events.add(event_line(record))
    if self.source.is_live or record['kind'] != 'lost':  # a damaged file has an error line
      print(f'{self.source.name}: {record["type"]} of {_words(record)}', flush=True)
    self._parts.notify(Message(record, still))


def _words(record: dict[str, Any]) -> str:
  if record['kind'] != 'abnormal':
    return f'{record["kind"]}: {record["message"]}'
  return (
    f'event {record["id"]} at {record["time_s"]:.1f} s, frame {record["frame"]}, '
    f'highest score {record["peak_score"]:.1f}'
  )
