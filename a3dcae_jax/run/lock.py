"""One run at a time in a workdir: a lock that ends with its process, however that ends."""

import fcntl
import os
import pathlib

from a3dcae_jax.common.errors import UserError


class WorkdirLock:
  """A context in which `take()` makes the workdir this process's own, until the context or the process ends; taking it again is a no-op."""

  def __init__(self, workdir):
    self._path, self._file = pathlib.Path(workdir) / '.lock', None

  def __enter__(self):
    return self

  def take(self):
    """Locks; the folder is made if need be. Raises: UserError naming the process that has it."""
    if self._file:
      return
    self._path.parent.mkdir(parents=True, exist_ok=True)
    file = open(self._path, 'a+', encoding='utf-8')  # noqa: SIM115 - it stays open: the lock is its
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      file.seek(0)
      owner = file.read().strip() or 'unknown'
      file.close()
      raise UserError(
        f'{self._path.parent} is in use by another run (process {owner}): wait for it, or choose another --workdir'
      ) from None
    file.truncate(0)
    file.write(f'{os.getpid()} on {os.uname().nodename}\n')
    file.flush()
    self._file = file

  def __exit__(self, *_):
    if self._file:
      self._file.close()
      self._file = None
