"""The thread that reads one source into a queue, and opens it when it breaks."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from a3dcae_jax.watching.capture import Captured, SourceError
from a3dcae_jax.watching.sources import Source

QUEUE_FRAMES = 64
FIRST_WAIT_S = 1.0
"""Seconds before a broken source is opened again; doubled each time it fails."""

LONGEST_WAIT_S = 60.0


class Arrived(NamedTuple):
  """A frame in the queue.

  Attributes:
    captured: the frame.
    wall_s: when it came, as `time.time()`.
    is_first: whether the source was opened for it.
  """

  captured: Captured
  wall_s: float
  is_first: bool


class Reader:
  """Reads a source in a thread of its own.

  A live source never waits: the oldest frame in a full queue is dropped, and counted. Any other
  source waits for room in the queue.

  Attributes:
    captured: number of frames that came.
    dropped: number of frames that were dropped.
    opened: how often the source was opened.
    error: why it is lost now, or has ended too early; '' if it is not.
    last_frame_s: when the last frame came or reading began, as `time.monotonic()`.
    is_done: whether no more frames will come.
  """

  def __init__(
    self,
    source: Source,
    wake: threading.Event,
    *,
    frames: Callable[[], Iterator[Captured]],
    drops: bool | None = None,
  ) -> None:
    """Begin to read.

    Args:
      source: the source.
      wake: set when there is something to take.
      frames: opens the source, see `capture.capture`.
      drops: whether frames that come too fast are dropped; by default those of live sources.
    """
    self._source = source
    self._wake = wake
    self._frames = frames
    self._drops = source.is_live if drops is None else drops
    self._queue: deque[Arrived] = deque()
    self._changed = threading.Condition()
    self._stopped = threading.Event()
    self._generation = 0
    self.captured = self.dropped = self.opened = 0
    self.error = ''
    self.is_done = False
    self.restart()

  def restart(self) -> None:
    """Leave a thread that hangs, and read in a new one."""
    with self._changed:
      self._generation += 1
      generation = self._generation
      self.last_frame_s = time.monotonic()
    threading.Thread(
      target=self._read, args=(generation,), daemon=True, name=f'read {self._source.name}'
    ).start()

  def take(self, limit: int) -> list[Arrived]:
    """Return up to `limit` frames of the queue."""
    with self._changed:
      taken = [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]
      self._changed.notify_all()
    return taken

  @property
  def waiting(self) -> int:
    """Number of frames in the queue."""
    return len(self._queue)

  def stop(self) -> None:
    """Read no more."""
    self._stopped.set()
    with self._changed:
      self._changed.notify_all()

  def _read(self, generation: int) -> None:
    """Read until the source ends; a live one is opened again after a failure."""
    wait_s = FIRST_WAIT_S
    while not self._is_over(generation):
      before = self.captured
      error = self._read_once(generation)
      if self._is_over(generation):
        return
      self.error = error
      if not (error and self._source.is_live):
        self.is_done = True
        self._wake.set()
        return
      self._wake.set()
      if self.captured > before:
        wait_s = FIRST_WAIT_S
      self._stopped.wait(wait_s)
      wait_s = min(2 * wait_s, LONGEST_WAIT_S)

  def _read_once(self, generation: int) -> str:
    """Read until the source ends or breaks, and return why it broke."""
    is_first = True
    self.opened += 1
    try:
      for captured in self._frames():
        if not self._put(Arrived(captured, time.time(), is_first), generation):
          return ''
        is_first = False
    except SourceError as error:
      return str(error)
    return ''

  def _put(self, arrived: Arrived, generation: int) -> bool:
    with self._changed:
      while len(self._queue) >= QUEUE_FRAMES and not self._is_over(generation):
        if self._drops:
          oldest = self._queue.popleft()
          self.dropped += 1
          if oldest.is_first and self._queue:
            self._queue[0] = self._queue[0]._replace(is_first=True)
          break
        self._changed.wait(1.0)
      if self._is_over(generation):
        return False
      self._queue.append(arrived)
      self.captured += 1
      self.error = ''
      self.last_frame_s = time.monotonic()
    self._wake.set()
    return True

  def _is_over(self, generation: int) -> bool:
    return self._stopped.is_set() or generation != self._generation
