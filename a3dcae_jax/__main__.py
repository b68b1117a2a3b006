"""List the commands, or run one.

`python -m a3dcae_jax`, or `a3dcae_jax` once installed, lists the commands.
`a3dcae_jax COMMAND FLAGS` runs `python -m a3dcae_jax.COMMAND FLAGS`, and `a3dcae_jax --version`
prints the version.
"""

import ast
import difflib
import pathlib
import runpy
import sys

from a3dcae_jax import __version__

COMMANDS = (
  'main',
  'prepare',
  'evaluate',
  'experiments',
  'export',
  'detect',
  'benchmark',
  'aot',
)


def main() -> int | None:
  """Run the command that the first argument names, or list all commands."""
  arguments = sys.argv[1:]
  if not arguments or arguments[0] in ('-h', '--help', 'help'):
    print(commands_text())
    return None
  if arguments[0] == '--version':
    print(f'a3dcae_jax {__version__}')
    return None
  command = arguments[0]
  if command not in COMMANDS:
    near = difflib.get_close_matches(command, COMMANDS, n=1)
    hint = f'; did you mean {near[0]!r}?' if near else '.'
    print(f'error: no command {command!r}{hint} Known: {", ".join(COMMANDS)}', file=sys.stderr)
    return 2
  sys.argv = [f'a3dcae_jax {command}', *arguments[1:]]
  runpy.run_module(f'a3dcae_jax.{command}', run_name='__main__', alter_sys=True)
  return None


def commands_text() -> str:
  """Return a line for each command, from the first line of its docstring."""
  width = max(len(command) for command in COMMANDS)
  lines = ['usage: a3dcae_jax COMMAND FLAGS', '']
  for command in COMMANDS:
    lines.append(f'  {command:{width}s}  {_first_line(command)}')
  lines += ['', 'a3dcae_jax COMMAND --help explains a command; --version prints the version.']
  return '\n'.join(lines)


def _first_line(command: str) -> str:
  """Return the first line of a command's docstring without importing it."""
  path = pathlib.Path(__file__).with_name(f'{command}.py')
  module = ast.parse(path.read_text(encoding='utf-8'))
  docstring = ast.get_docstring(module)
  return docstring.splitlines()[0]


if __name__ == '__main__':
  sys.exit(main())
