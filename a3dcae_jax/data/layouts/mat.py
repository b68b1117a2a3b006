"""Cell arrays of MATLAB 5 files, one entry at a time: Avenue's `volLabel` is 0.35 GB unpacked, and one of its masks is in memory at once.

Source: MathWorks, "MAT-File Format", level 5: a file is a header of 128 bytes and elements, each a tag (type, bytes) and data padded to 8
bytes; a matrix is an element of elements (flags, dimensions, name, data), and a cell array's data are matrices.
"""

import io
import struct
import zlib

import numpy as np

from a3dcae_jax.common.errors import UserError

_TYPES = {
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
_MATRIX, _COMPRESSED, _CELL = 14, 15, 1
_BLOCK_BYTES = 2**16


def read_cells(path, variable, what):
  """Iterates over the entries of a cell array, as arrays; `what` says in the error what was looked for.

  Raises: UserError for a file without it, of another format, or cut off.
  """
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


def _cells(file, variable):
  order = {b'IM': '<', b'MI': '>'}.get(file.read(128)[126:])
  if order is None:
    raise ValueError('not a MATLAB 5 file')
  while tag := file.read(8):
    kind, size = struct.unpack(f'{order}II', tag)
    after = file.tell() + size
    stream = _Inflated(file, size) if kind == _COMPRESSED else file
    if kind == _COMPRESSED:
      kind, _ = struct.unpack(f'{order}II', _exactly(stream, 8))
    if kind == _MATRIX:
      array_class, shape, name = _head(stream, order)
      if name == variable and array_class == _CELL:
        for _ in range(int(np.prod(shape))):
          yield _matrix(stream, order)
        return
    file.seek(after)
  raise KeyError('there is no such cell array')


def _head(stream, order):
  """(class, shape, name) of a matrix whose tag has been read."""
  flags, shape, name = (_element(stream, order) for _ in range(3))
  return (
    int(flags[0]) & 0xFF,
    tuple(map(int, shape)),
    name.astype(np.uint8).tobytes().decode('latin1'),
  )


def _matrix(stream, order):
  """A numeric matrix as an array; MATLAB caches columns one after another."""
  kind, size = struct.unpack(f'{order}II', _exactly(stream, 8))
  if kind != _MATRIX:
    raise ValueError('an entry is no matrix')
  if not size:
    return np.zeros((0, 0))
  array_class, shape, _ = _head(stream, order)
  if array_class == _CELL:
    raise ValueError('an entry is itself a cell array')
  return _element(stream, order).reshape(shape, order='F')


def _element(stream, order):
  """One element of numbers: [n]. Up to four bytes stand in the tag itself."""
  (first,) = struct.unpack(f'{order}I', _exactly(stream, 4))
  if first >> 16:
    kind, size = first & 0xFFFF, first >> 16
    data = _exactly(stream, 4)[:size]
  else:
    kind, (size,) = first, struct.unpack(f'{order}I', _exactly(stream, 4))
    data = _exactly(stream, size)
    _exactly(stream, -size % 8)
  return np.frombuffer(data, np.dtype(order + _TYPES[kind])) if data else np.zeros(0)


def _exactly(stream, size):
  data = stream.read(size)
  if len(data) != size:
    raise EOFError('the file is cut off')
  return data


class _Inflated(io.RawIOBase):
  """`size` bytes of `file`, unpacked as they are read."""

  def __init__(self, file, size):
    self._file, self._left, self._inflate, self._ready = (
      file,
      size,
      zlib.decompressobj(),
      bytearray(),
    )

  def read(self, size=-1):
    while len(self._ready) < size and (self._left or self._inflate.unconsumed_tail):
      block = self._inflate.unconsumed_tail or self._file.read(min(_BLOCK_BYTES, self._left))
      if not block:
        break
      self._left -= 0 if self._inflate.unconsumed_tail else len(block)
      self._ready += self._inflate.decompress(block, 2**22)
    taken, self._ready = bytes(self._ready[:size]), self._ready[size:]
    return taken
