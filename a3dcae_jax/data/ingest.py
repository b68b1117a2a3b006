"""Ingest of a data set: from the videos of its reader to a frame cache.

Videos are read frame by frame, on all cores. The cache is written whole or not at all, and all
faults of the set are reported at once.
"""

import hashlib
import inspect
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_dir, check_writable, read_object, remove_leftovers
from a3dcae_jax.common.locks import exclusive
from a3dcae_jax.data import builders
from a3dcae_jax.data.cache_writer import CacheWriter
from a3dcae_jax.data.frame_cache import SPLITS, FrameCache, write_index
from a3dcae_jax.data.notes import collect_notes, note_lines
from a3dcae_jax.data.published import Published, differences
from a3dcae_jax.data.sources import changes, find_sources, has_videos
from a3dcae_jax.data.video import Video


def prepare_cache(
  name: str,
  *,
  root: str | pathlib.Path,
  cache_dir: str | pathlib.Path,
  height: int,
  width: int,
  label_set: str = '',
  options: Mapping[str, Any] | None = None,
  splits: Sequence[str] = SPLITS,
) -> FrameCache:
  """Open the frame cache of a data set. If there is none, make it first.

  Args:
    name: name of the data set.
    root: folder of its videos.
    cache_dir: folder of all caches.
    height: of the frames in the cache, in pixels.
    width: of the frames in the cache, in pixels.
    label_set: '' for the first of the set's label sets that are in `root`.
    options: options of this data set alone, see its README.
    splits: the splits to open.

  Raises:
    UserError: with all faults of the videos, the first in the first line and each other one in a
      line of its own. No cache is made then, but the parts of the videos without faults are kept
      beside it for the next try.
  """
  builders.check_set(name, label_set)
  reader = builders.reader(name)
  options = dict(options or {})
  if name == 'synthetic':  # it is drawn at the size of the cache, not resized
    options = {'height': height, 'width': width} | options
  folder = cache_folder(
    cache_dir,
    name,
    root=root,
    height=height,
    width=width,
    label_set=label_set or builders.default_label_set(reader, root),
    options=options,
  )
  if _changes(folder, root, options) != '':
    builders.check_root(name, root)
    check_writable(cache_dir, 'data.cache_dir')
    with exclusive(folder.with_name(f'.{folder.name}.lock'), 'makes the frame cache') as is_held:
      changed = _changes(folder, root, options)  # another process may have made it meanwhile
      if changed != '':
        # Without locks each process has parts of its own, and the last one puts its cache there.
        if is_held:
          remove_leftovers(folder)
        own = '' if is_held else f'-{os.uname().nodename}-{os.getpid()}'
        parts = folder.with_name(f'.{folder.name}.parts{own}')
        _make_or_keep(changed, folder, parts, name, root, (height, width), label_set, options)
  return FrameCache.open(folder, splits)


def _changes(
  folder: pathlib.Path, root: str | pathlib.Path, options: Mapping[str, Any]
) -> str | None:
  """Describe the changes in the sources of a frame cache since it was made.

  If all videos are gone, this counts as no change: the cache cannot be made again.

  Args:
    folder: folder of the cache.
    root: folder of its videos.
    options: options of the data set.

  Returns:
    The changes; '' if there are none, None if there is no cache.
  """
  if not (folder / 'index.json').exists():
    return None
  before = read_object(folder / 'index.json').get('sources')
  now = find_sources(root, options, without=folder.parent)
  return changes(before, now) if before and has_videos(now) else ''


def _make_or_keep(changed: str | None, folder: pathlib.Path, *arguments: Any) -> None:
  """Make a frame cache, or keep the present one if files that it needs are gone.

  Args:
    changed: what has changed; None if there is no cache.
    folder: folder of the cache.
    *arguments: those of `_make_cache`.
  """
  if changed:
    print(
      f'{folder}: its sources have changed ({changed}), so it is made again; set data.cache='
      f'{folder} to use it as it is',
      flush=True,
    )
  try:
    _make_cache(folder, *arguments)
  except UserError:
    if not changed or not changed.startswith('gone'):
      raise
    print(f'{folder}: it cannot be made without the files that are gone, so it is kept as it is')


def cache_folder(
  cache_dir: str | pathlib.Path,
  name: str,
  *,
  root: str | pathlib.Path,
  height: int,
  width: int,
  label_set: str,
  options: Mapping[str, Any],
) -> pathlib.Path:
  """Return `cache_dir/NAME-HxW-LABELSET-KEY`.

  KEY distinguishes copies of the data set and options. An option that has its default value gives
  the same key as an option that is absent.
  """
  source = ''
  if root:
    source = str(pathlib.Path(root).resolve())
  changed = _without_defaults(options, builders.reader(name))
  text = json.dumps([source, changed], sort_keys=True)
  key = hashlib.sha256(text.encode()).hexdigest()[:8]
  return pathlib.Path(cache_dir) / f'{name}-{height}x{width}-{label_set}-{key}'


def _without_defaults(options: Mapping[str, Any], reader: ModuleType) -> dict[str, Any]:
  """Return the options whose value differs from the default of the reader."""
  parameters = inspect.signature(reader.videos).parameters
  changed = {}
  for name, value in options.items():
    if name not in parameters or value != parameters[name].default:
      changed[name] = value
  return changed


def _make_cache(
  folder: pathlib.Path,
  parts: pathlib.Path,
  name: str,
  root: str | pathlib.Path,
  shape: tuple[int, int],
  label_set: str,
  options: Mapping[str, Any],
) -> None:
  """Ingest a data set into `folder`.

  If that fails, finished videos are kept in `parts`.
  """
  reader = builders.reader(name)
  chosen = label_set or builders.default_label_set(reader, root)
  # Before anything is read: what changes meanwhile is a change.
  sources = find_sources(root, options, without=folder.parent)

  with atomic_dir(folder) as temporary, collect_notes() as notes:
    writer = CacheWriter(name, chosen, shape, folder=temporary, parts=parts)
    # Labels of the test videos are read before the training videos, which may take hours.
    videos = {split: _videos(reader, root, split, options, writer.faults) for split in SPLITS}
    splits = {split: writer.write_split(split, videos[split]) for split in SPLITS}

    faults = list(writer.faults)
    if not faults and not any(split['videos'] for split in splits.values()):
      faults.append(f'{root}: no video')
    if faults:
      noun = 'fault' if len(faults) == 1 else 'faults'
      lines = '\n  '.join(faults)
      raise UserError(f'{name}: no frame cache was written, {len(faults)} {noun}: {lines}')
    _check_labels(root, label_set, splits['test'])

    index = {
      'name': name,
      'label_set': chosen,
      'height': shape[0],
      'width': shape[1],
      'splits': splits,
      'files': writer.files,
      'layout': reader.layout(root),
      'sources': sources,
    }
    labels = np.load(temporary / 'labels.npy') if splits['test']['labels'] else None
    index['notes'] = _notes(reader, root, index, labels)
    index['notes'] += note_lines([*notes, *writer.notes], root)
    write_index(temporary, index)
    _keep_boxes(folder, temporary)

  shutil.rmtree(parts, ignore_errors=True)


def _keep_boxes(before: pathlib.Path, folder: pathlib.Path) -> None:
  """Move the boxes from a cache to its successor, if the frames are the same.

  Finding the boxes can take hours.
  """
  if not (before / 'index.json').exists():
    return
  files = [read_object(place / 'index.json').get('files', {}) for place in (before, folder)]
  if all(files[0].get(f'{split}.npy') == files[1][f'{split}.npy'] for split in SPLITS):
    for path in before.glob('boxes-*'):
      path.rename(folder / path.name)


def _videos(
  reader: ModuleType,
  root: str | pathlib.Path,
  split: str,
  options: Mapping[str, Any],
  faults: list[str],
) -> list[Video]:
  """Return the reader's videos of a split.

  A fault of the whole split, such as a broken label file, is added to `faults`. An unknown layout
  is raised, since then nothing can be read.
  """
  reader.layout(root)
  try:
    return reader.videos(root, split, **options)
  except UserError as error:
    if str(error) not in faults:
      faults.append(str(error))
    return []


def _check_labels(root: str | pathlib.Path, label_set: str, test: Mapping[str, Any]) -> None:
  """Check that the test videos have the labels that a user asked for."""
  if label_set and test['videos'] and not test['labels']:
    raise UserError(
      f'data.label_set {label_set!r}: there are no such labels in {root}; add their file, or name '
      'another label set'
    )


def _notes(
  reader: ModuleType,
  root: str | pathlib.Path,
  index: Mapping[str, Any],
  labels: np.ndarray | None,
) -> list[str]:
  """Return the notes on this copy of a data set.

  They list differences from the published set and between its label sets. If only some clips have
  pixel masks, they list these clips.
  """
  test = index['splits']['test']
  notes = differences(getattr(reader, 'PUBLISHED', Published()), index, labels)
  if hasattr(reader, 'notes'):
    notes += reader.notes(root)
  else:
    for video in test['videos']:
      for other, count in video['other_labels'].items():
        if count:
          notes.append(
            f'test clip {video["name"]}: label set {other} differs from {index["label_set"]} '
            f'on {count} frames'
          )

  masked = [video['name'] for video in test['videos'] if video['masks']]
  if test['masks'] and len(masked) < len(test['videos']):
    notes.append(f'pixel masks only for {", ".join(masked)}')
  return notes
