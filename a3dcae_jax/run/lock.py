"""One run at a time in a workdir: a lock that ends with its process, however that ends."""

import fcntl
import os
import pathlib
from typing import Self

from a3dcae_jax.common.errors import UserError


class WorkdirLock:
  """A context in which `take()` locks the workdir, until the context or the process ends."""

  def __init__(self, workdir: pathlib.Path) -> None:
    self._path = pathlib.Path(workdir) / '.lock'
    self._file = None

  def __enter__(self) -> Self:
    return self

  def take(self) -> None:
    """Locks the workdir and makes it if need be; taking the lock again does nothing.

    Raises:
      UserError: naming the process that has the lock.
    """
    if self._file:
      return
    self._path.parent.mkdir(parents=True, exist_ok=True)
    file = open(self._path, 'a+', encoding='utf-8')  # noqa: SIM115 - the open file is the lock
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      file.seek(0)
      owner = file.read().strip() or 'unknown'
      file.close()
      raise UserError(
        f'{self._path.parent} is in use by another run (process {owner}): '
        'wait for it, or choose another --workdir'
      ) from None
    file.truncate(0)
    file.write(f'{os.getpid()} on {os.uname().nodename}\n')
    file.flush()
    self._file = file

  def __exit__(self, *_: object) -> None:
    if self._file:
      self._file.close()
      self._file = None
