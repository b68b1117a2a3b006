"""A lock on the workdir, free again when the process that took it has ended."""

import os
import pathlib
from typing import Self

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.locks import try_lock


class WorkdirLock:
  """A lock on a workdir, held from `take()` until the context ends.

  The system frees it when its process ends, even by a signal, so a lock never has to be removed.
  """

  def __init__(self, workdir: pathlib.Path) -> None:
    self._path = pathlib.Path(workdir) / '.lock'
    self._file = None

  def __enter__(self) -> Self:
    return self

  def take(self) -> None:
    """Lock the workdir, and make it if it does not exist.

    Taking the lock again does nothing.

    Raises:
      UserError: if another process has the lock; it is named.
    """
    if self._file:
      return
    self._path.parent.mkdir(parents=True, exist_ok=True)
    file = open(self._path, 'a+', encoding='utf-8')  # noqa: SIM115 - the open file is the lock
    if try_lock(file) is False:
      file.seek(0)
      owner = file.read().strip() or 'unknown'
      file.close()
      raise UserError(
        f'{self._path.parent} is in use by another run (process {owner}): '
        'wait for it, or choose another --workdir'
      )
    file.truncate(0)
    file.write(f'{os.getpid()} on {os.uname().nodename}\n')
    file.flush()
    self._file = file

  def __exit__(self, *_: object) -> None:
    if self._file:
      self._file.close()
      self._file = None
