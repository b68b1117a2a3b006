"""Checks of JAX settings and devices, with errors that name the setting."""

import importlib.util
import mmap
import os
import pathlib

from a3dcae_jax.common.errors import UserError

_PLUGINS = {  # module -> the value of JAX_PLATFORMS that it adds
  'jax_cuda12_plugin': 'cuda',
  'jax_cuda13_plugin': 'cuda',
  'jax_rocm7_plugin': 'rocm',
  'libtpu': 'tpu',
}
_UNFIT = {  # setting -> (values, why no command runs with them)
  'jax_enable_x64': ((True,), 'everything is computed in 32 or 16 bits'),
  'jax_disable_jit': ((True,), 'a training step is compiled as a whole'),
  'jax_no_tracing': ((True,), 'a training step is compiled as a whole'),
  'jax_numpy_rank_promotion': (('raise',), 'arrays of different ranks are combined'),
  'jax_transfer_guard': (
    ('disallow', 'disallow_explicit'),
    'arrays are copied to and from the device without being asked for each time',
  ),
}


def check_settings() -> None:
  """Import JAX and check its settings. No device is touched.

  Raises:
    UserError: for a setting that JAX does not know, or that no command runs with.
  """
  try:
    import jax
  except ValueError as error:  # a value in the environment that JAX does not take
    raise UserError(f'JAX does not start: {error}; correct the variable, or unset it') from None
  flags = os.environ.get('XLA_FLAGS', '').strip()
  if flags and not flags.startswith('-') and not os.path.isfile(flags):
    raise UserError(
      f'XLA_FLAGS={flags} is neither flags, which begin with --, nor a file of them: correct it, '
      'or unset it'
    )
  if flags:
    _check_flags(flags)
  for name, (values, reason) in _UNFIT.items():
    value = getattr(jax.config, name, None)
    if value in values:
      raise UserError(f'{name.upper()}={value} cannot be used, since {reason}: unset it')


def _check_flags(flags: str) -> None:
  """Check that XLA knows the flags.

  XLA ends the process at a flag that it does not know. A known flag is a text in JAX's library,
  which takes less time to search than starting XLA in another process. Plug-ins have flags of their
  own, so nothing is checked where one is installed.

  Args:
    flags: value of XLA_FLAGS: flags, or the name of a file of them.

  Raises:
    UserError: naming the flag.
  """
  import jaxlib

  library = pathlib.Path(jaxlib.__file__).parent / 'libjax_common.so'
  if _installed_plugins() or not library.is_file():
    return
  if os.path.isfile(flags):
    flags = pathlib.Path(flags).read_text(errors='replace')
  names = [flag[2:].partition('=')[0] for flag in flags.split() if flag.startswith('--')]
  with library.open('rb') as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
    for name in names:
      if content.find(name.encode() + b'\0') < 0:
        raise UserError(f'XLA_FLAGS: XLA has no flag --{name}: correct it, or unset the variable')


def _installed_plugins() -> list[str]:
  """Return the modules of JAX's plug-ins that are installed."""
  return [module for module in _PLUGINS if importlib.util.find_spec(module)]


def check_devices() -> None:
  """Check that JAX has a device. A pod has to be joined before.

  Raises:
    UserError: if the platforms of JAX_PLATFORMS cannot be used; those that are installed are named.
  """
  import jax

  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:  # it asserts that some platform has started
    reason = str(error).splitlines()[0] if str(error) else 'there is no such device'
    installed = {'cpu'}
    installed |= {_PLUGINS[module] for module in _installed_plugins()}
    names = [name for name in ('JAX_PLATFORM_NAME', 'JAX_PLATFORMS') if os.environ.get(name)]
    given = ' '.join(f'{name}={os.environ[name]}' for name in names) or 'JAX_PLATFORMS='
    raise UserError(
      f'{given} cannot be used ({reason}): installed '
      f'are {", ".join(sorted(installed))}; unset it, or install the extra cuda12, cuda13 or tpu'
    ) from None
