"""Streams scored by whole frames: which windows are complete, and their errors."""

import functools
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.serving.bundle import Bundle
from a3dcae_jax.serving.side_by_side import batch_map
from a3dcae_jax.serving.video import FrameError, cut_windows

BLOCK_PX = 8
"""Side of the squares of a frame whose mean error is kept, in pixels."""

_BATCH_SIZES = (16, 4, 1)  # of windows; each is compiled once, when it is first needed
_CPU_BATCH_SIZES = (1,)  # CPUs compute windows side by side instead


class Window(NamedTuple):
  """A complete window of a stream.

  Attributes:
    frames: int [T], indices in the stream.
    keep: bool [T], whether each of them counts.
    clip: uint8 [T, H, W].
  """

  frames: np.ndarray
  keep: np.ndarray
  clip: np.ndarray


class FrameStream:
  """The frames of one stream that still wait for windows.

  Windows begin every `step` frames, as `video.cut_windows` places them. Its last window, which ends
  with the video, is known only at the end of a stream. With `step_frames` 0 it counts for frames
  that no window has, so nothing changes. Otherwise it counts for all its frames that have no score
  yet.
  """

  def __init__(self, bundle: Bundle) -> None:
    """Begin a stream."""
    self._window = bundle.window
    self._stride = bundle.stride
    self._step = bundle.manifest['calibration']['step_frames']
    # With fewer frames than this, a video takes a smaller stride.
    self._full = self._window * self._stride
    self._recent = np.zeros((self._full, bundle.height, bundle.width), np.uint8)
    self._count = 0
    self._next = 0  # the first frame without an error
    self._sums = deque()  # of errors, heat and windows of each frame from `_next` on
    self.complete: list[Window] = []
    self.skipped = 0  # frames without a score, since the stream ended before its first window

  def add(self, frame: np.ndarray) -> None:
    """Take the next frame, uint8 [H, W], and cut the windows that it completes."""
    self._recent[self._count % self._full] = frame
    self._count += 1
    self._sums.append([0.0, 0.0, 0])
    if self._count == self._full:
      for phase in range(self._stride):
        self._cut(phase, 0)
    elif self._count > self._full:
      index, phase = divmod(self._count - 1, self._stride)
      start = index - self._window + 1
      if start % (self._step or self._window) == 0:
        self._cut(phase, start)

  def end(self) -> None:
    """Cut the windows that end with the stream."""
    if self._count < self._window:
      self.skipped = self._count
      self._sums.clear()
    elif self._count < self._full:
      rows, keep = cut_windows(
        self._count, window=self._window, step=self._step, stride=self._stride
      )
      for window_rows, window_keep in zip(rows, keep, strict=True):
        self._queue(window_rows, window_keep)
    else:
      for phase in range(self._stride):
        self._cut_last(phase)

  def put(self, window: Window, errors: np.ndarray, heat: np.ndarray) -> None:
    """Add the errors of a window.

    Args:
      window: from `complete`.
      errors: [T].
      heat: [T, h, w].
    """
    for frame, counts, error, squares in zip(*window[:2], errors, heat, strict=True):
      if counts and frame >= self._next:
        sums = self._sums[frame - self._next]
        sums[0] += float(error)
        sums[1] = sums[1] + squares
        sums[2] += 1

  def errors(self, ended: bool) -> Iterator[FrameError]:
    """Yield the errors of the next frames, as far as they are final.

    Args:
      ended: whether the stream has ended.
    """
    while self._sums:
      error, heat, count = self._sums[0]
      if not count or (count < self._expected(self._next) and not ended):
        return
      self._sums.popleft()
      self._next += 1
      yield FrameError(error / count, heat / count, None)

  def _expected(self, frame: int) -> int:
    """Return how many windows keep a frame, without the last of the stream."""
    step = self._step or self._window
    index = frame // self._stride
    first = max(0, -((self._window - 1 - index) // step))  # rounded up
    return index // step - first + 1

  def _cut(self, phase: int, start: int) -> None:
    positions = start + np.arange(self._window)
    self._queue(phase + self._stride * positions, np.ones(self._window, bool))

  def _cut_last(self, phase: int) -> None:
    """Cut the window that ends with the stream, unless it was cut already."""
    step = self._step or self._window
    start = len(range(phase, self._count, self._stride)) - self._window
    if start % step:
      positions = start + np.arange(self._window)
      is_new = positions >= start // step * step + step
      self._queue(phase + self._stride * positions, is_new | bool(self._step))

  def _queue(self, rows: np.ndarray, keep: np.ndarray) -> None:
    self.complete.append(Window(rows, keep, self._recent[rows % self._full]))


class FrameProgram:
  """Computes the errors of windows of any stream.

  Args:
    bundle: of whole frames.
  """

  def __init__(self, bundle: Bundle) -> None:
    self._bundle = bundle
    calibration = bundle.manifest['calibration']
    self._position_mean = 1.0
    if calibration['per_position']:
      self._position_mean = np.asarray(calibration['position_mean'])
    self._squares = jax.jit(_mean_of_squares)
    self._sizes = _CPU_BATCH_SIZES if jax.default_backend() == 'cpu' else _BATCH_SIZES
    self._map = batch_map()

  def warm_up(self) -> None:
    """Compile the batches that any number of streams needs."""
    shape = (self._bundle.window, self._bundle.height, self._bundle.width)
    for size in self._sizes:
      self._run(np.zeros((size, *shape), np.uint8))

  def run(self, streams: Sequence[FrameStream]) -> None:
    """Give each stream the errors of its complete windows."""
    waiting = []
    for stream in streams:
      waiting += [(stream, window) for window in stream.complete]
      stream.complete = []
    ends = np.cumsum(batch_sizes(len(waiting), self._sizes))[:-1]
    clips = np.split(np.stack([window.clip for _, window in waiting]), ends) if waiting else []
    start = 0
    for errors, heat in self._map(self._run, clips):
      for window_errors, squares in zip(errors, heat, strict=True):
        stream, window = waiting[start]
        stream.put(window, window_errors, squares)
        start += 1

  def _run(self, clips):
    """Return errors [B, T] and heat [B, T, h, w], both float64."""
    errors, maps = self._bundle(clips)
    errors, heat = jax.device_get((errors, self._squares(maps)))
    if not np.isfinite(errors).all():
      raise UserError(
        f'{self._bundle.folder}: an error is not finite: the detector is damaged; export it again'
      )
    by_position = np.reshape(self._position_mean, (-1, 1, 1))
    return np.asarray(errors, np.float64) / self._position_mean, heat / by_position


def batch_sizes(count: int, sizes: Sequence[int]) -> list[int]:
  """Return the sizes of full batches for a number of windows.

  Args:
    count: number of windows.
    sizes: possible sizes, the largest first and 1 last.
  """
  chosen = []
  for size in sizes:
    chosen += [size] * (count // size)
    count %= size
  return chosen


def _mean_of_squares(maps):
  """Return the mean of each square: [B, T, H, W] -> [B, T, h, w].

  Squares at the right and lower edge may be smaller.
  """
  window = (1, 1, BLOCK_PX, BLOCK_PX)
  padding = [(0, 0), (0, 0), *((0, -size % BLOCK_PX) for size in maps.shape[2:])]
  add = functools.partial(
    jax.lax.reduce_window,
    init_value=jnp.float32(0),
    computation=jax.lax.add,
    window_dimensions=window,
    window_strides=window,
    padding=padding,
  )
  return add(maps) / add(jnp.ones_like(maps[:1, :1]))
