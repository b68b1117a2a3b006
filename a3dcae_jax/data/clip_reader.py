"""Clips read from a frame array by position: only the frames that they need, outside the interpreter's lock, into aligned memory."""

import os
import weakref

import numpy as np

from a3dcae_jax.data.windows import clip_rows

_ALIGNMENT_BYTES = 64  # so that TensorFlow takes the array as it is, without a copy


class ClipReader:
  """`reader(first, stride)` -> uint8 [B, T, H, W], the clips `frames[first[b] + floor(stride[b] * t)]`; any number of threads may call it.

  A memory-mapped array's file is read with `pread`: mapped pages would count as this process's memory, and a page fault reads a page
  where a `pread` reads a frame. Frames in a row (stride 1) are one read.

  Args: frames: uint8 [N, H, W]. window: T.
  """

  def __init__(self, frames, *, window):
    self._frames, self._window = np.asarray(frames), window
    self._frame_bytes = int(np.prod(frames.shape[1:], dtype=np.int64))
    self._file, self._offset = _file_of(frames)
    if self._file is not None:
      weakref.finalize(self, os.close, self._file)

  def __call__(self, first, stride):
    out = _aligned((len(first), self._window, *self._frames.shape[1:]))
    rows = clip_rows(first, stride, self._window)
    if self._file is None:
      np.take(
        self._frames, rows, axis=0, out=out, mode='clip'
      )  # gives the lock back, which indexing does not
      return out
    for clip, indices in zip(out, rows.tolist(), strict=True):
      if indices == list(range(indices[0], indices[0] + self._window)):
        self._read(clip, indices[0])
        continue
      for place, (frame, index) in enumerate(zip(clip, indices, strict=True)):
        if place and index == indices[place - 1]:
          frame[...] = clip[place - 1]
        else:
          self._read(frame, index)
    return out

  def span(self, start, stop):
    """Frames start .. stop - 1, uint8 [n, H, W]."""
    if self._file is None:
      return self._frames[start:stop]
    out = _aligned((stop - start, *self._frames.shape[1:]))
    self._read(out, start)
    return out

  def _read(self, target, frame):
    view, offset = memoryview(target).cast('B'), self._offset + frame * self._frame_bytes
    while view:
      count = os.preadv(self._file, [view], offset)
      if not count:
        raise OSError(f'the frame cache ended while frame {frame} was read')
      view, offset = view[count:], offset + count


def _file_of(frames):
  """(descriptor, offset of the first frame) of an array that is a whole file but for its header; (None, 0) of any other."""
  if (
    not isinstance(frames, np.memmap)
    or not frames.flags.c_contiguous
    or frames.filename is None
    or not hasattr(os, 'preadv')
  ):
    return None, 0
  if (
    frames.offset + frames.nbytes != os.stat(frames.filename).st_size
  ):  # a part of the file: where it begins is not told
    return None, 0
  return os.open(frames.filename, os.O_RDONLY), frames.offset


def _aligned(shape):
  size = int(np.prod(shape, dtype=np.int64))
  buffer = np.empty(size + _ALIGNMENT_BYTES, np.uint8)
  start = -buffer.ctypes.data % _ALIGNMENT_BYTES
  return buffer[start : start + size].reshape(shape)
