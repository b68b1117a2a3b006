"""Stills and clips of events, from the last seconds that are in memory."""

import contextlib
import fractions
import io
import pathlib
import queue
import sys
import threading
from collections import deque
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from a3dcae_jax.common.files import atomic_write
from a3dcae_jax.data.video_file import converted

BEFORE_S = 4.0
"""Seconds of a clip before its event."""

AFTER_S = 2.0
LONGEST_S = 30.0
"""Seconds of a clip at most; longer events have the beginning in their clip."""

_KEPT = 160  # pictures at most
_QUEUE = 400  # pictures that wait for the encoder at most
_FRAGMENTS = {
  'movflags': 'empty_moov+default_base_moof',
  'frag_duration': '1000000',  # microseconds
  'flush_packets': '1',
}
_COLOUR = (255, 64, 32)


class Picture(NamedTuple):
  """A picture of a source.

  Attributes:
    frame: index of its frame.
    time_s: its time.
    image: PyAV's frame, yuv420p.
  """

  frame: int
  time_s: float
  image: Any


class Recorder:
  """The pictures of one source, and the clip that is being written.

  Args:
    folder: of the clips and stills.
    latency_s: by how much scores are later than pictures.
  """

  def __init__(self, folder: pathlib.Path, latency_s: float) -> None:
    self._folder = folder
    self._kept_s = BEFORE_S + latency_s
    self._pictures: deque[Picture] = deque(maxlen=_KEPT)
    self._clip: ClipWriter | None = None
    self._clip_end_s = np.inf
    self._writers: list[ClipWriter] = []
    self._own_drops = 0

  @property
  def dropped(self) -> int:
    """Number of stills and clips that could not be written."""
    return self._own_drops + sum(writer.has_failed for writer in self._writers)

  def add(self, picture: Picture) -> None:
    """Take the next picture."""
    self._pictures.append(picture)
    while picture.time_s - self._pictures[0].time_s > self._kept_s:
      self._pictures.popleft()
    if self._clip:
      self._clip.add(picture)
      started_s = self._clip.first_s
      if picture.time_s > min(self._clip_end_s, started_s + LONGEST_S):
        self.end_clip()

  def start_clip(self, name: str) -> None:
    """Begin a clip with the pictures that are kept."""
    if self._clip:
      self.end_clip()
    if not self._pictures:
      return
    self._forget_finished()
    self._clip = ClipWriter(self._folder / f'{name}.mp4')
    self._writers.append(self._clip)
    self._clip_end_s = np.inf
    for picture in self._pictures:
      self._clip.add(picture)

  def end_clip_soon(self, time_s: float) -> None:
    """End the clip some seconds after a time."""
    self._clip_end_s = time_s + AFTER_S

  def end_clip(self) -> None:
    """End the clip now."""
    if self._clip:
      self._clip.end()
      self._clip = None

  def nearest(self, frame: int) -> Picture | None:
    """Return the picture nearest to a frame."""
    return min(self._pictures, key=lambda picture: abs(picture.frame - frame), default=None)

  def write_still(self, name: str, picture: Picture | None, box: tuple[float, ...] | None) -> bytes:
    """Write a still; if the disk is full, it is dropped and counted.

    Args:
      name: of the file.
      picture: the picture; without one, nothing is written.
      box: x1, y1, x2, y2 as shares of the picture.

    Returns:
      The JPEG; empty without a picture.
    """
    if picture is None:
      return b''
    content = _jpeg(picture, box)
    try:
      with atomic_write(self._folder / f'{name}.jpg', 'wb') as file:
        file.write(content)
    except OSError as error:
      self._own_drops += 1
      print(f'{self._folder / name}.jpg is dropped: {error.strerror}', file=sys.stderr)
    return content

  def close(self) -> None:
    """End the clip and wait until it is written."""
    self.end_clip()
    for writer in self._writers:
      writer.join()

  def _forget_finished(self):
    """Forget writers that have ended, but not how many of them failed."""
    for writer in [writer for writer in self._writers if not writer.is_alive()]:
      self._own_drops += writer.has_failed
      self._writers.remove(writer)


def _jpeg(picture: Picture, box: tuple[float, ...] | None) -> bytes:
  image = image_of(picture)
  if box:
    size = [image.width, image.height]
    corners = [round(share * pixels) for share, pixels in zip(box, size * 2, strict=True)]
    ImageDraw.Draw(image).rectangle(corners, outline=_COLOUR, width=2)
  return encode_jpeg(image, quality=85)


def image_of(picture: Picture) -> Image.Image:
  """Return a picture in colour.

  Its own method `to_image` keeps a scaler of FFmpeg, with a thread for each core, as long as the
  picture is kept.
  """
  return Image.fromarray(converted(picture.image, format='rgb24').to_ndarray())


def encode_jpeg(image: Image.Image, quality: int) -> bytes:
  """Return an image as JPEG."""
  content = io.BytesIO()
  image.save(content, 'JPEG', quality=quality)
  return content.getvalue()


class ClipWriter(threading.Thread):
  """Encodes one clip in a thread of its own.

  Attributes:
    first_s: time of the first picture.
    has_failed: whether the clip could not be written; then it is removed.
  """

  def __init__(self, path: pathlib.Path, *, waits: bool = False, grows: bool = False) -> None:
    """Start the thread.

    Args:
      path: the file.
      waits: whether `add` waits for room in the queue, instead of giving the clip up.
      grows: whether the file can be read while it is written: it has a fragment for each second,
        and stays if writing fails.
    """
    super().__init__(daemon=True, name=f'write {path.name}')
    self._path = path
    self._grows = grows
    self._temporary = path if grows else path.with_name(f'.{path.name}')
    self._waits = waits
    self._queue: queue.Queue[Picture | None] = queue.Queue(_QUEUE)
    self.first_s = 0.0
    self._is_first = True
    self.has_failed = False
    self.start()

  def add(self, picture: Picture) -> None:
    """Add a picture."""
    if self._is_first:
      self.first_s = picture.time_s
      self._is_first = False
    if self.has_failed:
      return
    try:
      self._queue.put(picture, block=self._waits)
    except queue.Full:
      self._fail('pictures come faster than they are encoded')

  def end(self) -> None:
    """Add no more; the file is finished in the thread."""
    while True:
      try:
        self._queue.put(None, timeout=0.1)
        return
      except queue.Full:
        if not self.is_alive():
          return

  def run(self) -> None:
    """Encode pictures until the end."""
    import av

    try:
      self._encode()
      if not (self.has_failed or self._is_first):  # without a picture there is no file
        self._temporary.replace(self._path)
    except (OSError, av.error.FFmpegError, ValueError) as error:
      self._fail(getattr(error, 'strerror', None) or str(error))
    finally:
      if self.has_failed and not self._grows:
        with contextlib.suppress(OSError):
          self._temporary.unlink(missing_ok=True)

  def _encode(self):
    import av

    stream = None
    last = -1
    size = None
    options = _FRAGMENTS if self._grows else {}
    with av.open(str(self._temporary), 'w', format='mp4', options=options) as container:
      while (picture := self._queue.get()) is not None and not self.has_failed:
        image = picture.image
        if stream is None:
          size = image.width, image.height
          stream = _add_stream(container, *size, grows=self._grows)
        if size != (image.width, image.height):
          image = converted(image, format='yuv420p', width=size[0], height=size[1])
        stamp = max(last + 1, round(1000 * (picture.time_s - self.first_s)))
        last = stamp
        copied = _with_time(image, stamp)
        container.mux(stream.encode(copied))
      if stream is not None:
        container.mux(stream.encode())

  def _fail(self, reason):
    if not self.has_failed:
      print(f'{self._path} is dropped: {reason}', file=sys.stderr)
    self.has_failed = True


def clip_codec() -> str:
  """Return the encoder of H.264, which browsers play, or else that of MPEG-4.

  Some builds of FFmpeg have no H.264.
  """
  import av

  return 'libx264' if 'libx264' in av.codec.codecs_available else 'mpeg4'


def _add_stream(container, width, height, grows):
  codec = clip_codec()
  options = {'preset': 'ultrafast', 'crf': '28'} if codec == 'libx264' else {}
  if grows:
    options |= {'tune': 'zerolatency'}  # otherwise the encoder keeps back the last frames
  stream = container.add_stream(codec, rate=25, options=options)
  stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
  stream.codec_context.time_base = fractions.Fraction(1, 1000)
  return stream


def _with_time(image, stamp):
  """Return a frame with a time in milliseconds; several clips share one picture."""
  import av

  copied = av.VideoFrame.from_ndarray(image.to_ndarray(), format='yuv420p')
  copied.pts = stamp
  copied.time_base = fractions.Fraction(1, 1000)
  return copied
