"""Pictures of sources as JPEG, encoded once for all browsers and only on demand."""

import threading
import time
from typing import NamedTuple

from a3dcae_jax.watching.overlay import draw_marks
from a3dcae_jax.watching.page.feed import Feed, Shown, SourceView
from a3dcae_jax.watching.recorder import encode_jpeg, image_of

SHORTEST_S = 0.12
"""Seconds for which a picture is given again, however many browsers ask."""

_KEPT = 64  # encoded pictures


class _Encoded(NamedTuple):
  """An encoded picture.

  Attributes:
    shown: the picture.
    made_s: when it was encoded.
    content: JPEG.
  """

  shown: Shown
  made_s: float
  content: bytes


class Pictures:
  """Encodes the last pictures, each of them once.

  One thread encodes at a time, so that browsers never take more than one CPU from the detector.
  """

  def __init__(self, feed: Feed) -> None:
    """Begin with an empty memory.

    Args:
      feed: has the pictures.
    """
    self._feed = feed
    self._lock = threading.Lock()
    self._encoded: dict[tuple[int, bool], _Encoded] = {}

  def kept(self, view: SourceView, has_marks: bool) -> bytes:
    """Return a picture that need not be encoded; b'' if the last one has to be.

    Args:
      view: of the source.
      has_marks: whether heat or boxes are drawn.
    """
    encoded = self._encoded.get((view.number, has_marks))
    if encoded is None:
      return b''
    is_new = time.monotonic() - encoded.made_s < SHORTEST_S
    return encoded.content if is_new or encoded.shown is view.shown else b''

  def jpeg(self, view: SourceView, has_marks: bool) -> bytes:
    """Return the last picture of a source; b'' before the first.

    Args:
      view: of the source.
      has_marks: whether to draw heat or boxes.
    """
    with self._lock:
      content = self.kept(view, has_marks)  # another thread may have made it meanwhile
      shown = view.shown
      if content or shown is None:
        return content
      content = self._encode(shown, has_marks)
      key = view.number, has_marks
      self._encoded.pop(key, None)
      self._encoded[key] = _Encoded(shown, time.monotonic(), content)
      if len(self._encoded) > _KEPT:
        del self._encoded[next(iter(self._encoded))]
      return content

  def _encode(self, shown, has_marks):
    image = image_of(shown.picture)
    if has_marks:
      image = draw_marks(image, shown.scored, shown.is_abnormal, self._feed.error_scale)
    return encode_jpeg(image, quality=78)
