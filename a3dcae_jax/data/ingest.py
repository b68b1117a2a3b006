"""From a reader's videos to a frame store: one frame at a time on every core, whole or not at all, every fault named in one go."""

import hashlib
import json
import os
import pathlib
import re
import shutil
from concurrent import futures

import numpy as np
import tqdm

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import whole_folder, write_json
from a3dcae_jax.data import builders
from a3dcae_jax.data.arrays import ArrayWriter
from a3dcae_jax.data.parts import ingest_video
from a3dcae_jax.data.store import FORMAT, FrameStore, content_hash


def prepare_store(name, *, root, store_dir, height, width, label_set='', options=None):
  """Opens the store of a data set at this size, making it first where it is not there yet.

  Args:
    name: of the builder. root: folder of the footage. store_dir: folder of all stores. height, width: pixels.
    label_set: '' for the set's default. options: the builder's own keyword arguments.

  Returns: `FrameStore`.
  Raises: UserError listing every fault of the footage. There is then no store; videos that were well are kept beside its place for the next try.
  """
  options = dict(options or {})
  reader = builders.reader(name)
  if label_set and label_set not in reader.LABEL_SETS:
    raise UserError(f'data.label_set {label_set!r}: {name} has {", ".join(reader.LABEL_SETS)}')
  label_set = label_set or reader.LABEL_SETS[0]
  if name == 'synthetic':  # drawn at its size, rather than resized
    options = {'height': height, 'width': width} | options
  folder = store_folder(store_dir, name, root=root, height=height, width=width, label_set=label_set, options=options)
  if (folder / 'index.json').exists():
    return FrameStore.open(folder)
  _check_root(name, root)
  parts = folder.with_name(f'.{folder.name}.parts')  # what was ingested well outlives a fault, so that a second try does the rest alone
  with whole_folder(folder) as temporary:
    index = {'format': FORMAT, 'name': name, 'label_set': label_set, 'height': height, 'width': width, 'splits': {}, 'files': []}
    faults, seen = [], {}
    for split in ('train', 'test'):
      videos = reader.videos(root, split, **options)
      if not videos and split == 'test' and not index['splits']['train']['videos']:
        faults.append(f'{root}: no video')
      index['splits'][split] = _write_split(temporary, parts, index, split, videos, label_set, faults, seen)
    if faults:
      raise UserError(f'{name}: {len(faults)} fault{"s" if len(faults) > 1 else ""} in the footage, nothing was written:\n  ' + '\n  '.join(faults))
    index['notes'] = _notes(reader, index)
    index['layout'] = getattr(reader, 'LAYOUT', '') or reader.layout(root)
    index['sha256'] = content_hash(temporary, index)
    write_json(temporary / 'index.json', index)
  shutil.rmtree(parts, ignore_errors=True)
  return FrameStore.open(folder)


def store_folder(store_dir, name, *, root, height, width, label_set, options):
  """`store_dir/NAME-HxW-LABELSET-KEY`: KEY tells apart copies of the footage and options."""
  source = str(pathlib.Path(root).resolve()) if root else ''
  key = hashlib.sha256(json.dumps([source, options], sort_keys=True).encode()).hexdigest()[:8]
  return pathlib.Path(store_dir) / f'{name}-{height}x{width}-{label_set}-{key}'


def _check_root(name, root):
  if name == 'synthetic':
    return
  if not root:
    raise UserError(f'data.root is empty: give the folder of {name}, as in --config.data.root=FOLDER')
  if not pathlib.Path(root).exists():
    raise UserError(f'data.root {root}: there is no such folder')


def _write_split(folder, parts, index, split, videos, label_set, faults, seen):
  """Ingests a split's videos on all cores and joins them in `folder`; returns the split's entry of the index.

  What is wrong with a video goes to `faults`; `seen` (content -> video) shows videos that are there twice.
  """
  shape = (index['height'], index['width'])
  labelled = split == 'test' and bool(videos) and all(label_set in video.labels for video in videos)
  masked = split == 'test' and bool(videos) and all(video.masks for video in videos)
  entries, labels, tracks, done = [], [], {}, []
  for video, result in _ingest_all(videos, parts, index['name'], split=split, shape=shape, masked=masked):
    try:
      path, part = result()
      count = part['num_frames']
      if part['content'] in seen:
        raise UserError(f'the same frames as {seen[part["content"]]}')
      seen[part['content']] = f'{split} video {video.name}'
      if labelled and len(video.labels[label_set]) != count:
        raise UserError(f'{count} frames, but {len(video.labels[label_set])} labels ({label_set})')
    except UserError as error:
      faults.append(f'{split} video {video.name} ({video.source}): {error}')
      continue
    done.append(path)
    entries.append({'name': video.name, 'num_frames': count, 'scene': video.scene, 'source_size': part['source_size'],
                    'other_labels': _differences(video.labels, label_set)})
    if labelled:
      labels.append(np.asarray(video.labels[label_set], np.uint8))
    if split == 'test' and video.tracks is not None:
      tracks[video.name] = _scaled(video.tracks, part['source_size'], shape)
  for target, source in ((f'{split}.npy', 'frames.npy'), *((('masks.npy', 'masks.npy'),) if masked else ())):
    _join([path / source for path in done], folder / target, shape)
    index['files'].append(target)
  if labelled:
    np.save(folder / 'labels.npy', np.concatenate(labels) if labels else np.zeros(0, np.uint8))
    index['files'].append('labels.npy')
  return {'videos': entries, 'labels': labelled, 'masks': masked, 'tracks': tracks or None}


def _ingest_all(videos, parts, name, **arguments):
  """Yields (video, callable that gives its part or raises) in order. Decoding and resizing release the interpreter: threads do."""
  with tqdm.tqdm(desc=f'prepare {name} {arguments["split"]}', unit=' frames', dynamic_ncols=True) as bar, \
       futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    running = [(video, pool.submit(ingest_video, video, parts, on_frame=bar.update, **arguments)) for video in videos]
    for count, (video, future) in enumerate(running, start=1):
      bar.set_postfix_str(f'video {count} of {len(videos)}', refresh=False)
      yield video, future.result


def _join(sources, target, shape):
  with ArrayWriter(target, shape) as writer:
    for source in sources:
      writer.extend(np.load(source, mmap_mode='r'))


def _differences(labels, chosen):
  """Other label set -> on how many frames it differs from the chosen one."""
  if chosen not in labels:
    return {}
  return {name: int((values != labels[chosen]).sum()) for name, values in labels.items() if name != chosen and len(values) == len(labels[chosen])}


def _notes(reader, index):
  """What a user should know of this copy: where it differs from the set as published, and where its label sets differ."""
  notes = []
  for split, lengths in getattr(reader, 'PUBLISHED_FRAMES', {}).items():
    for video in index['splits'][split]['videos']:
      number = int('0' + re.sub(r'\D', '', video['name']))
      if not 1 <= number <= len(lengths) or lengths[number - 1] != video['num_frames']:
        published = lengths[number - 1] if 1 <= number <= len(lengths) else 'no such clip'
        notes.append(f'{split} clip {video["name"]} has {video["num_frames"]} frames, as published {published}')
  for video in index['splits']['test']['videos']:
    notes += [f'test clip {video["name"]}: label set {other} differs from {index["label_set"]} on {count} frames'
              for other, count in video['other_labels'].items() if count]
  return notes


def _scaled(tracks, size, shape):
  scale_y, scale_x = shape[0] / size[0], shape[1] / size[1]
  return [[int(r.track), int(r.frame), float(r.x1 * scale_x), float(r.y1 * scale_y), float(r.x2 * scale_x), float(r.y2 * scale_y)]
          for r in tracks]
