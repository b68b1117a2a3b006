"""Arrays as bytes and back, never through pickle."""

import io

import numpy as np

from a3dcae_jax.common.errors import UserError


def pack_arrays(arrays):
  """Dict of arrays -> bytes of an uncompressed .npz; the same arrays give the same bytes."""
  buffer = io.BytesIO()
  np.savez(
    buffer, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()}
  )
  return buffer.getvalue()


def unpack_arrays(content, source):
  """The dict back; what is no such file is a `UserError` that names `source`."""
  try:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
      return {name: file[name] for name in file.files}
  except (ValueError, OSError, EOFError, AttributeError) as error:
    raise UserError(f'{source} is no .npz of plain arrays: {error}') from None


def pack_array(array):
  """One array -> bytes of a .npy."""
  buffer = io.BytesIO()
  np.save(buffer, np.asarray(array), allow_pickle=False)
  return buffer.getvalue()


def unpack_array(content, source):
  """The array back; what is no .npy is a `UserError` that names `source`."""
  try:
    return np.load(io.BytesIO(content), allow_pickle=False)
  except (ValueError, OSError, EOFError) as error:
    raise UserError(f'{source} is no .npy of a plain array: {error}') from None
