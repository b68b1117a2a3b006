"""uint8 arrays on disk that grow frame by frame."""

import shutil

import numpy as np


class ArrayWriter:
  """Appends uint8 frames [H, W] to a .npy file whose length is known only at the end."""

  _HEADER_BYTES = 128

  def __init__(self, path, shape):
    self._path, self._shape, self._count = path, tuple(shape), 0

  def __enter__(self):
    self._file = open(self._path, 'wb')
    self._file.write(b'\0' * self._HEADER_BYTES)
    return self

  def append(self, frame):
    """One frame."""
    self._file.write(np.ascontiguousarray(frame, np.uint8))
    self._count += 1

  def extend(self, frames):
    """Frames [N, H, W], a bounded number of them in memory at a time."""
    for start in range(0, len(frames), 256):
      block = np.ascontiguousarray(frames[start : start + 256], np.uint8)
      self._file.write(block)
      self._count += len(block)

  def extend_file(self, path):
    """All frames of another file of this class, copied without being mapped: mapped pages would count as this process's memory."""
    with open(path, 'rb') as source:
      source.seek(self._HEADER_BYTES)
      before = self._file.tell()
      shutil.copyfileobj(source, self._file, 2**22)
    self._count += (self._file.tell() - before) // (self._shape[0] * self._shape[1])

  def __exit__(self, *_):
    """Writes the header of version 1.0 of NumPy's format, padded to its fixed place."""
    fields = repr({'descr': '|u1', 'fortran_order': False, 'shape': (self._count, *self._shape)})
    magic = b'\x93NUMPY\x01\x00' + (self._HEADER_BYTES - 10).to_bytes(2, 'little')
    self._file.seek(0)
    self._file.write(magic + fields.ljust(self._HEADER_BYTES - 11).encode('latin1') + b'\n')
    self._file.close()
