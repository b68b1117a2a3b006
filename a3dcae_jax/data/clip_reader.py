"""Clips read from an array of frames on disk: only the frames that they need.

Reading releases the interpreter's lock and fills aligned memory, so that threads can read in
parallel and TensorFlow can take the arrays without a copy.
"""

import os
import weakref

import numpy as np

from a3dcae_jax.data.windows import clip_rows

_ALIGNMENT_BYTES = 64  # TensorFlow copies arrays that are less aligned


class ClipReader:
  """Reads clips from an array of frames. Any number of threads may use it.

  The file of a memory-mapped array is read with `pread`. Mapped pages would count as memory of this
  process, and a page fault reads one page where a `pread` reads a whole frame.

  Args:
    frames: uint8 [N, H, W].
    window: frames per clip, T.
  """

  def __init__(self, frames: np.ndarray, *, window: int):
    self._frames = np.asarray(frames)
    self._window = window
    self._frame_bytes = int(np.prod(frames.shape[1:], dtype=np.int64))
    self._file = None
    self._offset = 0
    if _is_whole_file(frames):
      self._file = os.open(frames.filename, os.O_RDONLY)
      self._offset = frames.offset
      weakref.finalize(self, os.close, self._file)

  def __call__(self, first: np.ndarray, stride: np.ndarray) -> np.ndarray:
    """Read clips.

    Args:
      first: int [B], index of the first frame of each clip.
      stride: float [B], frames between two frames of a clip.

    Returns:
      uint8 [B, T, H, W], frames first[b] + floor(stride[b] * t).
    """
    clips = _aligned((len(first), self._window, *self._frames.shape[1:]))
    rows = clip_rows(first, stride, self._window)
    if self._file is None:
      # `take` releases the interpreter's lock, indexing does not.
      np.take(self._frames, rows, axis=0, out=clips, mode='clip')
      return clips
    for clip, indices in zip(clips, rows.tolist(), strict=True):
      self._read_clip(clip, indices)
    return clips

  def span(self, start: int, stop: int) -> np.ndarray:
    """Read the frames start .. stop - 1, uint8 [n, H, W]."""
    if self._file is None:
      return self._frames[start:stop]
    frames = _aligned((stop - start, *self._frames.shape[1:]))
    self._read(frames, start)
    return frames

  def _read_clip(self, clip: np.ndarray, indices: list[int]) -> None:
    """Read the frames `indices` into `clip`, successive frames at once."""
    start = indices[0]
    if indices == list(range(start, start + self._window)):
      self._read(clip, start)
      return
    for position, index in enumerate(indices):
      if position > 0 and index == indices[position - 1]:
        clip[position] = clip[position - 1]
      else:
        self._read(clip[position], index)

  def _read(self, target: np.ndarray, frame: int) -> None:
    """Fill `target` with the bytes from `frame` on."""
    view = memoryview(target).cast('B')
    offset = self._offset + frame * self._frame_bytes
    while view:
      count = os.preadv(self._file, [view], offset)
      if not count:
        raise OSError(f'the frame cache ended while frame {frame} was read')
      view = view[count:]
      offset += count


def _is_whole_file(frames: np.ndarray) -> bool:
  """Return whether an array is mapped from a whole file, except for its header.

  Where a slice of a mapped array begins in its file is not known.
  """
  if not isinstance(frames, np.memmap) or frames.filename is None:
    return False
  if not frames.flags.c_contiguous or not hasattr(os, 'preadv'):
    return False
  return frames.offset + frames.nbytes == os.stat(frames.filename).st_size


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
  """Return an uninitialised uint8 array whose memory is aligned."""
  size = int(np.prod(shape, dtype=np.int64))

  buffer = np.empty(size + _ALIGNMENT_BYTES, np.uint8)
  start = -buffer.ctypes.data % _ALIGNMENT_BYTES
  return buffer[start : start + size].reshape(shape)
