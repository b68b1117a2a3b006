"""Training clips and test windows, as indices of frames."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import CachedVideo

TRAINING_START_STEP = 2  # frames between the starts of training clips of one stride
_SHOWN = 20  # videos that an error message lists
ROUNDING = 1e-3  # added before rounding down, since strides such as 1/3 are not exact


class ClipTable(NamedTuple):
  """Training clips.

  Clip i has the frames `clip_rows(first[i], stride[i])` of its split.

  Attributes:
    first: int64 [M], index of the first frame.
    stride: float32 [M], frames between two frames of the clip.
  """

  first: np.ndarray
  stride: np.ndarray


class TestWindows(NamedTuple):
  """Test windows.

  Window i has the frames first[i] + stride[i] * (0 .. T-1) of its split.

  Attributes:
    first: int64 [M], index of the first frame.
    keep: bool [M, T], whether a frame of the window is scored there.
    stride: int64 [M], frames between two frames of the window.
  """

  first: np.ndarray
  keep: np.ndarray
  stride: np.ndarray
  __test__ = False  # not a test class, although pytest collects classes of this name

  @property
  def rows(self) -> np.ndarray:
    """Frame indices, int64 [M, T]."""
    window = self.keep.shape[1]
    return self.first[:, None] + self.stride[:, None] * np.arange(window)


def clip_rows(first: Any, stride: Any, window: int, xp: Any = np) -> Any:
  """Compute the frame indices of clips: first + floor(stride * (0 .. T-1)).

  A stride of 1/2 has each frame twice, a stride of 0 has the first frame T times.

  Args:
    first: int [M].
    stride: float [M].
    window: frames per clip, T.
    xp: `numpy`, or `jax.numpy` in a program.

  Returns:
    Array [M, T] of the type of `first`.
  """
  first = xp.asarray(first)
  stride = xp.asarray(stride, xp.float32)
  positions = xp.arange(window, dtype=xp.float32)
  offsets = xp.floor(stride[:, None] * positions + ROUNDING)
  return first[:, None] + offsets.astype(first.dtype)


def training_clips(
  videos: Sequence[CachedVideo], *, window: int, strides: Sequence[float] = (1, 2, 3)
) -> ClipTable:
  """List all training clips: at each stride, one from every second frame of a video.

  Args:
    videos: the training videos.
    window: frames per clip, T.
    strides: frames between two frames of a clip (Hasan et al. 2016, sec. 3.1). Below 1 frames are
      repeated, which slows the video down; 0 is one still frame.

  Returns:
    The clips that end inside their video, ordered by video, stride and start.

  Raises:
    UserError: if no video is long enough for a clip, or a stride is negative.
  """
  if not strides or min(strides) < 0:
    raise UserError(f'clips.strides (={tuple(strides)}) must name temporal strides of 0 and more')

  firsts = []
  clip_strides = []
  for video in videos:
    for stride in strides:
      last_start = video.num_frames - _span(window, stride)
      starts = np.arange(0, last_start + 1, TRAINING_START_STEP, dtype=np.int64)
      firsts.append(video.first + starts)
      clip_strides.append(np.full(len(starts), stride, np.float32))

  if not any(len(starts) for starts in firsts):
    longest = max((video.num_frames for video in videos), default=0)
    raise UserError(
      f'no training clip: the longest training video has {longest} frames, a clip of {window} '
      f'frames at stride {min(strides):g} (clips.strides) needs {_span(window, min(strides))}'
    )
  return ClipTable(np.concatenate(firsts), np.concatenate(clip_strides))


def _span(window: int, stride: float) -> int:
  """Return how many frames of a video a clip reaches over."""
  return int((window - 1) * stride + ROUNDING) + 1


def test_windows(
  videos: Sequence[CachedVideo], *, window: int, step: int = 0, stride: int = 1
) -> TestWindows:
  """List the windows that score a split.

  With `step` 0 windows stand back to back. The last window of a video ends with the video and
  keeps only the frames that no earlier window has, so each frame is kept exactly once. With a
  positive `step` windows start every `step` frames, the last one again ends with the video, and
  all frames are kept: errors of a frame are averaged over the windows that have it.

  With `stride` s > 1 a video is treated as s videos, with frames 0, s, 2s, ..., frames 1, s + 1,
  ... and so on. Between two frames of a window things then move s times as far. This is the
  augmentation of Hasan et al. 2016, sec. 3.1, applied at test. Videos that are too short take the
  largest stride that fits (`fitting_stride`).

  Args:
    videos: the videos of the split.
    window: frames per window, T.
    step: frames between two windows, counted in the strided video; 0: back to back.
    stride: frames between two frames of a window.

  Returns:
    The windows, video by video, ordered by their first frame.

  Raises:
    UserError: naming all videos of fewer than `window` frames; or if `step` or `stride` is out of
      range.
  """
  if not 0 <= step <= window:
    raise UserError(
      f'eval.window_step (={step}) must be between 0 and the window (={window}), '
      'or frames are not scored'
    )
  if stride < 1:
    raise UserError(f'eval.stride (={stride}) must be at least 1')

  _check_lengths(videos, window)
  firsts = []
  keeps = []
  strides = []
  for video in videos:
    fitting = fitting_stride(video, window=window, stride=stride)
    windows = []
    for phase in range(fitting):
      length = _strided_length(video.num_frames, phase, fitting)
      for start, keep in _windows_of(length, window, step):
        windows.append((video.first + phase + fitting * start, keep))
    windows.sort(key=lambda first_and_keep: first_and_keep[0])  # overlapping ones together
    firsts += [first for first, _ in windows]
    keeps += [keep for _, keep in windows]
    strides += [fitting] * len(windows)

  return TestWindows(
    first=np.asarray(firsts, np.int64),
    keep=np.asarray(keeps, bool).reshape(-1, window),
    stride=np.asarray(strides, np.int64),
  )


def _check_lengths(videos: Sequence[CachedVideo], window: int) -> None:
  short = [f'{video.name} ({video.num_frames})' for video in videos if video.num_frames < window]
  if short:
    more = f' and {len(short) - _SHOWN} more' if len(short) > _SHOWN else ''
    raise UserError(
      f'test videos have fewer frames than the window (clips.window={window}), so they cannot be '
      f'scored: {", ".join(short[:_SHOWN])}{more}; take them out, or shorten the window'
    )


def _windows_of(length: int, window: int, step: int) -> list[tuple[int, np.ndarray]]:
  """Return (start, keep bool [T]) of each window of a video of `length` frames."""
  last = length - window
  starts = [*range(0, last, step or window), last]
  windows = []
  scored = 0  # frames that an earlier window has
  for start in starts:
    if step:
      keep = np.ones(window, bool)
    else:
      keep = np.arange(start, start + window) >= scored
      scored = start + window
    windows.append((start, keep))
  return windows


def _strided_length(num_frames: int, phase: int, stride: int) -> int:
  """Return how many of the frames phase, phase + stride, ... a video has."""
  return len(range(phase, num_frames, stride))


def fitting_stride(video: CachedVideo, *, window: int, stride: int) -> int:
  """Return `stride`, or the largest stride at which a window fits into the video."""
  return min(stride, video.num_frames // window)


def window_at(
  video: CachedVideo, frame: int, *, window: int, stride: int = 1
) -> tuple[np.ndarray, int]:
  """Find the back-to-back test window that has a frame.

  Args:
    video: a video of the split.
    frame: index in the video.
    window: frames per window, T.
    stride: as in `test_windows`.

  Returns:
    (frame indices in the split [T], position of the frame in the window).
  """
  stride = fitting_stride(video, window=window, stride=stride)
  phase = frame % stride
  index = frame // stride
  last = _strided_length(video.num_frames, phase, stride) - window
  start = min(index // window * window, last)
  positions = start + np.arange(window)
  rows = video.first + phase + stride * positions
  return rows, index - start


test_windows.__test__ = False  # not a test, although pytest collects functions of this name
