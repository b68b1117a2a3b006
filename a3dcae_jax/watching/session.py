"""The loop of `detect`: all sources are read, scored and looked after."""

import contextlib
import functools
import pathlib
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.serving.bundle import Bundle, load_bundle
from a3dcae_jax.serving.object_bundle import ObjectBundle
from a3dcae_jax.serving.stream import FrameScore, StreamScorer, stream_threshold
from a3dcae_jax.serving.stream_events import duration_text, rate_text
from a3dcae_jax.watching.capture import Captured, Format, capture
from a3dcae_jax.watching.detector import (
  BoxFinder,
  error_scale,
  frames_per_s,
  make_box_finder,
  mean_images,
)
from a3dcae_jax.watching.health import HealthMonitor, why_not_compared
from a3dcae_jax.watching.hours import Thresholds, read_hours
from a3dcae_jax.watching.masks import make_mask, read_masks
from a3dcae_jax.watching.notify import Message, Notifier
from a3dcae_jax.watching.output import (
  Printed,
  SourceFolder,
  claim_folder,
  is_finished,
  overlay_path,
)
from a3dcae_jax.watching.overlay import OverlayWriter
from a3dcae_jax.watching.page.feed import Feed
from a3dcae_jax.watching.page.feedback import (
  FEEDBACK,
  Feedback,
  Mark,
  other_events,
  raised_threshold,
  read_marks,
)
from a3dcae_jax.watching.page.server import PageServer
from a3dcae_jax.watching.reader import Reader
from a3dcae_jax.watching.sources import Source
from a3dcae_jax.watching.status import StatusLines, end_line, raised_line
from a3dcae_jax.watching.watch import Parts, Watch

FILES_AT_ONCE = 2
"""Files of an archive that are read at the same time, so that decoding never waits for one disk."""

FIRST_SCORE = 'first score'
"""Begins the line that is printed with the first score of all sources."""

_TAKEN_FRAMES = 16  # taken from each source between two runs of the program
_FLUSH_S = 1.0  # a killed process loses the lines of this time
_IDLE_S = 0.2
_NAMED = 10  # sources in one line
_REMOVE_S = 3600.0
_GATHER_S = 0.01  # in which frames of other cameras come, to be taken in the same round


class Options(NamedTuple):
  """The options of `detect`.

  Attributes:
    out: folder of the results.
    detector: file of the detector of boxes; '' if the bundle needs none.
    threshold: score from which on a frame is abnormal; None for that of the bundle.
    hours: see `hours.read_hours`.
    drops: whether frames that come too fast are dropped; None: those of live sources.
    overlay: whether to write `overlay.mp4`.
    masks: see `masks.read_masks`.
    raw: width and height of raw frames in a pipe; None if the pipe is a video.
    keep_days: days after which stills and clips of live sources are removed; 0: never.
    until_s: seconds after which to end; 0: never.
    status_s: seconds between two status lines.
    feedback: whether to raise thresholds above the events that were marked as normal.
  """

  out: pathlib.Path
  detector: str = ''
  threshold: float | None = None
  hours: Sequence[str] = ()
  drops: bool | None = None
  overlay: bool = False
  masks: Sequence[str] = ()
  raw: tuple[int, int] | None = None
  keep_days: float = 0.0
  until_s: float = 0.0
  status_s: float = 5.0
  feedback: bool = False


def detect(
  folder: str,
  sources: Sequence[Source],
  options: Options,
  notifiers: Sequence[Notifier] = (),
  page: PageServer | None = None,
) -> int:
  """Watch sources until they end, a time is over or a signal comes.

  Args:
    folder: folder of the bundle.
    sources: what to watch. Live sources are watched all at once.
    options: see `Options`.
    notifiers: get all messages.
    page: shows everything in browsers.

  Returns:
    The number of sources that could not be watched to their end, or whose scores are not whole.

  Raises:
    UserError: if the bundle, the folder of the results or a mask cannot be used.
    BrokenPipeError: if it ended since nobody reads standard output any more.
  """
  bundle = load_bundle(folder)
  finder = make_box_finder(bundle, options.detector)
  masks = read_masks(options.masks, sources)
  session = Session(bundle, options, finder, masks, notifiers)
  session.hours = read_hours(options.hours, sources, bundle)
  claim_folder(options.out)
  printed = Printed(session.stop)
  with printed.redirected():
    print(session.begin_line(), flush=True)
    if page:
      session.feed = start_page(page, bundle, sources, options.out, session.marks)
    try:
      with _stopped_by_signals(session.stop):
        session.run(sources)
    finally:
      session.close()
      for notifier in notifiers:
        notifier.close()
      if page:
        page.close()
  if printed.has_no_reader:
    raise BrokenPipeError
  return session.failed


def start_page(
  page: PageServer,
  bundle: Bundle | ObjectBundle,
  sources: Sequence[Source],
  out: pathlib.Path,
  marks: dict[str, Mark] | None = None,
) -> Feed:
  """Serve the page and return what it shows; events of earlier calls are in it.

  Args:
    page: the server.
    bundle: the detector.
    sources: what is watched.
    out: folder of the results.
    marks: of events, if they were read already.
  """
  from a3dcae_jax.watching.page.app import make_app  # its packages are in an extra

  feed = Feed(out, error_scale(bundle))
  feed.load(sources)
  feedback = Feedback(out, bundle.manifest['sha256'], marks)
  page.start(functools.partial(make_app, feed, feedback))
  return feed


class Session:
  """All sources, and the one scorer that they share.

  Attributes:
    failed: number of sources that could not be watched to their end, or whose scores are not whole.
    watches: the sources that are watched now.
    hours: name of a source -> its thresholds by the hour of the day.
    ended: whether to stop.
    marks: feedback on events; None if it does not count.
    feed: what a page shows; None without one.
  """

  def __init__(
    self,
    bundle: Bundle | ObjectBundle,
    options: Options,
    finder: BoxFinder | None,
    masks: Mapping[str, np.ndarray],
    notifiers: Sequence[Notifier],
  ) -> None:
    """Begin without a source.

    Args:
      bundle: the detector.
      options: see `Options`.
      finder: finds boxes; None for whole frames.
      masks: name of a source -> its ignored region.
      notifiers: get all messages.

    Raises:
      UserError: if the bundle has no threshold for streams.
    """
    self._bundle = bundle
    self._sha256 = bundle.manifest['sha256']
    self._options = options
    self._finder = finder
    self._masks = masks
    self._notifiers = notifiers
    self._frames_per_s = frames_per_s(bundle)
    self._references = mean_images(bundle)
    self._threshold = stream_threshold(bundle)
    if options.threshold is not None:
      self._threshold = options.threshold
    self.marks = read_marks(options.out) if options.feedback else None
    self._wake = threading.Event()
    self._status = StatusLines(options.status_s)
    self.watches: dict[int, Watch] = {}
    self.failed = 0
    self._has_score = False
    self._removed_s = -np.inf
    self.ended = threading.Event()
    self.hours: dict[str, Thresholds] = {}
    self.feed: Feed | None = None

  def begin_line(self) -> str:
    """Return a line on the threshold and the expected rate of alarms."""
    line = f'{self._bundle.folder}: threshold {self._threshold:.3f}'
    expected = self._bundle.manifest['stream'].get('expected')
    if self._options.threshold is not None or not expected:
      return line
    return (
      f'{line}; expected events of normal video: {rate_text(expected)}, by '
      f'{duration_text(expected["hours"])} of video'
    )

  def stop(self) -> None:
    """Ask the loop to end after its present round."""
    self.ended.set()
    self._wake.set()

  def run(self, sources: Sequence[Source]) -> None:
    """Take frames, score them and look after the sources until there are none.

    Args:
      sources: the sources; finished ones are skipped.
    """
    self._say_if_no_marks()
    self._say_if_not_compared(sources)
    self._begin_all(sources)
    start_s = flushed_s = time.monotonic()
    while self.watches and not self.ended.is_set():
      self._wake.clear()
      taken = self._take()
      self._score()
      now_s = time.monotonic()
      if now_s - flushed_s >= _FLUSH_S:
        flushed_s = now_s
        self._look_after()
      self._end_finished()
      if self._options.until_s and now_s - start_s >= self._options.until_s:
        self.stop()
      if taken < _TAKEN_FRAMES:
        self._wake.wait(_IDLE_S)
        self.ended.wait(_GATHER_S)

  def close(self) -> None:
    """End all sources that are still watched."""
    self.ended.set()
    for slot in list(self.watches):
      self._end(slot)

  def frames(self, source: Source) -> Iterator[Captured]:
    """Open a source and yield its frames."""
    bundle = self._bundle
    wanted = Format(bundle.height, bundle.width, self._frames_per_s, self._options.raw)
    return capture(source, wanted)

  def put(self, scored: FrameScore) -> None:
    """Give a score to its source."""
    watch = self.watches[scored.stream]
    watch.put(scored)
    if not self._has_score:
      self._has_score = True
      print(f'{FIRST_SCORE}: {watch.source.name}, {scored.score:.2f}', flush=True)

  def _say_if_no_marks(self) -> None:
    """Print that `--feedback` changes nothing, if no mark counts for this bundle."""
    counts = any(
      mark.is_normal and mark.bundle == self._sha256 for mark in (self.marks or {}).values()
    )
    if self._options.feedback and not counts:
      path = self._options.out / FEEDBACK
      print(f'--feedback: no event of this bundle is marked as normal in {path}', flush=True)

  def _say_if_not_compared(self, sources: Sequence[Source]) -> None:
    """Print for which sources covered and moved cameras are not found, and why."""
    reason = why_not_compared(self._references)
    if reason:
      names = ', '.join(source.name for source in sources[:_NAMED])
      more = f' and {len(sources) - _NAMED} more' if len(sources) > _NAMED else ''
      print(f'{names}{more}: covered and moved cameras are not found, since {reason}', flush=True)

  def _begin_all(self, sources: Sequence[Source]) -> None:
    """Compile the program and open the first sources: all live ones, and some files."""
    out = self._options.out
    waiting = [source for source in sources if not is_finished(out, source, self._identity(source))]
    self._is_single = len(sources) == 1
    if len(waiting) < len(sources):
      print(f'{len(sources) - len(waiting)} of {len(sources)} sources are finished already')
    live = sum(source.is_live for source in waiting)
    slots = live + min(FILES_AT_ONCE, len(waiting) - live)
    self._waiting = deque(sorted(waiting, key=lambda source: not source.is_live))
    self._free = list(range(slots))[::-1]
    if slots:
      self._scorer = StreamScorer(self._bundle, slots)
      self._scorer.warm_up()
      self._fill_slots()

  def _raised(self, source: Source, threshold: float) -> tuple[float, int]:
    """Return a threshold as feedback raises it, and how many events did so."""
    return raised_threshold(self.marks or {}, source.name, threshold, self._sha256)

  def _thresholds_by_hour(self, source: Source) -> Thresholds:
    """Return the thresholds of a source by the hour of the day; empty without."""
    return {
      hour: self._raised(source, threshold)[0]
      for hour, threshold in self.hours.get(source.name, {}).items()
    }

  def _identity(self, source: Source) -> dict[str, Any]:
    """Return what the results of a source depend on."""
    return {'bundle': self._sha256, 'threshold': self._raised(source, self._threshold)[0]}

  def _take(self) -> int:
    """Give waiting frames to the scorer and return how many there were."""
    taken = 0
    for watch in self.watches.values():
      for arrived in watch.reader.take(_TAKEN_FRAMES):
        watch.add(arrived)
        taken += 1
    return taken

  def _score(self) -> None:
    for scored in self._scorer.scores():
      self.put(scored)

  def _look_after(self) -> None:
    self._remove_old()
    for watch in self.watches.values():
      watch.check()
      watch.folder.scores.flush()
      watch.folder.events.flush()
    if self.feed:
      self.feed.measure(self.watches.values())
    self._status.print(self.watches.values())

  def _remove_old(self) -> None:
    """Remove old stills and clips, once an hour."""
    now_s = time.monotonic()
    if not self._options.keep_days or now_s - self._removed_s < _REMOVE_S:
      return
    self._removed_s = now_s
    for watch in self.watches.values():
      if watch.source.is_live:
        watch.folder.remove_old(self._options.keep_days)

  def _end_finished(self) -> None:
    for slot, watch in list(self.watches.items()):
      if watch.reader.is_done and not watch.reader.waiting:
        self._end(slot)
    self._fill_slots()

  def _end(self, slot: int) -> None:
    watch = self.watches[slot]
    is_over = watch.reader.is_done and not watch.reader.waiting
    watch.end(is_stopped=not is_over)
    if self.feed:
      self.feed.end(watch)
    del self.watches[slot]
    self._free.append(slot)
    if watch.reader.error and not watch.source.is_live:
      self.failed += 1
      print(f'error: {watch.reader.error}; {end_line(watch)}', file=sys.stderr, flush=True)
    else:
      self.failed += bool(watch.folder.lost)
      print(end_line(watch), flush=True)

  def _fill_slots(self) -> None:
    """Begin to watch waiting sources."""
    while self._free and self._waiting and not self.ended.is_set():
      source = self._waiting.popleft()
      try:
        watch = self._begin(source, self._free[-1])
      except UserError as error:
        if self._is_single:
          raise
        self.failed += 1
        print(f'error: {error}', file=sys.stderr, flush=True)
        continue
      self.watches[self._free.pop()] = watch

  def _begin(self, source: Source, slot: int) -> Watch:
    options = self._options
    bundle = self._bundle
    threshold, raising = self._raised(source, self._threshold)
    if raising:
      others = other_events(options.out, source.name, self.marks)
      print(raised_line(source, threshold, raising, others), flush=True)
    folder = SourceFolder(options.out, source, self._identity(source))
    ignored = self._masks.get(source.name)
    mask = None
    if ignored is not None:
      reference = None if self._references is None else self._references[0]
      mask = make_mask(ignored, bundle.height, bundle.width, reference)
    overlay = None
    if options.overlay:
      path = overlay_path(folder.path, source)
      overlay = OverlayWriter(path, error_scale(bundle), is_live=source.is_live)
    reader = Reader(
      source,
      self._wake,
      frames=functools.partial(self.frames, source),
      drops=options.drops,
    )
    parts = Parts(
      source=source,
      slot=slot,
      reader=reader,
      folder=folder,
      boxes=self._finder.stream() if self._finder else None,
      health=HealthMonitor(self._references),
      mask=mask,
      overlay=overlay,
      notify=self._notify,
      hours=self._thresholds_by_hour(source),
      view=self.feed.begin(source, threshold) if self.feed else None,
    )
    return Watch(parts, self._scorer, threshold=threshold, frames_per_s=self._frames_per_s)

  def _notify(self, message: Message) -> None:
    for notifier in self._notifiers:
      notifier.add(message)
    if self.feed:
      self.feed.add(message)


@contextlib.contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
  """Call `stop` at SIGTERM or Ctrl-C; a second Ctrl-C ends the process at once."""

  def handle(number: int, frame: Any) -> None:
    del number, frame
    print('ending: open clips are being written', file=sys.stderr, flush=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stop()

  if threading.current_thread() is not threading.main_thread():  # as in tests
    yield
    return
  before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
