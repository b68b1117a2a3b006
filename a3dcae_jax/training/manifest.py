"""The manifest of a checkpoint: what its folder must hold to be whole.

`manifest.json` has the size and SHA-256 of every other file, and shape and dtype of each array.
"""

import hashlib
import os
import pathlib
from typing import Any

import jax

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_object, write_json

NAME = 'manifest.json'
_BLOCK_BYTES = 2**22


def write_manifest(folder: str | pathlib.Path, tree: Any, **facts: Any) -> None:
  """Write the manifest of a folder, once all files below it are on the disk.

  Args:
    folder: folder of the checkpoint.
    tree: the arrays that were saved.
    **facts: further entries of the manifest.
  """
  folder = pathlib.Path(folder)
  files = {}
  for path in _files(folder):
    _flush(path)
    name = _name(path, folder)
    files[name] = {'bytes': path.stat().st_size, 'sha256': _sha256(path)}
  write_json(folder / NAME, {'files': files, 'arrays': describe(tree), **facts})


def damage(folder: str | pathlib.Path) -> str:
  """Read a checkpoint's folder and return its damage; '' if it is whole."""
  folder = pathlib.Path(folder)
  try:
    records = read_object(folder / NAME)['files']
    records = {name: (record['bytes'], record['sha256']) for name, record in records.items()}
  except (UserError, KeyError, TypeError, AttributeError):
    return f'{NAME} is missing or broken'
  found = {_name(path, folder): path for path in _files(folder)}
  # Sizes are compared first, because that is fast.
  for name, (expected, _) in records.items():
    if name not in found:
      return f'{name} is missing'
    size = found[name].stat().st_size
    if size != expected:
      return f'{name} has {size} bytes of {expected}'
  for name, (_, sha256) in records.items():
    if _sha256(found[name]) != sha256:
      return f'{name} is not what was written (SHA-256 differs)'
  return ''


def describe(tree: Any) -> dict[str, str]:
  """Return the path of each array with its dtype and shape, such as 'float32[3, 3]'."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  described = {}
  for path, leaf in leaves:
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    described[name] = f'{leaf.dtype}{list(leaf.shape)}'
  return described


def misfit(folder: str | pathlib.Path, like: Any) -> str:
  """Compare the arrays of a checkpoint with those of `like`.

  Returns:
    The first difference, as 'generator/... is float32[3] there, float32[4] here'; '' if there
    is none.
  """
  there = read_object(pathlib.Path(folder) / NAME)['arrays']
  here = describe(like)
  for name in sorted(there.keys() | here.keys()):
    saved = there.get(name, 'absent')
    wanted = here.get(name, 'absent')
    if saved != wanted:
      return f'{name} is {saved} there, {wanted} here'
  return ''


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
  """Return all files of a checkpoint but its manifest, in order."""
  files = []
  for path in sorted(folder.rglob('*')):
    if path.is_file() and path.name != NAME:
      files.append(path)
  return files


def _name(path: pathlib.Path, folder: pathlib.Path) -> str:
  return str(path.relative_to(folder))


def _flush(path: pathlib.Path) -> None:
  """Wait until a file has reached the disk."""
  with open(path, 'rb') as file:
    os.fsync(file.fileno())


def _sha256(path: pathlib.Path) -> str:
  digest = hashlib.sha256()
  with open(path, 'rb') as file:
    while block := file.read(_BLOCK_BYTES):
      digest.update(block)
  return digest.hexdigest()
