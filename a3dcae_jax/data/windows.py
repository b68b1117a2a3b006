"""Which frames make a clip: for training drawn densely at several strides, at test each frame exactly once."""

from typing import NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError


class ClipTable(NamedTuple):
  """Training clips as indices into a split's frames: clip i is frames first[i] + floor(stride[i] * (0 .. T-1)), see `clip_rows`."""

  first: np.ndarray  # int64 [M]
  stride: np.ndarray  # float32 [M]


class TestWindows(NamedTuple):
  """Test windows of T frames: window i has frames first[i] + stride[i] * (0 .. T-1); keep[i, t] says whether its frame t counts."""

  first: np.ndarray  # int64 [M]
  keep: np.ndarray  # bool [M, T]
  stride: np.ndarray  # int64 [M]
  __test__ = False  # pytest takes classes of this name for tests

  @property
  def rows(self):
    """Frame indices int64 [M, T]."""
    return self.first[:, None] + self.stride[:, None] * np.arange(self.keep.shape[1])


ROUNDING = 1e-3  # of a frame: thirds are no exact numbers


def clip_rows(first, stride, window, xp=np):
  """Frame indices [M, T], integers as `first`, of clips: first + floor(stride * (0 .. T-1)).

  At stride 1/2 each frame comes twice, at 0 the first one T times. xp: NumPy, or jax.numpy inside of a program.
  """
  first, stride = xp.asarray(first), xp.asarray(stride, xp.float32)
  apart = xp.floor(stride[:, None] * xp.arange(window, dtype=xp.float32) + ROUNDING)
  return first[:, None] + apart.astype(first.dtype)


def check_strides(strides):
  """Raises `UserError` unless there are strides and none is negative."""
  if not strides or min(strides) < 0:
    raise UserError(f'clips.strides (={tuple(strides)}) must name temporal strides of 0 and more')


def training_clips(videos, *, window, strides=(1, 2, 3), every_frames=2):
  """All training clips: every stride from every `every_frames`-th frame, as long as the clip stays inside its video.

  Args:
    videos: objects with `name`, `first` (index of their first frame) and `num_frames`.
    window: T. strides: temporal distances between a clip's frames (Hasan et al. 2016, sec. 3.1); below 1 the footage is slowed down, by frames
      that stand, 0 is one still frame. every_frames: between starts.

  Returns: `ClipTable`, ordered by video, stride, start.
  Raises: UserError when no video is long enough for a single clip, or for strides that are none.
  """
  check_strides(strides)
  parts = []
  for video in videos:
    for stride in strides:
      span = int((window - 1) * stride + ROUNDING) + 1
      starts = np.arange(0, video.num_frames - span + 1, every_frames, dtype=np.int64)
      parts.append((video.first + starts, np.full(len(starts), stride, np.float32)))
  first, stride = (
    (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    if parts
    else (np.empty(0), np.empty(0))
  )
  if not len(first):
    longest = max((video.num_frames for video in videos), default=0)
    raise UserError(
      f'no training clip: the longest training video has {longest} frames, a clip of {window} needs as many'
    )
  return ClipTable(first, stride)


def test_windows(videos, *, window, every_frames=0, stride=1):
  """Windows that score a split.

  With `every_frames` 0 they stand back to back, the last one of a video aligned to its end and keeping only the frames
  that no earlier window has: each frame is kept exactly once. Otherwise windows start every `every_frames` frames
  (and one is aligned to the end) and keep all their frames, whose errors are then averaged.

  With `stride` s > 1 a video is s videos, of frames 0, s, 2s .., of 1, s + 1, .. and so on, and each is cut like that: what moves,
  moves s times as far between two frames of a window (the augmentation of Hasan et al. 2016, sec. 3.1, at test). A video that is too
  short for it takes the largest stride that fits (`fitting_stride`).

  Args: as in `training_clips`; `every_frames` counts frames of the strided video.
  Returns: `TestWindows`, video by video.
  Raises: UserError naming a video that is shorter than `window`.
  """
  cut = []
  step = every_frames or window
  if not 0 < step <= window:
    raise UserError(
      f'eval.every_frames (={every_frames}) must be between 0 and the window (={window}), or frames go unscored'
    )
  if stride < 1:
    raise UserError(f'eval.stride (={stride}) must be at least 1')
  for video in videos:
    if video.num_frames < window:
      raise UserError(
        f'test video {video.name} has {video.num_frames} frames, fewer than the window (={window})'
      )
    apart = fitting_stride(video, window=window, stride=stride)
    of_video = []
    for phase in range(apart):
      last = -(-(video.num_frames - phase) // apart) - window
      starts = [*range(0, last, step), last]
      for index, start in enumerate(starts):
        seen = starts[index - 1] + window if index and not every_frames else start
        of_video.append(
          (video.first + phase + apart * start, np.arange(start, start + window) >= seen, apart)
        )
    cut += sorted(
      of_video, key=lambda first_keep_stride: first_keep_stride[0]
    )  # in the order of the footage: what overlaps comes together
  first, keep, strides = zip(*cut, strict=True) if cut else ((), (), ())
  return TestWindows(np.asarray(first, np.int64), np.asarray(keep), np.asarray(strides, np.int64))


def fitting_stride(video, *, window, stride):
  """`stride`, or where `video` has fewer than `window * stride` frames the largest at which a window fits."""
  return min(stride, video.num_frames // window)


def window_at(video, frame, *, window, stride=1):
  """(frame indices [T], place) of the back-to-back test window of `video` that has its frame `frame`, and where in the window that is."""
  stride = fitting_stride(video, window=window, stride=stride)
  phase, index = frame % stride, frame // stride
  start = min(index // window * window, -(-(video.num_frames - phase) // stride) - window)
  return video.first + phase + stride * (start + np.arange(window)), index - start


test_windows.__test__ = False
