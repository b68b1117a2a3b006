"""The data sets: one folder each, laid out as tfds wants it.

The module `reader` of a folder has

    LABEL_SETS                       names of its label sets; the first one is the default
    layout(root)                     describes the files in a folder, or raises a `UserError`
    videos(root, split, **options)   the `Video`s of 'train' or 'test'

and, where they make sense,

    label_sets(root)                 the label sets whose files are there
    notes(root)                      differences between its label sets, as lines of text
    PUBLISHED                        `Published` counts
    HOW_TO_GET                       what to do to get the set, if it cannot be downloaded
"""

import difflib
import importlib
import pathlib
from types import ModuleType

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data import download

NAMES = (
  'synthetic',
  'ucsd_ped1',
  'ucsd_ped2',
  'avenue',
  'shanghaitech',
  'subway_entrance',
  'subway_exit',
  'video_folder',
)


def reader(name: str) -> ModuleType:
  """Return the module `builders.NAME.reader`.

  Raises:
    UserError: if there is no such data set.
  """
  if name not in NAMES:
    near = difflib.get_close_matches(name, NAMES, n=1)
    hint = f'; did you mean {near[0]!r}?' if near else '.'
    raise UserError(f'data.name: unknown data set {name!r}{hint} Known: {", ".join(NAMES)}')
  return importlib.import_module(f'a3dcae_jax.data.builders.{name}.reader')


def check_set(name: str, label_set: str) -> None:
  """Check the names of a data set and of its label set, before anything is read.

  Args:
    name: name of the data set.
    label_set: '' for its default.

  Raises:
    UserError: if there is no such data set or no such label set of it.
  """
  known = reader(name).LABEL_SETS
  if label_set and label_set not in known:
    raise UserError(f'data.label_set {label_set!r}: {name} has {", ".join(known)}')


def default_label_set(reader_module: ModuleType, root: str | pathlib.Path) -> str:
  """Return the first label set whose file is in `root`, or else the reader's first."""
  found = ()
  if hasattr(reader_module, 'label_sets') and root and pathlib.Path(root).exists():
    found = reader_module.label_sets(root)
  for name in reader_module.LABEL_SETS:
    if name in found:
      return name
  return reader_module.LABEL_SETS[0]


def check_root(name: str, root: str | pathlib.Path) -> None:
  """Check that the folder of a data set exists.

  Raises:
    UserError: saying how to get the set.
  """
  if name == 'synthetic' or (root and pathlib.Path(root).exists()):
    return
  problem = f'there is no folder {root}' if root else 'it is empty'
  if download.archives(name):
    command = f'python -m a3dcae_jax.prepare --config=configs/{name}.py'
    if root and str(root) != f'data/{name}':  # the default of the config
      command += f' --config.data.root={root}'
    how = f'`{command} --download` fetches the set there'
  else:
    how = reader(name).HOW_TO_GET
    how += f' (more in a3dcae_jax/data/builders/{name}/README.md)'
  raise UserError(
    f'data.root: {problem}; {how}; another folder is named by --config.data.root=FOLDER, '
    'in evaluate and export by --data_root=FOLDER'
  )
