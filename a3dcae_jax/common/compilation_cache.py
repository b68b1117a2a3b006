"""Compiled programs kept on disk, so that the next run does not compile them again."""

import os
import pathlib
import tempfile

import jax

MIN_COMPILE_S = 1.0  # programs that compile faster than this are not kept


def use_compilation_cache(enabled: bool) -> None:
  """Keep compiled programs between runs, or do not.

  To be called before the first program is compiled. Programs are kept in `default_folder()`, or
  where JAX_COMPILATION_CACHE_DIR says; then JAX's own settings hold. A folder that cannot be
  written is no error: the run continues without.

  Args:
    enabled: False turns off JAX_COMPILATION_CACHE_DIR too.
  """
  if not enabled:
    jax.config.update('jax_enable_compilation_cache', False)
    return
  if jax.config.jax_compilation_cache_dir:
    return
  folder = default_folder()
  try:
    _check_writable(folder)
  except OSError as error:
    print(f'compiled programs are not kept: {folder}: {error.strerror}', flush=True)
    return
  jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', MIN_COMPILE_S)


def default_folder() -> pathlib.Path:
  """Return `a3dcae_jax/compiled` in the user's cache folder."""
  base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  return pathlib.Path(base).expanduser() / 'a3dcae_jax' / 'compiled'


def _check_writable(folder: pathlib.Path) -> None:
  """Make the folder and write a file into it; raise OSError where that is not possible."""
  folder.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryFile(dir=folder):
    pass
