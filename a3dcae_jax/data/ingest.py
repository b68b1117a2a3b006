"""From a reader's videos to a frame cache: one frame at a time on every core, whole or not at all, every fault named in one go."""

import hashlib
import inspect
import json
import pathlib
import shutil

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_dir
from a3dcae_jax.data import builders
from a3dcae_jax.data.frame_cache import FrameCache, write_index
from a3dcae_jax.data.published import Published, differences
from a3dcae_jax.data.splits import write_split


def prepare_cache(name, *, root, cache_dir, height, width, label_set='', options=None):
  """Opens the cache of a data set at this size, making it first where it is not there yet.

  Args:
    name: of the builder. root: folder of the footage. cache_dir: folder of all caches. height, width: pixels.
    label_set: '' for the first of the set's own that the footage has. options: the builder's own keyword arguments.

  Returns: `FrameCache`.
  Raises: UserError listing every fault of the footage. There is then no cache; videos that were well are kept beside its place for the next try.
  """
  options = dict(options or {})
  reader = builders.reader(name)
  if label_set and label_set not in reader.LABEL_SETS:
    raise UserError(f'data.label_set {label_set!r}: {name} has {", ".join(reader.LABEL_SETS)}')
  asked, label_set = bool(label_set), label_set or builders.default_label_set(reader, root)
  if name == 'synthetic':  # drawn at its size, rather than resized
    options = {'height': height, 'width': width} | options
  folder = cache_folder(
    cache_dir,
    name,
    root=root,
    height=height,
    width=width,
    label_set=label_set,
    options=options,
  )
  if (folder / 'index.json').exists():
    return FrameCache.open(folder)
  builders.check_root(name, root)
  parts = folder.with_name(
    f'.{folder.name}.parts'
  )  # what was ingested well outlives a fault, so that a second try does the rest alone
  with atomic_dir(folder) as temporary:
    index = {
      'name': name,
      'label_set': label_set,
      'height': height,
      'width': width,
      'splits': {},
      'files': [],
    }
    faults, seen = [], {}
    for split in ('train', 'test'):
      videos = _videos(reader, root, split, options, faults)
      index['splits'][split] = write_split(temporary, parts, index, split, videos, faults, seen)
    if not faults and not any(split['videos'] for split in index['splits'].values()):
      faults.append(f'{root}: no video')
    if (
      asked
      and not faults
      and index['splits']['test']['videos']
      and not index['splits']['test']['labels']
    ):
      faults.append(f'data.label_set {label_set!r}: there are no such labels in {root}')
    if faults:
      raise UserError(
        f'{name}: {len(faults)} fault{"s" if len(faults) > 1 else ""} in the footage, nothing was written:\n  '
        + '\n  '.join(faults)
      )
    index['notes'] = _notes(reader, root, index, temporary)
    index['layout'] = getattr(reader, 'LAYOUT', '') or reader.layout(root)
    write_index(temporary, index)
  shutil.rmtree(parts, ignore_errors=True)
  return FrameCache.open(folder)


def cache_folder(cache_dir, name, *, root, height, width, label_set, options):
  """`cache_dir/NAME-HxW-LABELSET-KEY`: KEY tells apart copies of the footage and options."""
  options = _without_defaults(options, builders.reader(name))
  source = str(pathlib.Path(root).resolve()) if root else ''
  key = hashlib.sha256(json.dumps([source, options], sort_keys=True).encode()).hexdigest()[:8]
  return pathlib.Path(cache_dir) / f'{name}-{height}x{width}-{label_set}-{key}'


def _without_defaults(options, reader):
  """Leave out options that have the value that the reader takes without them."""
  parameters = inspect.signature(reader.videos).parameters
  defaults = {name: parameter.default for name, parameter in parameters.items()}
  return {
    name: value
    for name, value in options.items()
    if name not in defaults or value != defaults[name]
  }


def _videos(reader, root, split, options, faults):
  """The reader's videos of a split. What is wrong with a file of the whole split (labels) joins the faults; an unknown layout ends it all."""
  if hasattr(reader, 'layout'):
    reader.layout(root)
  try:
    return reader.videos(root, split, **options)
  except UserError as error:
    if str(error) not in faults:
      faults.append(str(error))
    return []


def _notes(reader, root, index, folder):
  """What a user should know of this copy: where it differs from the set as published, where its label sets differ, which clips lack masks."""
  test = index['splits']['test']
  labels = np.load(folder / 'labels.npy') if test['labels'] else None
  notes = differences(getattr(reader, 'PUBLISHED', Published()), index, labels)
  notes += reader.notes(root) if hasattr(reader, 'notes') else []
  notes += [
    f'test clip {video["name"]}: label set {other} differs from {index["label_set"]} on {count} frames'
    for video in test['videos']
    for other, count in video['other_labels'].items()
    if count and not hasattr(reader, 'notes')
  ]
  if test['masks'] and not all(video['masks'] for video in test['videos']):
    notes.append(
      'pixel masks for '
      + ', '.join(video['name'] for video in test['videos'] if video['masks'])
      + ' alone'
    )
  return notes
