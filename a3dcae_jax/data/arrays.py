"""uint8 arrays on disk that grow frame by frame."""

import pathlib
import shutil
from types import TracebackType
from typing import Self

import numpy as np

_MAGIC = b'\x93NUMPY\x01\x00'  # of NumPy's format, version 1.0
_HEADER_BYTES = 128  # room for the header, which is written last
_BLOCK_FRAMES = 256
_BLOCK_BYTES = 2**22


class ArrayWriter:
  """A .npy file of frames, whose number is known only at the end.

  Use it in a `with` statement. The header is written when the block ends.

  Args:
    path: the file.
    shape: (height, width) of the frames.
  """

  def __init__(self, path: pathlib.Path, shape: tuple[int, int]):
    self._path = path
    self._shape = tuple(shape)
    self._count = 0

  def __enter__(self) -> Self:
    self._file = open(self._path, 'wb')
    self._file.write(b'\0' * _HEADER_BYTES)
    return self

  def append(self, frame: np.ndarray) -> None:
    """Append one frame, [H, W]."""
    self._file.write(np.ascontiguousarray(frame, np.uint8))
    self._count += 1

  def extend(self, frames: np.ndarray) -> None:
    """Append frames [N, H, W], with a bounded number of them in memory at a time."""
    for start in range(0, len(frames), _BLOCK_FRAMES):
      block = np.ascontiguousarray(frames[start : start + _BLOCK_FRAMES], np.uint8)
      self._file.write(block)
      self._count += len(block)

  def extend_file(self, path: pathlib.Path) -> None:
    """Append all frames of a file that another `ArrayWriter` has written.

    The file is copied rather than memory-mapped: mapped pages count as memory of this process.
    """
    start = self._file.tell()
    with open(path, 'rb') as source:
      source.seek(_HEADER_BYTES)
      shutil.copyfileobj(source, self._file, _BLOCK_BYTES)
    height, width = self._shape
    self._count += (self._file.tell() - start) // (height * width)

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
  ) -> None:
    """Write the header, version 1.0 of NumPy's format, padded to its fixed length."""
    shape = (self._count, *self._shape)
    text = repr({'descr': '|u1', 'fortran_order': False, 'shape': shape})
    text_bytes = _HEADER_BYTES - len(_MAGIC) - 2
    text = text.ljust(text_bytes - 1) + '\n'
    self._file.seek(0)
    self._file.write(_MAGIC)
    self._file.write(text_bytes.to_bytes(2, 'little'))
    self._file.write(text.encode('latin1'))
    self._file.close()
