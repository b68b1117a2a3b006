"""Files written whole, usable places, and JSON whose errors name the file."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

from a3dcae_jax.common.errors import UserError

_KEY_CHARACTERS = 60  # of the name in a key; file systems allow 255 bytes


def local_path(text: str | pathlib.Path, name: str) -> str:
  """Return a path that the user gave, with `~` replaced by the home folder.

  Args:
    text: the path; empty stays empty.
    name: of the flag or field, for errors.

  Raises:
    UserError: if it is an address, such as gs://bucket/folder, or the home of an unknown user.
  """
  text = str(text)
  if re.match(r'[A-Za-z][A-Za-z0-9+.-]*://', text):
    raise UserError(
      f'{name} (={text}) is an address, but only folders of this machine can be used: copy its '
      'files to a folder, or mount it as one'
    )
  try:
    return str(pathlib.Path(text).expanduser()) if text.startswith('~') else text
  except RuntimeError as error:
    raise UserError(f'{name} (={text}): {error}') from None


def check_writable(path: str | pathlib.Path, name: str) -> None:
  """Check that a folder, new or not, can be written to. Nothing is left there.

  Args:
    path: the folder.
    name: of the flag or field, for errors.

  Raises:
    UserError: naming the folder that is the obstacle.
  """
  place = pathlib.Path(path).absolute()
  try:
    while not place.exists():
      if place.is_symlink():
        raise UserError(f'{name} (={path}) cannot be written: {place} is a broken link; remove it')
      place = place.parent
    with tempfile.TemporaryDirectory(prefix='.writable.', dir=place):
      pass
  except OSError as error:
    raise UserError(
      f'{name} (={path}) cannot be written: {place}: {error.strerror}; name another folder'
    ) from None


def check_is_file(path: str | pathlib.Path) -> None:
  """Check that a path, if it exists, is a regular file.

  Reading from a pipe could wait for ever.

  Raises:
    UserError: if it is a folder, a pipe or a device.
  """
  if os.path.exists(path) and not os.path.isfile(path):
    kind = 'a folder' if os.path.isdir(path) else 'a pipe or a device'
    raise UserError(f'{path} must be a file, it is {kind}: rename it, or put a file there')


@contextlib.contextmanager
def atomic_write(path: str | pathlib.Path, mode: str = 'w') -> Iterator[IO]:
  """Open a temporary file that is renamed to `path` when the block ends well.

  If the block raises, an older file at `path` stays as it is.

  Args:
    path: the file to write; its folder is made.
    mode: 'w' for UTF-8 text, 'wb' for bytes.

  Yields:
    The open file.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  encoding = None if 'b' in mode else 'utf-8'
  handle, temporary = tempfile.mkstemp(prefix=f'.{path.name}.', dir=path.parent)
  try:
    with os.fdopen(handle, mode, encoding=encoding) as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files for their owner alone
    os.replace(temporary, path)
  except BaseException as error:
    _name_place(error, path)
    pathlib.Path(temporary).unlink(missing_ok=True)
    raise


@contextlib.contextmanager
def atomic_dir(path: str | pathlib.Path) -> Iterator[pathlib.Path]:
  """Make a temporary folder that is renamed to `path` when the block ends well.

  An older folder at `path` is then replaced. If the block raises, it stays as it is.

  Yields:
    The temporary folder, beside `path`.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = pathlib.Path(tempfile.mkdtemp(prefix=f'.{path.name}.', dir=path.parent))
  try:
    yield temporary
    os.chmod(temporary, 0o777 & ~_umask())  # mkdtemp makes folders for their owner alone
    while not _put(temporary, path):
      pass  # another process has put its folder there in the meantime
  except BaseException as error:
    _name_place(error, path)
    shutil.rmtree(temporary, ignore_errors=True)
    raise


def _name_place(error: BaseException, path: pathlib.Path) -> None:
  """Add the path to an error of a write that names none, as for a full disk."""
  if isinstance(error, OSError) and error.errno and error.filename is None:
    error.filename = str(path)


def remove_leftovers(path: pathlib.Path) -> None:
  """Remove temporary folders that killed processes left beside `path`.

  No other process may be inside `atomic_dir(path)`.
  """
  for entry in path.parent.glob(f'.{glob.escape(path.name)}.*'):
    if re.fullmatch(r'[a-z0-9_]{8}', entry.name.rpartition('.')[2]):  # as mkdtemp names folders
      shutil.rmtree(entry, ignore_errors=True)


def _put(folder: pathlib.Path, path: pathlib.Path) -> bool:
  """Rename a folder to `path` and remove the folder that was there.

  Returns:
    False if another process has put a new folder there in the meantime.
  """
  with tempfile.TemporaryDirectory(prefix=f'.{path.name}.', dir=path.parent) as older:
    with contextlib.suppress(FileNotFoundError):
      if path.is_dir():  # a file of this name is not removed
        os.replace(path, pathlib.Path(older) / 'older')
    try:
      os.replace(folder, path)
    except OSError as error:
      if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
        raise
      return False
  return True


def file_key(name: str) -> str:
  """Return a file name for any text that is valid on every file system.

  Different texts give different file names.
  """
  text = re.sub(r'[^A-Za-z0-9_.-]', '_', name)[:_KEY_CHARACTERS]
  # Names of files that are not UTF-8 have surrogates.
  digest = hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()
  return f'{text}-{digest[:16]}'


def write_json(path: str | pathlib.Path, value: Any) -> None:
  """Write `value` as indented JSON, atomically.

  Raises:
    ValueError: for NaN and infinity, which JSON readers do not agree on.
  """
  with atomic_write(path) as file:
    json.dump(value, file, indent=2, allow_nan=False)
    file.write('\n')


def read_json(path: str | pathlib.Path) -> Any:
  """Read a JSON file.

  Raises:
    UserError: naming the file, if it does not exist or is not JSON.
  """
  try:
    return json.loads(pathlib.Path(path).read_bytes().decode('utf-8'))
  except FileNotFoundError:
    raise UserError(f'{path} does not exist') from None
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error.strerror}') from None
  except (ValueError, RecursionError) as error:  # also bytes that are not UTF-8
    raise UserError(f'{path} is not valid JSON: {error}') from None


def read_object(path: str | pathlib.Path) -> dict[str, Any]:
  """Read a JSON file that holds an object.

  Raises:
    UserError: naming the file, if it does not exist or holds anything else.
  """
  value = read_json(path)
  if not isinstance(value, dict):
    raise UserError(f'{path} is damaged: it must hold a JSON object, not {type(value).__name__}')
  return value


def object_digest(value: Mapping[str, Any]) -> str:
  """Return the SHA-256 of a JSON object without its field `sha256`.

  It depends on the content alone, not on spaces or the order of fields in a file.
  """
  rest = {key: entry for key, entry in value.items() if key != 'sha256'}
  return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _umask() -> int:
  """Return the process's umask, which can only be read by setting it."""
  umask = os.umask(0)
  os.umask(umask)
  return umask
