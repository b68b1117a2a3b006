"""Frames of video files, decoded by FFmpeg, with faults that name the file."""

import pathlib
import re
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.notes import note
from a3dcae_jax.data.video import size_fault

# Containers whose header states how long the video is. For others FFmpeg estimates it.
_TIMED = ('asf', 'avi', 'flv', 'matroska', 'mov', 'mxf', 'ogg')
_UNKNOWN_SIZES = (0, 2**32 - 1)  # stated by a RIFF file that was written to a pipe

# Frames that may be missing before it is noted: rates are rounded, cameras skip a frame.
_GAP_FRAMES = 2
_GAP_FRACTION = 0.05

_CONVERTERS = threading.local()


def read_video(path: pathlib.Path) -> Iterator[np.ndarray]:
  """Yield the frames of a video file, grey uint8 [H, W].

  Any container that FFmpeg reads will do. Grey is FFmpeg's luma; more than 8 bits are scaled to 8.
  Frames are turned by their display matrix, as players do.

  Raises:
    UserError: as `decode_video`.
  """
  for frame in decode_video(path, only_whole=True):
    a, b, c, d = _turn(frame) or (1, 0, 0, 1)
    if a * b or c * d:
      note('turned by no multiple of 90 degrees, read as by the nearest one', path)
    yield upright(frame)


def decode_video(path: str | pathlib.Path, *, only_whole: bool = False) -> Iterator[Any]:
  """Yield the frames of a video file as PyAV's.

  Frames are counted by decoding, since headers are often wrong. Of several video streams, the first
  one that is not a cover is read.

  Args:
    path: the file.
    only_whole: whether a file that is known to be cut off is refused before its first frame, and
      not after its last one.

  Raises:
    UserError: if the file is not a video, is cut off, or does not decode to its end. A damaged
      frame is an error, too: frames after it may be missing without notice.
  """
  import av  # imported here: training from a frame cache needs no FFmpeg

  count = 0
  try:
    if only_whole:
      _states_size(path)
    with av.open(str(path)) as container:
      stream = _chosen_stream(container, path)
      span = _Span(stream)
      for frame in container.decode(stream):
        _check_frame(frame, count, path)
        yield frame
        count += 1
        span.add(frame)
      if _states_size(path):
        _note_early_end(container, stream, span, path)
        _note_gaps(span, count, path)
  except UserError:
    raise
  except Exception as error:  # PyAV raises errors of many types for damaged bytes
    reason = getattr(error, 'strerror', None) or error
    remedy = 'encode it again' if count else 'take it out, or encode it again'
    raise UserError(f'{path} stops decoding at frame {count}: {reason}; {remedy}') from None
  if not count:
    raise UserError(f'{path} has no frames')


class _Span:
  """The time from the first to the last frame, by their time stamps.

  Args:
    stream: the stream that the frames are of.

  Attributes:
    start_s: when the first frame begins; infinite if no frame has a time.
    end_s: when the last frame ends; 0 if no frame has a time.
    rate: frames per second; 0 if unknown.
  """

  def __init__(self, stream: Any) -> None:
    self.start_s = float('inf')
    self.end_s = 0.0
    self.rate = float(stream.average_rate or stream.guessed_rate or 0)

  def add(self, frame: Any) -> None:
    """Extend the span by a frame."""
    if frame.pts is None:
      return
    start_s = float(frame.pts * frame.time_base)
    period_s = 1 / self.rate if self.rate else 0.0
    if frame.duration:
      period_s = float(frame.duration * frame.time_base)
    self.start_s = min(self.start_s, start_s)
    self.end_s = max(self.end_s, start_s + period_s)


def _states_size(path: pathlib.Path) -> bool:
  """Return whether a file states its size; an AVI is also checked to have it.

  FFmpeg plays a shorter AVI to its end without an error.
  """
  with open(path, 'rb') as file:
    header = file.read(12)
    file.seek(0, 2)
    size = file.tell()
  if header[:4] != b'RIFF' or header[8:] != b'AVI ':
    return True
  stated = int.from_bytes(header[4:8], 'little')
  if stated in _UNKNOWN_SIZES:
    return False
  if stated + 8 > size + 1:
    raise UserError(f'{path} is cut off: it has {size} of {stated + 8} bytes')
  return True


def _chosen_stream(container: Any, path: pathlib.Path) -> Any:
  """Return the first video stream that is not a cover or a thumbnail."""
  from av.stream import Disposition

  no_video = Disposition.attached_pic | Disposition.timed_thumbnails
  streams = [stream for stream in container.streams.video if not stream.disposition & no_video]
  if not streams:
    raise UserError(f'{path} has no video stream')
  stream = streams[0]
  if len(streams) > 1:
    sizes = ', '.join(f'{other.width}x{other.height}' for other in streams)
    note('several video streams, of which the first is read', f'{path} ({sizes})')
  fault = size_fault(stream.width, stream.height)
  if fault:
    raise UserError(f'{path} {fault}')
  stream.thread_type = 'AUTO'
  return stream


def _check_frame(frame: Any, index: int, path: pathlib.Path) -> None:
  if frame.is_corrupt:
    raise UserError(
      f'{path} is damaged at frame {index}, frames may be missing there; '
      'to use it nevertheless, re-encode it'
    )
  fault = size_fault(frame.width, frame.height)
  if fault:
    raise UserError(f'{path} {fault}')


def upright(frame: Any) -> np.ndarray:
  """Return a frame as grey uint8 [H, W], turned and mirrored by its display matrix.

  The matrix (a b u; c d v; x y w) maps a pixel to x' = a x + c y, y' = b x + d y.
  """
  grey = converted(frame, format='gray').to_ndarray()
  turn = _turn(frame)
  if turn is None:
    return grey
  a, b, c, d = turn
  to_x, to_y = a, d
  if abs(b) > abs(a):  # rows become columns
    grey = grey.T
    to_x, to_y = c, b
  if to_x < 0:
    grey = grey[:, ::-1]
  if to_y < 0:
    grey = grey[::-1]
  return np.ascontiguousarray(grey)


def converted(frame: Any, **wanted: Any) -> Any:
  """Return a frame in another format or size, as its method `reformat` does.

  A frame's own method sets FFmpeg's scaler up anew for each frame, which takes longer than the
  conversion. Here each thread keeps a scaler for each format.

  Args:
    frame: PyAV's frame.
    **wanted: `format`, `width` and `height`, as of `reformat`.
  """
  from av.video.reformatter import VideoReformatter

  known = vars(_CONVERTERS)  # of this thread
  if wanted['format'] not in known:
    known[wanted['format']] = VideoReformatter()
  return known[wanted['format']].reformat(frame, **wanted)


def _turn(frame: Any) -> tuple[int, int, int, int] | None:
  """Return a, b, c, d of a frame's display matrix; None if it has none."""
  data = frame.side_data.get('DISPLAYMATRIX')
  if data is None:
    return None
  a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
  return a, b, c, d


def _note_gaps(span: _Span, count: int, path: pathlib.Path) -> None:
  """Note that a video has fewer frames than its time stamps leave room for."""
  if not span.start_s < span.end_s:
    return
  expected = (span.end_s - span.start_s) * span.rate
  if expected - count > max(_GAP_FRAMES, _GAP_FRACTION * expected):
    note(
      'fewer frames than its time stamps leave room for, so that frames may be missing',
      f'{path} ({count} of about {expected:.0f})',
    )


def _note_early_end(container: Any, stream: Any, span: _Span, path: pathlib.Path) -> None:
  """Note that a video ends before its header says.

  A stream without a length of its own has that of the longest stream, which may be sound.
  """
  if not container.format.name.startswith(_TIMED) or not span.end_s or not span.rate:
    return
  stated_s = _own_length(stream)
  tolerance_s = 1.5 / span.rate
  if not stated_s and container.duration:
    stated_s = container.duration / 1e6
    if len(container.streams) > 1:
      tolerance_s += 1.0
  if stated_s - span.end_s > tolerance_s:
    note(
      'ends before its header says, so that frames may be missing',
      f'{path} ({span.end_s:.2f} of {stated_s:.2f} s)',
    )


def _own_length(stream: Any) -> float:
  """Return the length that a file states for a stream, in seconds; 0 for none."""
  if stream.duration:
    return float(stream.duration * stream.time_base)
  # As Matroska has it: 00:00:12.000000000.
  match = re.fullmatch(r'(\d+):(\d\d):(\d\d(?:\.\d+)?)', stream.metadata.get('DURATION', ''))
  if not match:
    return 0.0
  hours, minutes, seconds = match.groups()
  return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
