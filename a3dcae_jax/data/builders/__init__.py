"""The data sets: one folder each, laid out as tfds wants it.

The module `reader` of a folder has

    LABEL_SETS                       names of its label sets; the first one is the default
    layout(root)                     describes the files in a folder, or raises a `UserError`
    videos(root, split, **options)   the `Video`s of 'train' or 'test'

and, where they make sense,

    label_sets(root)                 the label sets whose files are there
    notes(root)                      differences between its label sets, as lines of text
    PUBLISHED                        `Published` counts
    HOW_TO_GET                       what to do to get the set, if it cannot be downloaded, and
                                     the page of the documentation that says more
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
  'ubnormal',
  'street_scene',
  'nwpu_campus',
  'iitb_corridor',
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


class MissingVideos(UserError):
  """There is no folder of videos; the message says how to get the set.

  Commands word it by `advice`, since they know their flags.
  """

  def __init__(self, name: str, root: str | pathlib.Path) -> None:
    """Keep the name of the data set and the folder that does not exist."""
    self.name = name
    self.root = root
    super().__init__(self.advice())

  def advice(self, *, config: str = '', flag: str = '--config.data.root') -> str:
    """Return the message.

    Args:
      config: the config file that the user gave; empty for that of the data set.
      flag: the flag that names another folder.
    """
    problem = f'there is no folder {self.root}' if self.root else 'it is empty'
    if download.archives(self.name):
      command = f'python -m a3dcae_jax.prepare --config={config or self.name}'
      if self.root and str(self.root) != f'data/{self.name}':  # the default of the config
        command += f' --config.data.root={self.root}'
      how = f'`{command} --download` fetches the set there'
    else:
      how = reader(self.name).HOW_TO_GET
    return f'data.root: {problem}; {how}; another folder is named by {flag}=FOLDER'


def check_root(name: str, root: str | pathlib.Path) -> None:
  """Check that the folder of a data set exists.

  Raises:
    MissingVideos: saying how to get the set.
  """
  if name != 'synthetic' and not (root and pathlib.Path(root).exists()):
    raise MissingVideos(name, root)
