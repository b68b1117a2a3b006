"""What every command does around its one call: flags in, one line for what a person can mend, exit status out."""

import inspect
import pathlib
import re
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.tuning import tune_process

EXIT_USER_ERROR = 2


def define_config():
  """Defines `--config=FILE.py[:VARIANT]`, whose fields `--config.FIELD=VALUE` override."""
  return config_flags.DEFINE_config_file(
    'config',
    None,
    'Config file, with a variant after a colon: configs/ucsd_ped2.py:small. Any field can be set: '
    '--config.train.steps=100. All fields, with their meaning and unit, are in configs/common.py.',
    lock_config=True,
  )


def run_command(body, *, usage, compiles_ahead=False):
  """Parses the flags, runs `body()`, or `body(arguments)` if it takes what follows the flags, and ends the process.

  `UserError`s and mistakes in flags become one line on standard error and exit status 2. `usage` is what `--help` shows first.
  compiles_ahead: see `common.tuning.tune_process`.
  """
  tune_process(compiles_ahead)
  logging.set_verbosity(logging.ERROR)
  sys.modules['__main__'].__doc__ = usage
  try:
    app.run(lambda argv: sys.exit(_guarded(body, argv[1:])), flags_parser=_parse)
  except UserError as error:
    sys.exit(_say(error))


def _guarded(body, arguments):
  try:
    if inspect.signature(body).parameters:
      return body(arguments)
    if arguments:
      raise UserError(f'{arguments[0]!r} is no flag: flags begin with --')
    return body()
  except UserError as error:
    return _say(error)
  except KeyboardInterrupt:
    print('interrupted', file=sys.stderr)
    return 130


def _say(error):
  print(f'error: {error}', file=sys.stderr)
  return EXIT_USER_ERROR


def _parse(argv):
  """absl's parser, with the mistakes that it leaves as tracebacks turned into `UserError`s."""
  config_file = _config_file(argv)
  if config_file:
    path = pathlib.Path(config_file)
    if not path.is_file():
      raise UserError(f'--config: there is no file {path}')
    sys.path.insert(
      0, str(path.resolve().parent.parent)
    )  # configs import their neighbours as `configs.NAME`
  try:
    return flags.FLAGS(argv)
  except UserError:
    raise
  except flags.Error as error:
    if isinstance(error.__cause__, UserError):
      raise error.__cause__ from None
    raise UserError(str(error)) from None
  except (AttributeError, KeyError) as error:
    raise UserError(_unknown_field(str(error), argv)) from None
  except (TypeError, ValueError) as error:
    raise UserError(f'--config: {error}') from None


def _config_file(argv):
  for argument, following in zip(argv, [*argv[1:], ''], strict=True):
    match = re.fullmatch(r'--?config(?:=(.*))?', argument)
    if match:
      return (match.group(1) if match.group(1) is not None else following).partition(':')[0]
  return ''


def _unknown_field(message, argv):
  """One line that names the flag at fault and the nearest known field."""
  near = re.search(r'Did you mean "([^"]+)"(?: instead of "([^"]+)")?', message)
  name = (
    near.group(2)
    if near and near.group(2)
    else next(iter(re.findall(r'[\'"]([A-Za-z_0-9]+)[\'"]', message)), message)
  )
  given = next(
    (
      a.partition('=')[0]
      for a in argv
      if a.startswith('--config.') and name in a.partition('=')[0].split('.')
    ),
    name,
  )
  hint = f'; did you mean {near.group(1)!r}?' if near else '.'
  return f'{given}: no field {name!r}{hint} All fields are in configs/common.py'
