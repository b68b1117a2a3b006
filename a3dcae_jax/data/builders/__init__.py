"""One folder a data set, as tfds lays them out; here is the table of their names."""

import difflib
import importlib
import pathlib

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


def reader(name):
  """The module `builders.NAME.reader`: `videos(root, split, **options)`, `LABEL_SETS` (its first is the default)."""
  if name not in NAMES:
    near = difflib.get_close_matches(name, NAMES, n=1)
    hint = f'; did you mean {near[0]!r}?' if near else ''
    raise UserError(f'data.name: unknown data set {name!r}{hint} Known: {", ".join(NAMES)}')
  return importlib.import_module(f'a3dcae_jax.data.builders.{name}.reader')


def default_label_set(reader_module, root):
  """The first of a reader's label sets that the footage in `root` has; its first one where that cannot be told."""
  known = getattr(reader_module, 'label_sets', None)
  found = known(root) if known and root and pathlib.Path(root).exists() else ()
  return next(
    (name for name in reader_module.LABEL_SETS if name in found), reader_module.LABEL_SETS[0]
  )


def check_root(name, root):
  """Raises a `UserError` that says how to get the set, unless `root` is there (or none is needed)."""
  if name == 'synthetic':
    return
  how = f'a3dcae_jax/data/builders/{name}/README.md says where to get it'
  if download.archives(name):
    how += ', and `prepare --download` with data.root set fetches it there'
  if not root:
    raise UserError(
      f'data.root is empty: give the folder of {name}, as in --config.data.root=FOLDER; {how}'
    )
  if not pathlib.Path(root).exists():
    raise UserError(f'data.root {root}: there is no such folder; {how}')
