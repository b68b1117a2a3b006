"""Streams scored by objects: the clips of objects, and the error of each frame."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.serving.object_bundle import ObjectBundle
from a3dcae_jax.serving.object_statistics import RAW_MEASUREMENTS, object_errors, vertical_edges
from a3dcae_jax.serving.side_by_side import batch_map
from a3dcae_jax.serving.video import FrameError, object_rows

_CLIPS = 4  # clips per batch; one where CPUs find the boxes
_BATCH_SIZES = (64, 8)  # objects per batch; only the smaller one is padded


Chooser = Callable[[np.ndarray], np.ndarray]
"""Boxes float32 [M, 4] in pixels of the bundle's frames -> bool [M], which of them count."""


class ObjectClip(NamedTuple):
  """The objects of a frame.

  Attributes:
    clip: uint8 [T, H, W], the frames around it; None without objects.
    corners: float32 [M, 4], boxes in pixels of the clip; None if the bundle finds them.
    kept: which of the boxes that the bundle finds count; None: all.
  """

  clip: np.ndarray | None
  corners: np.ndarray | None
  kept: Chooser | None = None


class ObjectStream:
  """The frames of one stream that still wait for later ones.

  The clip of a frame has it at position T // 2. Beyond the ends of the stream, its first or last
  frame is repeated. Frames 0, step, 2 step, ... are scored.
  """

  def __init__(self, bundle: ObjectBundle) -> None:
    """Begin a stream."""
    self._window = bundle.window
    self._step = bundle.step
    self._later = bundle.window - bundle.window // 2 - 1
    self._recent = np.zeros((bundle.window, bundle.height, bundle.width), np.uint8)
    self._count = 0
    self._boxes = deque()  # boxes of frames without a clip, and which of them count
    self._errors = deque()  # objects of scored frames
    self._last = None  # the objects of the last scored frame
    self._given = 0  # frames whose error was given
    self.complete: list[ObjectClip] = []
    self.skipped = 0  # every frame has a score

  def add(self, frame: np.ndarray, corners: np.ndarray | None, kept: Chooser | None = None) -> None:
    """Take the next frame, uint8 [H, W], and its boxes, as in `ObjectClip`."""
    self._recent[self._count % self._window] = frame
    self._count += 1
    self._boxes.append((corners, kept))
    if len(self._boxes) > self._later:
      self._cut()

  def end(self) -> None:
    """Cut the clips that end with the stream."""
    while self._boxes:
      self._cut()

  def put(self, objects: np.ndarray) -> None:
    """Add the objects of the next scored frame, float64 [M, 5]."""
    self._errors.append(objects)

  def errors(self, ended: bool) -> Iterator[FrameError]:
    """Yield the errors of the next frames; at the end of a stream, those of all."""
    while self._errors:
      objects = self._errors.popleft()
      if self._last is not None:
        yield from self._between(self._last, objects)
      self._last = objects
      self._given += 1
      yield FrameError(_worst(objects), None, objects)
    while ended and self._given < self._count:
      self._given += 1
      yield FrameError(_worst(self._last), None, self._last)

  def _between(self, before: np.ndarray, after: np.ndarray) -> Iterator[FrameError]:
    """Yield the errors of the frames between two scored ones."""
    for position in range(1, self._step):
      share = position / self._step
      error = (1 - share) * _worst(before) + share * _worst(after)
      is_nearer_to_next = position + (self._step - 1) // 2 >= self._step
      self._given += 1
      yield FrameError(error, None, after if is_nearer_to_next else before)

  def _cut(self) -> None:
    """Cut the clip of the first frame that has none, if it is scored."""
    frame = np.asarray([self._count - len(self._boxes)])
    corners, kept = self._boxes.popleft()
    if frame[0] % self._step:
      return
    clip = None
    if corners is None or len(corners):
      rows = object_rows(frame, self._count, window=self._window)
      clip = self._recent[rows[0] % self._window]
    self.complete.append(ObjectClip(clip, corners, kept))


def _worst(objects: np.ndarray) -> float:
  return float(objects[:, 4].max(initial=0))


class ObjectProgram:
  """Computes the errors of objects of any stream.

  Args:
    bundle: of objects.
  """

  def __init__(self, bundle: ObjectBundle) -> None:
    self._bundle = bundle
    # CPUs take as long for a batch as for its clips one by one, so empty places would cost as much
    # as clips.
    self._searched = 1 if jax.default_backend() == 'cpu' else _CLIPS
    self._map = batch_map()
    self._rows = np.arange(_CLIPS * bundle.window, dtype=np.int32).reshape(_CLIPS, -1)

  def warm_up(self) -> None:
    """Compile the batches that any number of streams needs."""
    clip = np.zeros((self._bundle.window, self._bundle.height, self._bundle.width), np.uint8)
    if self._bundle.finds_boxes:
      self._found([ObjectClip(clip, None)])
      return
    box = np.float32([[0, 0, self._bundle.width, self._bundle.height]])
    for size in _BATCH_SIZES:
      self._run([ObjectClip(clip, np.repeat(box, size, axis=0))])

  def run(self, streams: Sequence[ObjectStream]) -> None:
    """Give each stream the errors of the objects whose clips are complete."""
    waiting = []
    for stream in streams:
      waiting += [(stream, item) for item in stream.complete]
      stream.complete = []
    to_search = [item for _, item in waiting if item.corners is None]
    searched = self._in_batches(self._found, to_search, self._searched)
    given = [item for _, item in waiting if item.corners is not None and item.clip is not None]
    measured = self._in_batches(self._run, given, _CLIPS)
    for stream, item in waiting:
      if item.corners is None:
        objects = next(searched)
      else:
        own = np.zeros(0) if item.clip is None else next(measured)
        objects = np.column_stack([item.corners, own])
      stream.put(objects.astype(np.float64))

  def _in_batches(
    self,
    run: Callable[[Sequence[ObjectClip]], list[np.ndarray]],
    items: Sequence[ObjectClip],
    size: int,
  ) -> Iterator[np.ndarray]:
    """Yield what a program returns for each clip, in batches of a size."""
    batches = [items[start : start + size] for start in range(0, len(items), size)]
    return itertools.chain.from_iterable(self._map(run, batches))

  def _found(self, items: Sequence[ObjectClip]) -> list[np.ndarray]:
    """Return box and error of the objects that the bundle finds in each clip, [M, 5]."""
    size = self._searched
    frames = np.concatenate([items[index % len(items)].clip for index in range(size)])
    scored = self._bundle.score_clips(frames, self._rows[:size])
    corners, valid, errors = map(np.asarray, scored[:3])
    self._check_finite(errors)
    objects = []
    for index, item in enumerate(items):
      boxes = corners[index][valid[index]]
      own = np.column_stack([boxes, errors[index][valid[index]]])
      objects.append(own[item.kept(boxes)] if item.kept else own)
    return objects

  def _check_finite(self, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
      raise UserError(
        f'{self._bundle.folder}: a measurement is not finite: the detector is damaged; '
        'export it again'
      )

  def _run(self, items):
    """Return the errors of the objects of each clip, one array [M] per clip."""
    counts = [len(item.corners) for item in items]
    # Padded with repeated clips and objects to the few sizes that are compiled.
    frames = np.concatenate([items[index % len(items)].clip for index in range(_CLIPS)])
    corners = np.concatenate([item.corners for item in items])
    rows = self._rows[np.repeat(np.arange(len(items)), counts)]
    measurements = np.zeros((0, len(RAW_MEASUREMENTS)), np.float32)
    start = 0
    while start < len(corners):
      large, small = _BATCH_SIZES
      size = large if len(corners) - start > large - small else small
      chosen = np.resize(np.arange(start, min(start + size, len(corners))), size)
      found = np.asarray(self._bundle(frames, rows[chosen], corners[chosen]))
      measurements = np.concatenate([measurements, found[: len(corners) - start]])
      start += size
    self._check_finite(measurements)
    edges = vertical_edges(corners, self._bundle.height)
    zscores = self._bundle.statistics.zscores(edges, measurements)
    return np.split(object_errors(zscores, self._bundle.weights), np.cumsum(counts)[:-1])
