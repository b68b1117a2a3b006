"""The compilation cache is on by default and never changes or stops a run."""

import pathlib
import tempfile

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache as jax_cache

from a3dcae_jax.common import compilation_cache
from a3dcae_jax.common.compilation_cache import (
  FIRST_JAX,
  default_folder,
  use_compilation_cache,
)
from a3dcae_jax.common.errors import UserError

HIT = '/jax/compilation_cache/cache_hits'
OPTIONS = (
  'jax_compilation_cache_dir',
  'jax_enable_compilation_cache',
  'jax_persistent_cache_min_compile_time_secs',
  'jax_persistent_cache_min_entry_size_bytes',
)


@pytest.fixture
def home(tmp_path, monkeypatch):
  """The user's cache folder, in a process that has not compiled anything yet."""
  before = {name: getattr(jax.config, name) for name in OPTIONS}
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setattr(compilation_cache, 'MIN_COMPILE_S', 0.0)
  monkeypatch.setattr(jax, '__version_info__', max(jax.__version_info__, FIRST_JAX))
  jax.config.update('jax_compilation_cache_dir', None)
  jax_cache.reset_cache()
  yield tmp_path
  for name, value in before.items():
    jax.config.update(name, value)
  jax_cache.reset_cache()


@pytest.fixture
def compute():
  """Return a function that runs a program and returns its result and cache hits."""
  events = []

  def listen(event, **_):
    events.append(event)

  def run():
    jax.clear_caches()
    events.clear()
    result = jax.jit(lambda x: jnp.sin(x) * 1.2345)(jnp.arange(5.0))
    return result.tolist(), events.count(HIT)

  jax.monitoring.register_event_listener(listen)
  yield run
  jax.monitoring.unregister_event_listener(listen)


def entries(folder):
  return sorted(folder.glob('*-cache'))


def test_programs_are_kept_in_the_users_cache_folder(home, compute):
  use_compilation_cache(True)
  expected, hits = compute()
  assert hits == 0
  assert default_folder() == home / 'a3dcae_jax' / 'compiled'
  assert entries(default_folder())
  got, hits = compute()
  assert hits > 0
  assert got == expected


def test_without_xdg_cache_home_the_folder_is_in_the_home(monkeypatch):
  monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
  monkeypatch.setenv('HOME', '/home/someone')
  assert default_folder() == pathlib.Path('/home/someone/.cache/a3dcae_jax/compiled')


def test_programs_that_compile_quickly_are_not_kept(home, compute, monkeypatch):
  monkeypatch.setattr(compilation_cache, 'MIN_COMPILE_S', 100.0)
  use_compilation_cache(True)
  compute()
  assert not entries(default_folder())


def test_the_flag_turns_the_cache_off(home, compute):
  use_compilation_cache(False)
  compute()
  _, hits = compute()
  assert hits == 0
  assert not list(home.iterdir())


def test_a_folder_of_the_user_is_used_with_the_settings_of_jax(home, compute):
  named = home / 'named'
  jax.config.update('jax_compilation_cache_dir', str(named))  # like JAX_COMPILATION_CACHE_DIR
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  use_compilation_cache(True)
  compute()
  assert entries(named)
  assert not default_folder().exists()
  assert jax.config.jax_persistent_cache_min_compile_time_secs == 0


def test_the_flag_turns_off_a_folder_of_the_user(home, compute):
  named = home / 'named'
  jax.config.update('jax_compilation_cache_dir', str(named))
  use_compilation_cache(False)
  compute()
  assert not named.exists()


def deny(*_, **__):
  raise OSError(30, 'Read-only file system')


def a_file_in_its_place(home, monkeypatch):
  (home / 'a3dcae_jax').write_text('')


def a_read_only_disk(home, monkeypatch):
  monkeypatch.setattr(tempfile, 'TemporaryFile', deny)


def no_home(home, monkeypatch):
  def fail():
    raise RuntimeError('Could not determine home directory.')

  monkeypatch.delenv('XDG_CACHE_HOME')
  monkeypatch.setattr(pathlib.Path, 'home', fail)


@pytest.mark.parametrize('harm', [a_file_in_its_place, a_read_only_disk, no_home])
def test_a_folder_that_cannot_be_written_causes_one_note(home, compute, capfd, harm):
  with pytest.MonkeyPatch.context() as patch:
    harm(home, patch)
    use_compilation_cache(True)
  expected, _ = compute()
  got, hits = compute()
  assert got == expected and hits == 0
  out, err = capfd.readouterr()
  assert out == ''
  assert len(err.splitlines()) == 1 and 'not kept' in err


def test_a_full_folder_causes_no_message(home, compute, capfd):
  """Warnings are errors in tests, so a warning of JAX would fail."""
  use_compilation_cache(True)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(type(jax_path(default_folder())), 'write_bytes', deny)
    expected, _ = compute()
  assert not entries(default_folder())
  assert compute()[0] == expected
  assert capfd.readouterr() == ('', '')


def jax_path(folder):
  """Return a path of the class with which JAX writes its files."""
  from jax._src import path

  return path.Path(str(folder))


def test_an_older_jax_has_no_cache(home, compute, monkeypatch):
  monkeypatch.setattr(jax, '__version_info__', (0, 9, 2))
  use_compilation_cache(True)
  compute()
  assert not list(home.iterdir())


@pytest.mark.parametrize('size', [0, 100])
def test_damaged_programs_are_compiled_again_without_a_message(home, compute, capfd, size):
  use_compilation_cache(True)
  expected, _ = compute()
  for path in entries(default_folder()):
    with path.open('r+b') as file:
      file.truncate(size)
  jax_cache.reset_cache()
  got, hits = compute()
  assert got == expected and hits == 0
  assert capfd.readouterr() == ('', '')


def test_old_programs_are_removed(home, monkeypatch):
  folder = default_folder()
  folder.mkdir(parents=True)
  (folder / 'old-cache').write_bytes(b'')
  (folder / 'mine').write_bytes(b'')
  use_compilation_cache(True)
  assert entries(folder) == [folder / 'old-cache']
  jax.config.update('jax_compilation_cache_dir', None)
  monkeypatch.setattr(compilation_cache, 'KEEP_DAYS', -1)
  use_compilation_cache(True)
  assert [path.name for path in folder.iterdir()] == ['mine']


def test_a_given_folder_that_cannot_be_written_is_said(home, capsys):
  (home / 'file').touch()
  jax.config.update('jax_compilation_cache_dir', str(home / 'file'))
  use_compilation_cache(True)
  assert 'not kept: JAX_COMPILATION_CACHE_DIR' in capsys.readouterr().err
  before = jax.config.jax_raise_persistent_cache_errors
  jax.config.update('jax_raise_persistent_cache_errors', True)
  try:
    with pytest.raises(UserError, match='file.* cannot be written.*; name another, or unset it'):
      use_compilation_cache(True)
  finally:
    jax.config.update('jax_raise_persistent_cache_errors', before)
