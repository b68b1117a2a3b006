"""Compiled programs kept on disk for the next run.

Results do not depend on it: JAX finds a program by a hash of its code, the versions of JAX and the
compiler, the compiler's flags and the kind of device, which for CPUs has their instruction sets.
"""

import os
import pathlib
import sys
import tempfile
import time
import warnings

import jax

from a3dcae_jax.common.errors import UserError

# Older versions fill the terminal with messages of the compiler for each program that is read.
FIRST_JAX = (0, 10, 2)

MIN_COMPILE_S = 1.0  # programs that compile faster than this are not kept
KEEP_DAYS = 90  # older programs are removed; where they are still in use they are compiled again
_SECONDS_PER_DAY = 24 * 3600


def use_compilation_cache(enabled: bool) -> None:
  """Keep compiled programs between runs, or do not.

  To be called before the first program is compiled. The folder is `default_folder()`, or the one
  that JAX_COMPILATION_CACHE_DIR names; then all of JAX's own settings hold. A folder that cannot
  be written is no error: a note is printed and programs are not kept. They are not kept either
  with a JAX before `FIRST_JAX`, unless JAX_COMPILATION_CACHE_DIR is set.

  Args:
    enabled: False turns off the folder of JAX_COMPILATION_CACHE_DIR too.
  """
  if not enabled:
    jax.config.update('jax_enable_compilation_cache', False)
    return
  # JAX compiles a program again if its file is damaged, and continues if it cannot write one.
  warnings.filterwarnings('ignore', 'Error (reading|writing) persistent compilation cache')
  if jax.config.jax_compilation_cache_dir:
    _check_given(jax.config.jax_compilation_cache_dir)
    return
  if jax.__version_info__ < FIRST_JAX:
    return
  try:
    folder = default_folder()
    _check_writable(folder)
    _remove_old(folder)
  except (OSError, RuntimeError) as error:
    print(f'compiled programs are not kept: {error}', file=sys.stderr, flush=True)
    return
  jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', MIN_COMPILE_S)


def _check_given(folder: str) -> None:
  """Note that the user's folder cannot be written.

  Raises:
    UserError: if JAX would end with an error then, as JAX_RAISE_PERSISTENT_CACHE_ERRORS asks for.
  """
  if '://' in folder:  # of storage that is not of this machine
    return
  try:
    _check_writable(pathlib.Path(folder))
  except OSError as error:
    reason = f'JAX_COMPILATION_CACHE_DIR (={folder}) cannot be written: {error.strerror}'
    if jax.config.jax_raise_persistent_cache_errors:
      raise UserError(f'{reason}; name another, or unset it') from None
    print(f'compiled programs are not kept: {reason}', file=sys.stderr, flush=True)


def default_folder() -> pathlib.Path:
  """Return `a3dcae_jax/compiled` in the user's cache folder.

  Raises:
    RuntimeError: if the user has no home.
  """
  base = os.environ.get('XDG_CACHE_HOME')
  if not base:
    base = pathlib.Path.home() / '.cache'
  return pathlib.Path(base) / 'a3dcae_jax' / 'compiled'


def _check_writable(folder: pathlib.Path) -> None:
  """Make the folder and write a file into it.

  Raises:
    OSError: if that is not possible.
  """
  folder.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryFile(dir=folder):
    pass


def _remove_old(folder: pathlib.Path) -> None:
  """Remove programs older than `KEEP_DAYS`, such as those of old versions of JAX."""
  oldest = time.time() - KEEP_DAYS * _SECONDS_PER_DAY
  for path in folder.glob('*-cache'):
    if path.stat().st_mtime < oldest:
      path.unlink(missing_ok=True)
