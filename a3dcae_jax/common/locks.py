"""Locks between processes, free again when the process that has one ends."""

import contextlib
import errno
import fcntl
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import IO

# What `flock` says on a file system without locks: some network and FUSE file systems.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


@contextlib.contextmanager
def exclusive(path: pathlib.Path, purpose: str) -> Iterator[None]:
  """Hold the lock of a file; wait for a process that has it.

  Args:
    path: the lock's file. It is made, with its folder, and removed at the end.
    purpose: what the other process does, for the line on waiting, such as 'finds the boxes'.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  file = _open_locked(path, purpose)
  try:
    yield
  finally:
    path.unlink(missing_ok=True)  # before the lock is free: a process that waits opens it anew
    file.close()


def try_lock(file: IO) -> bool:
  """Lock an open file, without waiting.

  Where the file system has no locks, a line says so, and the file counts as locked.

  Returns:
    False if another process has the lock.
  """
  return _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _open_locked(path: pathlib.Path, purpose: str) -> IO:
  """Open and lock a file that is still at `path` once it is locked."""
  while True:
    with contextlib.ExitStack() as unless_locked:
      file = unless_locked.enter_context(open(path, 'a', encoding='utf-8'))
      if not try_lock(file):
        print(f'{path.parent}: waiting for another process that {purpose}', file=sys.stderr)
        _flock(file, fcntl.LOCK_EX)
      with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
          unless_locked.pop_all()
          return file


def _flock(file: IO, operation: int) -> bool:
  try:
    fcntl.flock(file, operation)
  except BlockingIOError:
    return False
  except OSError as error:
    if error.errno not in _NO_LOCKS:
      raise
    print(
      f'{file.name}: the file system has no locks ({error.strerror}); '
      'make sure that no other process writes there',
      file=sys.stderr,
    )
  return True
