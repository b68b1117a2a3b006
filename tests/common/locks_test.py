"""Locks: one process at a time, no file left, and a line where a file system has none."""

import errno
import fcntl
import os
import threading

import pytest

from a3dcae_jax.common import locks


def test_only_one_at_a_time_holds_a_lock(tmp_path, capsys):
  path = tmp_path / 'new' / '.lock'
  inside = []
  most = []

  def work():
    with locks.exclusive(path, 'works'):
      inside.append(1)
      most.append(len(inside))
      inside.pop()

  with locks.exclusive(path, 'works'):
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
      thread.start()
    assert not most
  for thread in threads:
    thread.join()
  assert most == [1] * 8
  assert not path.exists()
  assert f'{path.parent}: waiting for another process that works' in capsys.readouterr().err


def test_a_lock_is_free_after_an_error(tmp_path):
  with pytest.raises(ValueError), locks.exclusive(tmp_path / '.lock', 'fails'):
    raise ValueError
  with locks.exclusive(tmp_path / '.lock', 'works'):
    pass


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_there_is_a_line(tmp_path, capsys, monkeypatch, number):
  def flock(*_):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(fcntl, 'flock', flock)
  with locks.exclusive(tmp_path / '.lock', 'works') as is_held:
    assert not is_held
  line = capsys.readouterr().err
  assert f'{tmp_path}/.lock: the file system has no locks ({os.strerror(number)})' in line


def test_other_errors_of_a_lock_are_raised(tmp_path, monkeypatch):
  def flock(*_):
    raise OSError(errno.EIO, 'broken')

  monkeypatch.setattr(fcntl, 'flock', flock)
  with pytest.raises(OSError, match='broken'), locks.exclusive(tmp_path / '.lock', 'works'):
    pass
