"""Faults of a camera that are no events: black, frozen, covered, moved, resized."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from a3dcae_jax.serving.images import grey_levels, prepared

FROZEN_S = 5.0
FROZEN_FRAMES = 125
"""Equal frames after which a picture is frozen, whatever their time: some cameras repeat a frame
without a pause. Still scenes are not equal to the last bit."""

BLACK_LEVEL = 24
"""A frame is black if 99 % of its pixels are below it; video has black at 16."""

LIKENESS = 0.4
"""Least correlation of fine detail with the mean image of the training videos.

Measured on three cameras at 64x64: at least 0.80 in use and 0.42 at a tenth of the light, at most
0.37 after a turn by 6 % of the width.
"""

DETAIL = 0.4
"""A picture unlike the mean image with less than this share of its detail is covered, not moved."""

AFTER_S = {'black': 1.0, 'frozen': 0.0, 'covered': 2.0, 'moved': 10.0}
"""Seconds that a fault lasts before it is reported; something large may pass near a camera."""

MESSAGES = {
  'black': 'the picture is black',
  'frozen': 'the picture is frozen: the same frame is repeated',
  'covered': 'the camera is covered: detail of the scene is missing',
  'moved': 'the camera was moved: the scene is not that of the training videos',
}
_BLACK_SHARE = 0.99
_SIZE_PX = 64
_DETAIL_PX = 9
_EVERY_S = 0.2  # between two looks at the scene
_LEAST_DETAIL = 2.0
"""Grey levels of detail below which scenes are not compared.

People who pass leave up to 1.2 in the mean image of a plain wall. Compared with that, each frame
would be unlike the scene. Mean images of three cameras have 21 to 30.
"""


class Fault(NamedTuple):
  """A fault that starts or ends.

  Attributes:
    kind: a key of `MESSAGES`, or 'size'.
    is_start: False where it ends; 'size' has no end.
    message: one line.
  """

  kind: str
  is_start: bool
  message: str


class HealthMonitor:
  """Finds the faults of one source from all its frames.

  Attributes:
    fault: kind of the fault that lasts now; '' if there is none.
  """

  def __init__(self, references: np.ndarray | None) -> None:
    """Begin without a fault.

    Args:
      references: float [S, H, W] in [0, 1], mean images of the scenes; None if there are none. See
        `why_not_compared`.
    """
    self._details = []
    if not why_not_compared(references):
      self._details = [_detail(grey_levels(image)) for image in references]
    self.fault = ''
    self._size: tuple[int, int] | None = None
    self._last: int | None = None
    self._equal = 0
    self._equal_since_s = 0.0
    self._looked_s = -np.inf
    self._scene = ''
    self._seen = ''
    self._seen_since_s = 0.0

  def add(
    self, frame: np.ndarray, size: tuple[int, int], checksum: int, time_s: float
  ) -> list[Fault]:
    """Take the next frame and return what changes.

    Args:
      frame: uint8 [H, W], at the size of the references.
      size: width and height as it came.
      checksum: of its pixels as it came.
      time_s: its time in seconds.
    """
    changes = self._new_size(size)
    seen = self._kind(frame, checksum, time_s)
    if seen != self._seen:
      self._seen = seen
      self._seen_since_s = time_s
    lasts_s = time_s - self._seen_since_s
    if seen != self.fault and (not seen or lasts_s >= AFTER_S[seen]):
      if self.fault:
        changes.append(Fault(self.fault, False, f'no longer: {MESSAGES[self.fault]}'))
      if seen:
        changes.append(Fault(seen, True, MESSAGES[seen]))
      self.fault = seen
    return changes

  def restart(self) -> None:
    """Forget the last frame, since the source was opened again; times go on."""
    self._last = None
    self._looked_s = -np.inf

  def _new_size(self, size):
    before, self._size = self._size, size
    if before in (None, size):
      return []
    message = f'the size of frames changed from {before[0]}x{before[1]} to {size[0]}x{size[1]}'
    return [Fault('size', True, message)]

  def _kind(self, frame, checksum, time_s):
    """Return the kind of fault that a frame shows; '' for none."""
    if checksum == self._last:
      self._equal += 1
    else:
      self._equal = 0
      self._equal_since_s = time_s
    self._last = checksum
    if time_s - self._looked_s >= _EVERY_S or time_s < self._looked_s:
      self._looked_s = time_s
      self._scene = self._look(frame)
    if self._scene == 'black':
      return 'black'
    is_frozen = self._equal and time_s - self._equal_since_s >= FROZEN_S
    if is_frozen or self._equal >= FROZEN_FRAMES:
      return 'frozen'
    return self._scene

  def _look(self, frame):
    """Return the fault of a frame compared with the training scenes; '' for none."""
    if np.count_nonzero(frame < BLACK_LEVEL) >= _BLACK_SHARE * frame.size:
      return 'black'
    if not self._details:
      return ''
    detail = _detail(frame)
    if max(_correlation(detail, own) for own in self._details) >= LIKENESS:
      return ''
    least = DETAIL * min(own.std() for own in self._details)
    return 'covered' if detail.std() < least else 'moved'


def why_not_compared(references: np.ndarray | None) -> str:
  """Return why covered and moved cameras cannot be found; '' if they can.

  If one of several scenes is a plain wall, a camera in front of it would always be unlike the
  others.

  Args:
    references: see `HealthMonitor`.
  """
  if references is None or not len(references):
    return 'the bundle has no mean image of the training videos'
  if min(_detail(grey_levels(image)).std() for image in references) <= _LEAST_DETAIL:
    return 'the scene of the training videos has hardly any detail'
  return ''


def _detail(image):
  """Return the fine detail of a grey image, float [64, 64]."""
  small = prepared(image, _SIZE_PX, _SIZE_PX).astype(np.float64)
  return small - ndimage.uniform_filter(small, _DETAIL_PX, mode='nearest')


def _correlation(first, second):
  first = first - first.mean()
  second = second - second.mean()
  return float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum() + 1e-9))
