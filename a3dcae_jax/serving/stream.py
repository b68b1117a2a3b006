"""Scores of running streams: frames come one by one, scores once they are final.

    detector = load_bundle('camera.bundle')
    scorer = StreamScorer(detector)
    for frame in camera:  # uint8 [H, W] or [H, W, 3], of any size
      scorer.add(frame)
      for scored in scorer.scores():
        print(scored.frame, scored.score >= scorer.threshold)

The scores are those of an evaluation with causal smoothing. No score depends on a frame that is
more than `latency_frames` later. Memory does not grow with the length of a stream.
"""

from collections import deque
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.serving.bundle import Bundle
from a3dcae_jax.serving.frame_streams import FrameProgram, FrameStream
from a3dcae_jax.serving.images import prepared
from a3dcae_jax.serving.object_bundle import ObjectBundle, check_corners
from a3dcae_jax.serving.object_streams import Chooser, ObjectProgram, ObjectStream
from a3dcae_jax.serving.regions import strongest_region
from a3dcae_jax.serving.video import gaussian

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 as shares of the frame's width and height; x2 and y2 are exclusive."""


class FrameScore(NamedTuple):
  """The score of one frame of a stream.

  Attributes:
    stream: number of the stream.
    frame: index of the frame in the stream, from 0.
    score: in standard deviations of the training errors; higher is more abnormal.
    error: of the frame, before it was compared with training errors and smoothed.
    heat: float [h, w], the error of each square of the frame; None if objects are scored.
    objects: float [M, 5], box and error of each object, the box as in `Box`; None if frames are
      scored whole.
  """

  stream: int
  frame: int
  score: float
  error: float
  heat: np.ndarray | None
  objects: np.ndarray | None

  @property
  def box(self) -> Box | None:
    """The strongest region, or the worst object; None if there is no object."""
    if self.objects is not None:
      if not len(self.objects):
        return None
      return tuple(self.objects[self.objects[:, 4].argmax(), :4].tolist())
    height, width = self.heat.shape
    x1, y1, x2, y2 = strongest_region(self.heat)
    return x1 / width, y1 / height, x2 / width, y2 / height


class StreamScorer:
  """Scores the frames of streams.

  Attributes:
    bundle: the detector.
    latency_frames: how many later frames a score depends on at most. Before a stream has
      `window * stride` frames, none of them has a score.
  """

  def __init__(self, bundle: Bundle | ObjectBundle, streams: int = 1) -> None:
    """Begin streams that are scored together.

    Args:
      bundle: the detector, of either kind.
      streams: number of streams. Their clips are scored in common batches.
    """
    self.bundle = bundle
    if isinstance(bundle, ObjectBundle):
      later = bundle.window - bundle.window // 2 - 1
      self.latency_frames = later + bundle.step - 1
      self._program = ObjectProgram(bundle)
    else:
      self.latency_frames = bundle.stride * (bundle.window - 1)
      self._program = FrameProgram(bundle)
    self._streams = [self._new_stream() for _ in range(streams)]
    self._smoothers = [self._new_smoother() for _ in range(streams)]
    self._given = [0] * streams  # frames that are scored or left out

  @property
  def threshold(self) -> float:
    """The lowest abnormal score, chosen from training scores of this scorer.

    Raises:
      UserError: if the bundle has none.
    """
    return stream_threshold(self.bundle)

  def warm_up(self) -> None:
    """Compile the program now, so that no frame has to wait for it."""
    self._program.warm_up()

  def add(
    self,
    frame: np.ndarray,
    boxes: Any = None,
    stream: int = 0,
    kept: Chooser | None = None,
  ) -> None:
    """Take the next frame of a stream.

    Args:
      frame: uint8 [H, W], or [H, W, 3] in the order red, green, blue; of any size. It is made grey
        and resized as training frames were.
      boxes: [M, 4], the boxes of its objects in pixels of `frame`; only for a bundle of objects. If
        it finds boxes by itself, they may be left out.
      stream: number of the stream.
      kept: which of the boxes that the bundle finds count; all by default.

    Raises:
      UserError: for another shape or type.
    """
    small = prepared(frame, self.bundle.height, self.bundle.width)
    if isinstance(self.bundle, Bundle):
      if boxes is not None:
        raise UserError(f'{self.bundle.folder} scores whole frames: give it no boxes')
      self._streams[stream].add(small)
      return
    if boxes is None:
      if not self.bundle.finds_boxes:
        raise UserError(f'{self.bundle.folder} scores objects: give the boxes of each frame')
      self._streams[stream].add(small, None, kept)
      return
    corners = check_corners(boxes)
    height, width = frame.shape[:2]
    if (height, width) != small.shape:
      scale = np.float32([self.bundle.width / width, self.bundle.height / height])
      corners = corners * np.tile(scale, 2)
    self._streams[stream].add(small, corners)

  def scores(self) -> list[FrameScore]:
    """Return all scores that have become final, in the order of each stream's frames."""
    self._program.run(self._streams)
    found = []
    for stream in range(len(self._streams)):
      found += self._scored(stream, ended=False)
    return found

  def flush(self, stream: int = 0) -> list[FrameScore]:
    """End a stream, return its remaining scores and begin it anew.

    Indices of frames go on. The end of a stream is scored as the end of a video is. If a stream of
    whole frames has fewer frames than a window, they have no scores.
    """
    ending = self._streams[stream]
    ending.end()
    self._program.run([ending])
    found = self._scored(stream, ended=True)
    self._given[stream] += ending.skipped
    self._streams[stream] = self._new_stream()
    self._smoothers[stream] = self._new_smoother()
    return found

  def _new_stream(self):
    return (
      ObjectStream(self.bundle)
      if isinstance(self.bundle, ObjectBundle)
      else FrameStream(self.bundle)
    )

  def _new_smoother(self):
    return _Smoother(self.bundle.manifest['calibration']['smoothing_frames'])

  def _scored(self, stream: int, ended: bool) -> list[FrameScore]:
    calibration = self.bundle.manifest['calibration']
    found = []
    for error, heat, objects in self._streams[stream].errors(ended):
      score = self._smoothers[stream].add((error - calibration['mean']) / calibration['std'])
      if objects is not None:
        size = [self.bundle.width, self.bundle.height]
        objects = objects / [*size, *size, 1]
      found.append(FrameScore(stream, self._given[stream], score, error, heat, objects))
      self._given[stream] += 1
    return found


def stream_threshold(bundle: Bundle | ObjectBundle) -> float:
  """Return the threshold for scores of a `StreamScorer`.

  Raises:
    UserError: if the bundle has none.
  """
  if 'stream' not in bundle.manifest:
    raise UserError(f'{bundle.folder} has no threshold for streams: export the run again')
  return bundle.manifest['stream']['threshold']


class _Smoother:
  """A Gaussian over a score and earlier ones; the first score is repeated before it."""

  def __init__(self, sigma_frames: float) -> None:
    self._weights = gaussian(sigma_frames, 'causal')
    self._recent = deque(maxlen=len(self._weights))  # the newest one first

  def add(self, score: float) -> float:
    if not self._recent:
      self._recent.extend([score] * len(self._weights))
    self._recent.appendleft(score)
    return float(np.dot(self._weights, self._recent))
