"""Cell arrays of MATLAB 5 files, read one entry at a time.

Avenue's `volLabel` is 0.35 GB when unpacked. Here only one of its masks is in memory at once.

Source: MathWorks, "MAT-File Format", level 5. A file is a header of 128 bytes and a sequence of
elements. An element is a tag (type, number of bytes) and data, padded to a multiple of 8 bytes. A
matrix is an element whose data are elements: flags, dimensions, name and values. The values of a
cell array are matrices.
"""

import io
import pathlib
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import check_is_file

_HEADER_BYTES = 128
_DTYPES = {
  1: 'i1',
  2: 'u1',
  3: 'i2',
  4: 'u2',
  5: 'i4',
  6: 'u4',
  7: 'f4',
  9: 'f8',
  12: 'i8',
  13: 'u8',
}
_MATRIX = 14  # type of an element
_COMPRESSED = 15  # type of an element
_CELL = 1  # class of a matrix
_NUMERIC = range(6, 16)  # classes of matrices: double, single, and integers of 8 to 64 bits
_READ_BYTES = 2**16
_UNPACKED_BYTES = 2**22


def read_cells(path: pathlib.Path, variable: str, what: str) -> Iterator[np.ndarray]:
  """Yield the entries of a cell array.

  Args:
    path: the file.
    variable: name of the cell array.
    what: the content in plain words, for the error message.

  Raises:
    UserError: if the file has no such array, has another format, or is cut off.
  """
  check_is_file(path)
  try:
    with open(path, 'rb') as file:
      yield from _cells(file, variable)
  except (
    OSError,
    ValueError,
    EOFError,
    LookupError,
    OverflowError,
    struct.error,
    zlib.error,
  ) as error:
    raise UserError(f'{path} holds no {what} named {variable}: {error}') from None


def _cells(file: BinaryIO, variable: str) -> Iterator[np.ndarray]:
  header = file.read(_HEADER_BYTES)
  if header.startswith(b'MATLAB 7.3'):
    raise ValueError("it is a MATLAB 7.3 file; save it again in MATLAB with the option '-v7'")
  order = {b'IM': '<', b'MI': '>'}.get(header[_HEADER_BYTES - 2 :])
  if order is None:
    raise ValueError('not a MATLAB 5 file')
  names = []
  while tag := file.read(8):
    kind, size = struct.unpack(f'{order}II', tag)
    end = file.tell() + size
    stream = file
    if kind == _COMPRESSED:
      stream = _Inflated(file, size)
      kind, _ = _read_tag(stream, order)
    if kind == _MATRIX:
      array_class, shape, name = _read_head(stream, order)
      names.append(name if array_class == _CELL else f'{name}, which is no cell array')
      if name == variable and array_class == _CELL:
        if int(np.prod(shape)) != max(shape):
          raise ValueError(f'it is {list(shape)}, but one entry per video is [1, N]')
        for _ in range(int(np.prod(shape))):
          yield _read_matrix(stream, order)
        return
    file.seek(end)
  others = ', '.join(names)
  raise ValueError(f'there is no such cell array, but {others or "nothing"}; save one of this name')


def _read_tag(stream: BinaryIO, order: str) -> tuple[int, int]:
  """Read the tag of an element: (type, number of bytes)."""
  return struct.unpack(f'{order}II', _read_exactly(stream, 8))


def _read_head(stream: BinaryIO, order: str) -> tuple[int, tuple[int, ...], str]:
  """Read the head of a matrix after its tag: (class, shape, name)."""
  flags = _read_element(stream, order)
  shape = _read_element(stream, order)
  name = _read_element(stream, order)
  array_class = int(flags[0]) & 0xFF
  text = name.astype(np.uint8).tobytes().decode('latin1')
  return array_class, tuple(int(size) for size in shape), text


def _read_matrix(stream: BinaryIO, order: str) -> np.ndarray:
  """Read a numeric matrix. MATLAB stores it column by column."""
  kind, size = _read_tag(stream, order)
  if kind != _MATRIX:
    raise ValueError('an entry is not a matrix of numbers')
  if not size:
    return np.zeros((0, 0))
  array_class, shape, _ = _read_head(stream, order)
  if array_class == _CELL:
    raise ValueError('an entry is itself a cell array')
  if array_class not in _NUMERIC:
    raise ValueError('an entry is not a matrix of numbers, but text, a struct or sparse')
  return _read_element(stream, order).reshape(shape, order='F')


def _read_element(stream: BinaryIO, order: str) -> np.ndarray:
  """Read an element of numbers, [n].

  Up to four bytes of data are in the tag itself. The upper half of its first word is then their
  number, which is 0 otherwise.
  """
  (first_word,) = struct.unpack(f'{order}I', _read_exactly(stream, 4))
  small_size = first_word >> 16
  if small_size:
    kind = first_word & 0xFFFF
    data = _read_exactly(stream, 4)[:small_size]
  else:
    kind = first_word
    (size,) = struct.unpack(f'{order}I', _read_exactly(stream, 4))
    data = _read_exactly(stream, size)
    _read_exactly(stream, -size % 8)
  if not data:
    return np.zeros(0)
  return np.frombuffer(data, np.dtype(order + _DTYPES[kind]))


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
  data = stream.read(size)
  if len(data) != size:
    raise EOFError('the file is cut off')
  return data


class _Inflated(io.RawIOBase):
  """The next `size` bytes of a file, unpacked while they are read."""

  def __init__(self, file: BinaryIO, size: int):
    self._file = file
    self._left = size
    self._inflate = zlib.decompressobj()
    self._unpacked = bytearray()

  def read(self, size: int = -1) -> bytes:
    while len(self._unpacked) < size:
      packed = self._inflate.unconsumed_tail
      if not packed:
        packed = self._file.read(min(_READ_BYTES, self._left))
        self._left -= len(packed)
      if not packed:
        break
      self._unpacked += self._inflate.decompress(packed, _UNPACKED_BYTES)
    taken = bytes(self._unpacked[:size])
    self._unpacked = self._unpacked[size:]
    return taken
