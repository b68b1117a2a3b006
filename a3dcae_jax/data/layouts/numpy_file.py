"""Numeric arrays of `.npy` and `.npz` files."""

import pathlib
import zipfile

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import check_is_file

_MAGIC = b'\x93NUMPY'
_ZIP = b'PK'


def read_array(path: str | pathlib.Path) -> np.ndarray:
  """Return the numbers of a `.npy` file, mapped into memory.

  Raises:
    UserError: naming the file, if it cannot be read, has no numbers, or holds anything else.
  """
  check_is_file(path)
  try:
    with open(path, 'rb') as file:
      start = file.read(len(_MAGIC))
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error.strerror}') from None
  if not start:
    raise UserError(f'{path} is empty')
  if start.startswith(_ZIP):
    raise UserError(f'{path} is a .npz archive: save its array alone, with numpy.save')
  if start != _MAGIC:
    raise UserError(f'{path} is not a .npy file: write it with numpy.save')
  try:
    array = np.load(path, mmap_mode='r', allow_pickle=False)
  except Exception as error:  # NumPy raises errors of many types for damaged bytes
    reason = (str(error) or type(error).__name__).splitlines()[0]
    raise UserError(f'{path} cannot be read as an array of numbers: {reason}') from None
  _check_numbers(array, path)
  return array


def read_labels(path: str | pathlib.Path) -> np.ndarray:
  """Read a row of frame labels: 0 = normal; 1, or 255 as in masks, = abnormal.

  Args:
    path: a `.npy` file of shape [N], [1, N] or [N, 1].

  Returns:
    uint8 [N], 0 or 1.

  Raises:
    UserError: naming the file, the shape or the values.
  """
  return _labels_of(read_array(path), path)


def read_label_archive(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """Read the rows of frame labels of a `.npz` archive, as `read_labels` reads one.

  Returns:
    name of the array -> uint8 [N], 0 or 1.

  Raises:
    UserError: naming the file, and the array that is at fault.
  """
  check_is_file(path)
  if not zipfile.is_zipfile(path):
    raise UserError(f'{path} is not a whole .npz archive: write it with numpy.savez')
  try:
    with np.load(path, allow_pickle=False) as archive:
      arrays = {name: archive[name] for name in archive.files}
  except Exception as error:  # NumPy and zipfile raise errors of many types for damaged bytes
    reason = (str(error) or type(error).__name__).splitlines()[0]
    raise UserError(f'{path} cannot be read as arrays of numbers: {reason}') from None
  labels = {}
  for name, array in arrays.items():
    source = f'{path}, {name}'
    _check_numbers(array, source)
    labels[name] = _labels_of(array, source)
  return labels


def _check_numbers(array: np.ndarray, source: object) -> None:
  if array.dtype.kind not in 'biuf':
    raise UserError(f'{source} must hold numbers, not values of type {array.dtype}')


def _labels_of(array: np.ndarray, source: object) -> np.ndarray:
  """Return a row of labels as uint8 [N]; `source` is its place, for errors."""
  if array.ndim not in (1, 2) or max(array.shape) != array.size:
    raise UserError(f'{source} must be one label per frame, [N]; its shape is {list(array.shape)}')
  row = np.asarray(array).ravel()
  if not (np.isin(row, (0, 1)).all() or np.isin(row, (0, 255)).all()):
    shown = ', '.join(f'{value:g}' for value in np.unique(row)[:5].tolist())
    raise UserError(f'{source}: labels must be 0 and 1, or 0 and 255; it has {shown}')
  return (row > 0).astype(np.uint8)
