"""Frames of a source as they come: grey for the score, in colour for people."""

import io
import pathlib
import sys
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.media import reader_of
from a3dcae_jax.data.video import resize, size_fault
from a3dcae_jax.data.video_file import converted, decode_video, upright
from a3dcae_jax.watching.sources import Source

OPEN_S = 10.0
"""Seconds to wait for a source to open."""

STALL_S = 10.0
"""Seconds without a frame after which a source has stalled."""

PICTURE_PX = 640
"""Greatest width of a picture. Pictures are kept in memory, five seconds of each source."""

PICTURES_PER_S = 12.5

_END_TOLERANCE_S = 1.0  # sound may be longer than the pictures


class Captured(NamedTuple):
  """A frame of a source.

  Attributes:
    frame: grey and upright, at the size of the bundle's frames, uint8 [H, W].
    time_s: seconds since the source began, by its time stamps where it has any.
    picture: the frame in colour as a PyAV frame in yuv420p; only `PICTURES_PER_S` of them.
    size: width and height as it came, upright.
    checksum: of all its pixels; equal frames have the same one.
  """

  frame: np.ndarray
  time_s: float
  picture: Any
  size: tuple[int, int]
  checksum: int


class Format(NamedTuple):
  """The wanted size of frames, and values that a source may not state.

  Attributes:
    height: of the bundle's frames.
    width: of the bundle's frames.
    frames_per_s: rate of frames that have no time stamps.
    raw: width and height of raw grey frames in a pipe; None if the pipe is a video.
  """

  height: int
  width: int
  frames_per_s: float
  raw: tuple[int, int] | None = None


class SourceError(Exception):
  """A source cannot be read, now or at all; the message has the reason."""


def capture(source: Source, wanted: Format) -> Iterator[Captured]:
  """Yield the frames of a source until it ends.

  An address ends if it states how long it is and was read so far. Otherwise it is live, and its end
  is a failure.

  Args:
    source: the source.
    wanted: see `Format`.

  Raises:
    SourceError: if it cannot be opened, breaks or is damaged.
  """
  try:
    if source.kind == 'images':
      yield from _from_arrays(_images_of(source), wanted)
    elif source.kind == 'file':
      yield from captured_frames(decode_video(source.address), wanted)
    elif source.kind == 'pipe' and wanted.raw:
      yield from _from_arrays(_raw_frames(*wanted.raw), wanted)
    else:
      yield from captured_frames(stream_frames(source), wanted)
  except (SourceError, GeneratorExit):
    raise
  except UserError as error:
    raise SourceError(str(error)) from None
  except Exception as error:  # PyAV raises errors of many types
    raise SourceError(f'{source.shown}: {_reason(error)}') from None


def _images_of(source: Source) -> Iterator[np.ndarray]:
  """Return the frames of a folder of images."""
  return reader_of(pathlib.Path(source.address))()


def picture_of(frame: Any, grey: np.ndarray) -> Any:
  """Return a small picture of a frame: in colour, or grey if it was turned.

  Args:
    frame: PyAV's frame; None if there is none.
    grey: the same frame, grey and upright.
  """
  import av

  if frame is None or (frame.height, frame.width) != grey.shape or _is_turned(frame):
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(grey), format='gray')
  scale = min(1.0, PICTURE_PX / frame.width)
  width, height = (max(2, round(size * scale / 2) * 2) for size in (frame.width, frame.height))
  return converted(frame, width=width, height=height, format='yuv420p')


def _is_turned(frame):
  return frame.side_data.get('DISPLAYMATRIX') is not None


def captured_frames(frames: Iterator[Any], wanted: Format) -> Iterator[Captured]:
  """Yield PyAV's frames as they are scored and shown."""
  first_s = None
  last_s = -np.inf
  for index, frame in enumerate(frames):
    grey = upright(frame)
    time_s = index / wanted.frames_per_s
    if frame.pts is not None:
      stamp_s = float(frame.pts * frame.time_base)
      first_s = stamp_s if first_s is None else first_s
      time_s = stamp_s - first_s
    picture = None
    if not 0 <= time_s - last_s < 0.9 / PICTURES_PER_S:
      picture = picture_of(frame, grey)
      last_s = time_s
    yield _captured(grey, time_s, picture, wanted)


def _from_arrays(frames: Iterator[np.ndarray], wanted: Format) -> Iterator[Captured]:
  last_s = -np.inf
  for index, grey in enumerate(frames):
    time_s = index / wanted.frames_per_s
    picture = None
    if time_s - last_s >= 0.9 / PICTURES_PER_S:
      picture = picture_of(None, grey)
      last_s = time_s
    yield _captured(grey, time_s, picture, wanted)


def _captured(grey: np.ndarray, time_s: float, picture: Any, wanted: Format) -> Captured:
  grey = np.ascontiguousarray(grey)
  frame = resize(grey, wanted.height, wanted.width)
  return Captured(frame, time_s, picture, grey.shape[::-1], zlib.crc32(grey))


def _raw_frames(width: int, height: int) -> Iterator[np.ndarray]:
  pipe = _standard_input()
  while True:
    content = bytearray(width * height)
    filled = 0
    while filled < len(content):
      count = pipe.readinto(memoryview(content)[filled:])
      if not count:
        break
      filled += count
    if not filled:
      return
    if filled < len(content):
      raise SourceError(f'standard input ends within a frame: {filled} of {len(content)} bytes')
    yield np.frombuffer(content, np.uint8).reshape(height, width)


def _standard_input() -> io.FileIO:
  """Return standard input without a buffer.

  A buffer is locked while a thread waits for its pipe, and Python aborts if it ends meanwhile.
  """
  if sys.stdin is None:
    raise SourceError('standard input is closed: pipe a video into it, as in ffmpeg ... | detect')
  return open(sys.stdin.fileno(), 'rb', buffering=0, closefd=False)


def stream_frames(source: Source) -> Iterator[Any]:
  """Yield PyAV's frames of an address, a camera or a pipe, without damaged ones.

  Raises:
    SourceError: see `capture`.
  """
  import av

  options = {}
  if source.address.lower().startswith('rtsp'):
    options['rtsp_transport'] = 'tcp'  # with UDP, lost packets damage pictures
  opened = {'file': source.address, 'timeout': (OPEN_S, STALL_S)}
  if source.kind == 'pipe':
    opened = {'file': _standard_input()}
  elif source.kind == 'camera':
    opened['format'] = 'v4l2'
  with av.open(options=options, **opened) as container:
    if not container.streams.video:
      raise SourceError(f'{source.shown} has no video')
    stream = container.streams.video[0]
    stream.thread_type = 'SLICE' if source.is_live else 'AUTO'  # frame threads hold frames back
    last_s = 0.0
    for packet in container.demux(stream):
      try:
        frames = packet.decode()
      except av.error.InvalidDataError:  # as after lost packets; the next key frame mends it
        continue
      for frame in frames:
        fault = size_fault(frame.width, frame.height)
        if fault:
          raise SourceError(f'{source.shown} {fault}')
        last_s = frame.time or last_s
        if not frame.is_corrupt:
          yield frame
    if source.is_live:
      _check_end(source, container, last_s)


def _check_end(source: Source, container: Any, last_s: float) -> None:
  """Raise a `SourceError` unless a source has ended where it said it would."""
  if not container.duration:  # as of a camera
    raise SourceError(f'{source.shown} has ended')
  stated_s = container.duration / 1e6
  if last_s - (container.start_time or 0) / 1e6 < stated_s - _END_TOLERANCE_S:
    raise SourceError(f'{source.shown} has ended after {last_s:.1f} of {stated_s:.1f} s')


def _reason(error: Exception) -> str:
  """Return the reason of a failure without the address: it may hold a password."""
  import av

  if isinstance(error, av.error.ExitError):
    return f'no answer for {STALL_S:g} s'
  return getattr(error, 'strerror', None) or type(error).__name__
