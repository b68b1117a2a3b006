"""Pictures of sources as JPEG, encoded once for all browsers and only on demand."""

import threading
import time

from a3dcae_jax.watching.overlay import draw_marks
from a3dcae_jax.watching.page.feed import Feed, SourceView
from a3dcae_jax.watching.recorder import encode_jpeg

SHORTEST_S = 0.12
"""Seconds for which a picture is given again, however many browsers ask."""

_KEPT = 64  # encoded pictures


class Pictures:
  """Encodes the last pictures.

  One thread encodes at a time, so that browsers never take more than one CPU from the detector.
  """

  def __init__(self, feed: Feed) -> None:
    """Begin with an empty memory.

    Args:
      feed: has the pictures.
    """
    self._feed = feed
    self._lock = threading.Lock()
    self._encoded: dict[tuple[int, bool], tuple[float, bytes]] = {}

  def jpeg(self, view: SourceView, has_marks: bool) -> bytes:
    """Return the last picture of a source; b'' before the first.

    Args:
      view: of the source.
      has_marks: whether to draw heat or boxes.
    """
    key = view.number, has_marks
    with self._lock:
      encoded_s, content = self._encoded.get(key, (0.0, b''))
      if time.monotonic() - encoded_s < SHORTEST_S:
        return content
      content = self._encode(view, has_marks)
      if content:
        self._encoded.pop(key, None)
        self._encoded[key] = time.monotonic(), content
      if len(self._encoded) > _KEPT:
        del self._encoded[next(iter(self._encoded))]
      return content

  def _encode(self, view, has_marks):
    shown = view.shown
    if shown is None:
      return b''
    image = shown.picture.image.to_image()
    if has_marks:
      image = draw_marks(image, shown.scored, shown.is_abnormal, self._feed.error_scale)
    return encode_jpeg(image, quality=78)
