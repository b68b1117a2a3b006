"""What a checkpoint's folder must hold to be whole: `manifest.json` with size and SHA-256 of every other file, and what its arrays look like."""

import hashlib
import os
import pathlib

import jax

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_json, write_json

NAME = 'manifest.json'


def write_manifest(folder, tree, **facts):
  """Hashes all files below `folder`, after they have reached the disk, and writes its manifest; `facts` go in as they are."""
  files = {
    str(path.relative_to(folder)): {
      'bytes': path.stat().st_size,
      'sha256': _sha256(path, flush=True),
    }
    for path in _files(folder)
  }
  write_json(pathlib.Path(folder) / NAME, {'files': files, 'arrays': describe(tree), **facts})


def damage(folder):
  """What is wrong with a checkpoint's folder, in one phrase; '' where it is whole. Reads all of it."""
  folder = pathlib.Path(folder)
  try:
    expected = read_json(folder / NAME)['files']
  except (UserError, KeyError, TypeError):
    return f'{NAME} is missing or broken'
  found = {str(path.relative_to(folder)): path for path in _files(folder)}
  for name, record in expected.items():  # all sizes first: they are had for nothing
    if name not in found:
      return f'{name} is missing'
    if found[name].stat().st_size != record['bytes']:
      return f'{name} has {found[name].stat().st_size} bytes of {record["bytes"]}'
  return next(
    (
      f'{name} is not what was written (SHA-256 differs)'
      for name, record in expected.items()
      if _sha256(found[name]) != record['sha256']
    ),
    '',
  )


def describe(tree):
  """Path of each array -> 'float32[3, 3]'."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): f'{leaf.dtype}{list(leaf.shape)}'
    for path, leaf in leaves
  }


def misfit(folder, like):
  """The first array of a checkpoint that is not as in `like`, as 'generator/... is float32[3] there, float32[4] here'; '' if all are."""
  there, here = read_json(pathlib.Path(folder) / NAME)['arrays'], describe(like)
  return next(
    (
      f'{name} is {there.get(name, "absent")} there, {here.get(name, "absent")} here'
      for name in sorted(there.keys() | here.keys())
      if there.get(name) != here.get(name)
    ),
    '',
  )


def _files(folder):
  return sorted(
    path for path in pathlib.Path(folder).rglob('*') if path.is_file() and path.name != NAME
  )


def _sha256(path, *, flush=False):
  digest = hashlib.sha256()
  with open(path, 'rb') as file:
    while block := file.read(2**22):
      digest.update(block)
    if flush:
      os.fsync(file.fileno())
  return digest.hexdigest()
