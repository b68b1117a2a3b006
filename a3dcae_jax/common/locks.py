"""Locks between processes, released when the process that holds one ends."""

import contextlib
import errno
import fcntl
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import IO

# Errors of `flock` on file systems without locks, such as some network and FUSE file systems.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


@contextlib.contextmanager
def exclusive(path: pathlib.Path, purpose: str) -> Iterator[bool]:
  """Hold the lock of a file; wait for a process that has it.

  Args:
    path: the lock's file. It is made, with its folder, and removed at the end.
    purpose: task of the other process, such as 'finds the boxes'; printed while waiting.

  Yields:
    Whether the lock is held. False where the file system has no locks; then a warning is printed.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  file, is_held = _open_locked(path, purpose)
  try:
    yield is_held
  finally:
    path.unlink(missing_ok=True)  # before the lock is free: a waiting process opens it again
    file.close()


def try_lock(file: IO) -> bool | None:
  """Lock an open file, without waiting.

  Where the file system has no locks, a warning is printed.

  Returns:
    Whether the file is locked; False if another process has the lock, None without locks.
  """
  return _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _open_locked(path: pathlib.Path, purpose: str) -> tuple[IO, bool]:
  """Open and lock a file that is still at `path` once it is locked.

  Returns:
    The file, and whether it is locked.
  """
  while True:
    with contextlib.ExitStack() as unless_locked:
      file = unless_locked.enter_context(open(path, 'a', encoding='utf-8'))
      is_held = try_lock(file)
      if is_held is False:
        print(f'{path.parent}: waiting for another process that {purpose}', file=sys.stderr)
        is_held = _flock(file, fcntl.LOCK_EX)
      with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
          unless_locked.pop_all()
          return file, bool(is_held)


def _flock(file: IO, operation: int) -> bool | None:
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
    return None
  return True
