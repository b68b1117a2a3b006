"""Config files, one per data set: `--config=avenue` names the one in this folder.

A copy works from anywhere, as in `--config=mine.py`. In a clone `configs` is a link to this folder.
"""

import pathlib

FOLDER = pathlib.Path(__file__).parent


def names() -> list[str]:
  """Return the names of the config files of the package."""
  return sorted(path.stem for path in FOLDER.glob('[!_]*.py'))


def path_of(text: str) -> str:
  """Return the value of `--config` with the name of a config made a path.

  Args:
    text: 'avenue', 'avenue:small', or the path of a file, which is returned as it is.
  """
  name, colon, variants = text.partition(':')
  if name not in names() or pathlib.Path(name).is_file():
    return text
  return f'{FOLDER / name}.py{colon}{variants}'


def name_of(text: str) -> str:
  """Return the value of `--config` as a user would write it, which `path_of` undoes."""
  file, colon, variants = text.partition(':')
  path = pathlib.Path(file)
  return f'{path.stem}{colon}{variants}' if path.parent == FOLDER else text
