"""One folder a data set, as tfds lays them out; here is the table of their names."""

import difflib
import importlib

from a3dcae_jax.common.errors import UserError

NAMES = ('synthetic', 'ucsd_ped1', 'ucsd_ped2', 'avenue', 'shanghaitech', 'subway_entrance', 'subway_exit', 'video_folder')


def reader(name):
  """The module `builders.NAME.reader`: `videos(root, split, **options)`, `LABEL_SETS` (its first is the default)."""
  if name not in NAMES:
    near = difflib.get_close_matches(name, NAMES, n=1)
    hint = f'; did you mean {near[0]!r}?' if near else ''
    raise UserError(f'data.name: unknown data set {name!r}{hint} Known: {", ".join(NAMES)}')
  return importlib.import_module(f'a3dcae_jax.data.builders.{name}.reader')
