"""Flags, `--help`, one-line errors and exit status, which all commands share."""

import difflib
import errno
import inspect
import io
import os
import pathlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from absl import app, flags, logging
from ml_collections import config_flags

from a3dcae_jax import configs
from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import check_writable, local_path
from a3dcae_jax.common.jax_environment import check_settings
from a3dcae_jax.common.tuning import tune_process
from a3dcae_jax.config import Config, checked
from a3dcae_jax.config.fields import subtrees
from a3dcae_jax.config.variants import TUNED_RMS
from a3dcae_jax.data import builders
from a3dcae_jax.measuring.peer import Peer

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141
_HELP = ('-h', '-?', '-help', '--help', '-helpshort', '--helpshort')
_CONFIG_FAULT = 'Error whilst parsing config file'  # in messages of ml_collections
_REFERENCE = 'docs/reference/config.md'

# What the user can mend on a disk; other errors of files are defects of this project.
_DISK_ERRORS = (
  errno.EACCES,
  errno.EDQUOT,
  errno.EEXIST,
  errno.EFBIG,
  errno.EISDIR,
  errno.ELOOP,
  errno.ENAMETOOLONG,
  errno.ENOSPC,
  errno.ENOTDIR,
  errno.EPERM,
  errno.EROFS,
)

# `--help` then lists the flags that functions here define under the command that calls them.
flags.disclaim_key_flags()


def define_config() -> flags.FlagHolder:
  """Define `--config=FILE.py[:VARIANTS]`, whose fields `--config.FIELD=VALUE` sets."""
  return config_flags.DEFINE_config_file(
    'config',
    None,
    'Config file or the name of a data set, with variants after a colon: configs/avenue.py:small, '
    'or avenue:small,without_gan. Any field can be set, as in --config.train.steps=100; '
    f'{_REFERENCE} lists all fields.',
    lock_config=True,
  )


def define_compilation_cache(default: bool = True) -> flags.FlagHolder:
  """Define `--[no]compilation_cache`, which `run_command` obeys."""
  return flags.DEFINE_bool(
    'compilation_cache',
    default,
    "Keep compiled programs between runs, in the user's cache folder or in "
    'JAX_COMPILATION_CACHE_DIR.',
  )


def read_settings(config: flags.FlagHolder) -> Config:
  """Return the checked settings of the flag `--config`.

  Raises:
    UserError: if the flag is missing or a field is wrong.
  """
  if config.value is None and not config.present:
    raise UserError('--config is missing, as in --config=configs/avenue.py')
  if not hasattr(config.value, 'to_dict'):
    raise UserError(
      f'--config: get_config returns {config.value!r}, not a config as make_config makes it'
    )
  settings = checked(config.value)
  if not settings.data.cache:  # a given frame cache has names of its own
    builders.check_set(settings.data.name, settings.data.label_set)
  return settings


def given_path(flag: flags.FlagHolder, example: str = '') -> str:
  """Return the path on this machine that a flag names.

  Args:
    flag: the flag.
    example: what an empty flag is told to be; without it, the flag may be empty.

  Raises:
    UserError: if it is empty although it must not be, or an address.
  """
  if not flag.value and example:
    raise UserError(f'--{flag.name} is missing, {example}')
  return local_path(flag.value, f'--{flag.name}')


def output_path(flag: flags.FlagHolder, example: str = '') -> str:
  """Return the file or folder that a flag names, checked to be writable.

  Args:
    flag: the flag.
    example: see `given_path`.

  Raises:
    UserError: also if its folder cannot be written.
  """
  path = given_path(flag, example)
  if path:
    check_writable(pathlib.Path(path).parent, f'--{flag.name}={path}: its folder')
  return path


class ProgramFlags(NamedTuple):
  """The flags of a measured program that `benchmark` and `aot` share."""

  conv_algorithm: flags.FlagHolder
  polyphase: flags.FlagHolder
  target_rms: flags.FlagHolder
  remat: flags.FlagHolder

  def values(self) -> dict[str, Any]:
    """Return the values of the flags, by name."""
    return {name: holder.value for name, holder in self._asdict().items()}


def define_program_flags() -> ProgramFlags:
  """Define the flags that `benchmark` and `aot` share."""
  return ProgramFlags(
    conv_algorithm=flags.DEFINE_string(
      'conv_algorithm',
      'auto',
      'Algorithm of the 3D convolutions: auto, direct, adjoint, folded, summed, winograd.',
    ),
    polyphase=flags.DEFINE_bool(
      'polyphase', True, 'Compute the first and last layer by the polyphase method.'
    ),
    target_rms=flags.DEFINE_float(
      'target_rms',
      TUNED_RMS,
      'Normalise frames towards this root mean square, as the variant tuned does; 0: not at all.',
    ),
    remat=flags.DEFINE_enum(
      'remat', 'none', ['none', 'blocks'], 'With blocks, compute each block again for the gradient.'
    ),
  )


class PeerFlags(NamedTuple):
  """The flags of a reference implementation, which two commands share."""

  peer: flags.FlagHolder
  peer_python: flags.FlagHolder
  peer_options: flags.FlagHolder

  def given(self) -> Peer | None:
    """Return the reference implementation that the flags name; None without one."""
    if not self.peer.value:
      return None
    return Peer(self.peer_python.value, self.peer.value, self.peer_options.value)


def define_peer_flags() -> PeerFlags:
  """Define the flags that name a reference implementation."""
  return PeerFlags(
    peer=flags.DEFINE_string(
      'peer',
      '',
      'Script of a reference implementation that prints one line of JSON, as tools/torch_peer.py.',
    ),
    peer_python=flags.DEFINE_string(
      'peer_python', sys.executable, 'Python that runs the reference implementation.'
    ),
    peer_options=flags.DEFINE_string(
      'peer_options', '', 'Further flags of that script, as in "--compile max-autotune".'
    ),
  )


def default_workdir(config: str) -> pathlib.Path:
  """Return the default folder of a run, named after its config file and variants.

  Args:
    config: the value of `--config`. 'configs/avenue.py' gives runs/avenue,
      'configs/avenue.py:small,flow' gives runs/avenue_small-flow.
  """
  file, _, variants = config.partition(':')
  name = pathlib.Path(file).stem
  if variants:
    name += '_' + variants.replace(' ', '').replace(',', '-')
  return pathlib.Path('runs') / name


def parse_overrides(texts: Sequence[str]) -> dict[str, str]:
  """Return the value of each field in `--override`, as text.

  Args:
    texts: 'FIELD=VALUE', or several, separated by commas. A value may contain commas.

  Raises:
    UserError: for a text without '='.
  """
  overrides = {}
  for text in texts:
    for part in re.split(r',(?=\s*[\w.]+=)', text):
      field, equals, value = part.partition('=')
      if not equals:
        raise UserError(f'--override={text}: {part!r} is not FIELD=VALUE')
      overrides[field.strip()] = value.strip()
  return overrides


def run_command(
  body: Callable[..., int | None],
  *,
  usage: str,
  epilogue: str = '',
  compiles_ahead: bool = False,
) -> None:
  """Parse the flags, run `body` and end the process.

  A `UserError` and a mistake in the flags become one line on standard error and exit status 2.

  Args:
    body: the command. If it takes a parameter, it is called with the list of arguments that are
      not flags, otherwise without arguments. It returns the exit status, or None for 0.
    usage: shown first by `--help`.
    epilogue: shown last by `--help`.
    compiles_ahead: see `common.tuning.tune_process`.
  """
  tune_process(compiles_ahead)
  if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not fit its encoding
    sys.stdout.reconfigure(errors='backslashreplace')
  logging.set_verbosity(logging.ERROR)

  def parse(argv: Sequence[str]) -> list[str]:
    if any(argument in _HELP for argument in argv[1:]):
      print(_help_text(usage, epilogue))
      sys.exit(0)
    return _parse(argv)

  def run(argv: Sequence[str]) -> None:
    sys.exit(_run(body, argv[1:]))

  try:
    try:
      app.run(run, flags_parser=parse)
    except UserError as error:
      sys.exit(_report(error))
    finally:
      sys.stdout.flush()
  except BrokenPipeError:  # the reader of the output has ended, as `| head` does
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails at its end
    sys.exit(EXIT_PIPE)


def _run(body: Callable[..., int | None], arguments: Sequence[str]) -> int | None:
  """Run `body` and return the exit status."""
  try:
    _apply_compilation_cache()
    if inspect.signature(body).parameters:
      return body(arguments)
    if arguments:
      raise UserError(f'{arguments[0]!r} is not a flag: flags begin with --')
    return body()
  except (UserError, OSError, MemoryError) as error:
    known = user_error(error)
    if known is None:
      raise
    return _report(known)
  except KeyboardInterrupt:
    print('interrupted', file=sys.stderr)
    return EXIT_INTERRUPTED


def user_error(error: Exception) -> UserError | None:
  """Return an error as a `UserError`; None if the user cannot mend it.

  A `UserError` is returned as it is. Errors of a disk name the path.

  Missing videos are explained by the flags of this command.
  """
  if isinstance(error, builders.MissingVideos):
    return UserError(_advice(error))
  if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
    return UserError(
      f'{error.filename or "the disk"} cannot be used ({error.strerror}): '
      'mend that, or name another folder'
    )
  if isinstance(error, MemoryError):
    return UserError('out of memory: make frames, windows or batches smaller')
  return error if isinstance(error, UserError) else None


def _advice(error: builders.MissingVideos) -> str:
  if 'config' in flags.FLAGS:
    file = config_flags.get_config_filename(flags.FLAGS['config'])
    return error.advice(config=configs.name_of(file))
  if 'data_root' in flags.FLAGS:
    return error.advice(flag='--data_root')
  return str(error)


def _apply_compilation_cache() -> None:
  if 'compilation_cache' not in flags.FLAGS:
    return
  check_settings()
  from a3dcae_jax.common.compilation_cache import use_compilation_cache  # imports jax

  use_compilation_cache(flags.FLAGS.compilation_cache)


def _report(error: UserError) -> int:
  print(f'error: {error}', file=sys.stderr)
  return EXIT_USER_ERROR


def _help_text(usage: str, epilogue: str) -> str:
  """Return usage, the flags of this command and the epilogue."""
  module_help = flags.FLAGS.main_module_help().strip()
  _, _, flags_text = module_help.partition('\n')  # without the name of the module
  parts = [usage.strip(), f'Flags:\n\n{flags_text}']
  if epilogue:
    parts.append(epilogue)
  return '\n\n'.join(parts)


def _parse(argv: Sequence[str]) -> list[str]:
  """Parse flags as absl does, with all mistakes as `UserError`s."""
  argv = _with_config_path(argv)
  _check_fields(argv)
  try:
    return flags.FLAGS(argv)
  except UserError:
    raise
  except flags.Error as error:
    if isinstance(error.__cause__, UserError):
      raise error.__cause__ from None
    raise UserError(_flag_fault(error)) from None
  except (AttributeError, KeyError) as error:
    # Of the flags only an option of the data set can fail: `_check_fields` has seen the others.
    message = str(error).strip('"').splitlines()[0]
    if not any(re.match(r'--?config\.data\.options\.', argument) for argument in argv):
      raise UserError(
        f'--config: the file has no get_config(variants) that returns a config as make_config '
        f'makes it ({message})'
      ) from None
    raise UserError(
      f'--config.data.options: no option {message}; a data set has the options of its config file'
    ) from None
  except (TypeError, ValueError) as error:
    raise UserError(f'--config: {error}') from None
  except Exception as error:  # whatever a file raises that is not a config
    reason = f'{type(error).__name__}: {error}'.splitlines()[0]
    if isinstance(error, ImportError) and (error.name or '').startswith('configs'):
      reason += '; it is of another version: copy a config of this one, a3dcae_jax/configs/NAME.py'
    raise UserError(f'--config: the file is not a config ({reason})') from None


def _flag_fault(error: flags.Error) -> str:
  """Return the message on a mistake in the flags, with the rule it breaks."""
  match = re.match(r'flag --([\w.]+)=', str(error))
  if match and error.__context__:
    name = match[1]
    parser = flags.FLAGS[name].parser
    rule = 'true or false' if parser.flag_type() == 'bool' else parser.syntactic_help
    if rule:
      value = str(error)[match.end() :].removesuffix(f': {error.__context__}')
      return f'--{name} (={value}) must be {rule}'
  if _CONFIG_FAULT in str(error):
    return _config_fault(str(error))
  return str(error)


def _config_fault(message: str) -> str:
  """Return the error of a config file and its line, taken from a traceback."""
  given = message.partition(f': {_CONFIG_FAULT}')[0].partition('=')[2]
  file = pathlib.Path(given.partition(':')[0]).name
  lines = re.findall(rf'File ".*{re.escape(file)}", line (\d+)', message)
  where = f'{file}, line {lines[-1]}' if lines else file
  return f'--config: {where}: {message.rstrip().splitlines()[-1]}'


def _with_config_path(argv: Sequence[str]) -> list[str]:
  """Return the arguments with the path of the config file, which has to be there."""
  written = list(argv)
  for place, argument in enumerate(argv):
    match = re.fullmatch(r'(--?config)(?:=(.*))?', argument)
    if not match:
      continue
    text = match[2]
    if text is None:
      text = ''.join(argv[place + 1 : place + 2])
    path = configs.path_of(local_path(text, '--config'))
    file = path.partition(':')[0]
    if not file:
      raise UserError('--config is empty: name a file, as in --config=configs/avenue.py')
    if not pathlib.Path(file).is_file():
      if not configs.names():
        raise UserError(
          f'--config: there is no file {file}, and configs are not read from the archive '
          f'{configs.FOLDER}: install the package with pip, or name a file'
        )
      problem = f'{file} is a folder' if os.path.isdir(file) else f'there is no file {file}'
      raise UserError(
        f'--config: {problem}; the package has {", ".join(configs.names())}, '
        'as in --config=avenue:small'
      )
    if not os.access(file, os.R_OK):
      raise UserError(f'--config: {file} cannot be read: permission denied')
    if match[2] is None:
      written[place + 1] = path
    else:
      written[place] = f'{match[1]}={path}'
  return written


def _check_fields(argv: Sequence[str]) -> None:
  """Check the names in all `--config.FIELD` flags, except options of the data set."""
  known = _field_names()
  for argument in argv:
    match = re.match(r'--?config\.([\w.]+)', argument)
    if not match:
      continue
    field = match[1]
    if field in known or field.startswith('data.options.'):
      continue
    near = _near_field(field, known)
    hint = f'; did you mean {near!r}?' if near else '.'
    raise UserError(f'--config.{field}: no field {field!r}{hint} All fields are in {_REFERENCE}')


def _near_field(field: str, known: Sequence[str]) -> str:
  """Return the known field that was probably meant; '' if none is near.

  Fields of the same part of the config are searched. If there is no such part, fields of the same
  name are, and then those of a part with a near name.
  """
  part, _, name = field.rpartition('.')
  names = {}  # part -> name -> field
  for other in known:
    own_part, _, own_name = other.rpartition('.')
    names.setdefault(own_part, {})[own_name] = other
  if part not in names or not part:
    same = [entries[name] for entries in names.values() if name in entries]
    if len(same) == 1:
      return same[0]
    near_parts = difflib.get_close_matches(part, [own for own in names if own], n=1, cutoff=0.7)
    part = near_parts[0] if near_parts else ''
  near = difflib.get_close_matches(name, names[part], n=1, cutoff=0.7)
  return names[part][near[0]] if near else ''


def _field_names() -> list[str]:
  """Return the names of all fields of a config, as 'train.steps'."""
  settings = Config()
  parts: dict[str, Any] = subtrees(settings)
  names = [name for name in vars(settings) if name not in parts]
  for part, values in parts.items():
    for name in vars(values):
      names.append(f'{part}.{name}')
  return names
