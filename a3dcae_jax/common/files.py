"""Files that are either whole or not there, and JSON that says which file was at fault."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile

from a3dcae_jax.common.errors import UserError


@contextlib.contextmanager
def atomic_write(path, mode='w'):
  """Opens a temporary file beside `path` and renames it onto `path` once the block has ended well."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  handle, temporary = tempfile.mkstemp(prefix=f'.{path.name}.', dir=path.parent)
  try:
    with os.fdopen(handle, mode, encoding=None if 'b' in mode else 'utf-8') as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes files for the owner alone
    os.replace(temporary, path)
  except BaseException:
    pathlib.Path(temporary).unlink(missing_ok=True)
    raise


@contextlib.contextmanager
def atomic_dir(path):
  """Yields a temporary folder beside `path` that takes its place (an old `path` included) once the block has ended well."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = pathlib.Path(tempfile.mkdtemp(prefix=f'.{path.name}.', dir=path.parent))
  try:
    yield temporary
    if path.exists():
      shutil.rmtree(path)
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(temporary, 0o777 & ~umask)
    os.replace(temporary, path)
  except BaseException:
    shutil.rmtree(temporary, ignore_errors=True)
    raise


def write_json(path, value):
  """Writes `value` as indented JSON, whole or not at all. NaN and infinity are refused: no reader agrees on them."""
  with atomic_write(path) as file:
    json.dump(value, file, indent=2, allow_nan=False)
    file.write('\n')


def read_json(path):
  """Reads a JSON file; a missing or broken one is a `UserError` that names it."""
  try:
    return json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
  except FileNotFoundError:
    raise UserError(f'{path} does not exist') from None
  except json.JSONDecodeError as error:
    raise UserError(f'{path} is not valid JSON: {error}') from None
