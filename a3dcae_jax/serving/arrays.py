"""Arrays as bytes and back, never through pickle."""

import hashlib
import io
from collections.abc import Mapping

import numpy as np

from a3dcae_jax.common.errors import UserError


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
  """Return the bytes of an uncompressed .npz; the same arrays give the same bytes."""
  buffer = io.BytesIO()
  plain = {name: np.asarray(array) for name, array in arrays.items()}
  np.savez(buffer, allow_pickle=False, **plain)
  return buffer.getvalue()


def arrays_digest(arrays: Mapping[str, np.ndarray]) -> str:
  """Return the SHA-256 of arrays without the one named `sha256`."""
  digest = hashlib.sha256()
  for name in sorted(arrays.keys() - {'sha256'}):
    array = np.asarray(arrays[name])
    digest.update(f'{name} {array.dtype.str} {array.shape}\n'.encode())
    digest.update(array.tobytes())
  return digest.hexdigest()


def unpack_arrays(content: bytes, source: str) -> dict[str, np.ndarray]:
  """Return the arrays of a .npz.

  Args:
    content: bytes of the file.
    source: name of the file, for errors.

  Raises:
    UserError: if it is not a .npz of plain arrays.
  """
  try:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
      return {name: file[name] for name in file.files}
  except Exception as error:  # zipfile and NumPy raise errors of many types for damaged bytes
    raise UserError(f'{source} is not a .npz of plain arrays: {error}') from None


def pack_array(array: np.ndarray) -> bytes:
  """Return the bytes of a .npy."""
  buffer = io.BytesIO()
  np.save(buffer, np.asarray(array), allow_pickle=False)
  return buffer.getvalue()


def unpack_array(content: bytes, source: str) -> np.ndarray:
  """Return the array of a .npy.

  Args:
    content: bytes of the file.
    source: name of the file, for errors.

  Raises:
    UserError: if it is not a .npy of a plain array.
  """
  try:
    return np.load(io.BytesIO(content), allow_pickle=False)
  except Exception as error:  # NumPy raises errors of many types for damaged bytes
    raise UserError(f'{source} is not a .npy of a plain array: {error}') from None
