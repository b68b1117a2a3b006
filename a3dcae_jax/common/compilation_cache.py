"""Compiled programs kept on disk, so that the next run of the same program does not compile it again."""

import pathlib

import jax
from jax.experimental.compilation_cache import compilation_cache

from a3dcae_jax.common.errors import UserError


def use_compilation_cache(folder, *, min_compile_s=1.0):
  """Keeps what takes at least `min_compile_s` to compile in `folder`, and looks there first; '' leaves JAX's own settings alone.

  Raises: UserError where `folder` cannot be made.
  """
  if not folder:
    return
  try:
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'train.compilation_cache_dir {folder}: {error.strerror}') from None
  compilation_cache.reset_cache()  # JAX looks at the setting once, when it first compiles
  jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', min_compile_s)
