"""From a reader's videos to a frame store: one frame at a time, whole or not at all, every fault named in one go."""

import contextlib
import hashlib
import json
import pathlib
import re

import numpy as np
import tqdm

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import whole_folder, write_json
from a3dcae_jax.data import builders
from a3dcae_jax.data.footage import resize, resize_mask
from a3dcae_jax.data.store import FORMAT, FrameStore, content_hash


def prepare_store(name, *, root, store_dir, height, width, label_set='', options=None):
  """Opens the store of a data set at this size, making it first where it is not there yet.

  Args:
    name: of the builder. root: folder of the footage. store_dir: folder of all stores. height, width: pixels.
    label_set: '' for the set's default. options: the builder's own keyword arguments.

  Returns: `FrameStore`.
  Raises: UserError listing every fault of the footage; nothing is then left behind.
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
  with whole_folder(folder) as temporary:
    index = {'format': FORMAT, 'name': name, 'label_set': label_set, 'height': height, 'width': width, 'splits': {}, 'files': []}
    faults, seen = [], {}
    for split in ('train', 'test'):
      videos = reader.videos(root, split, **options)
      if not videos and split == 'test' and not index['splits']['train']['videos']:
        faults.append(f'{root}: no video')
      index['splits'][split] = _write_split(temporary, index, split, videos, label_set, faults, seen)
    if faults:
      raise UserError(f'{name}: {len(faults)} fault{"s" if len(faults) > 1 else ""} in the footage, nothing was written:\n  ' + '\n  '.join(faults))
    index['notes'] = _notes(reader, index)
    index['layout'] = getattr(reader, 'LAYOUT', '') or reader.layout(root)
    index['sha256'] = content_hash(temporary, index)
    write_json(temporary / 'index.json', index)
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


def _write_split(folder, index, split, videos, label_set, faults, seen):
  """Streams a split's arrays into `folder`; returns its entry of the index.

  What is wrong with a video goes to `faults`; `seen` (content -> video) shows videos that are there twice.
  """
  shape = (index['height'], index['width'])
  labelled = split == 'test' and bool(videos) and all(label_set in video.labels for video in videos)
  masked = split == 'test' and bool(videos) and all(video.masks for video in videos)
  entries, labels, tracks = [], [], {}
  with contextlib.ExitStack() as stack:
    writer = stack.enter_context(ArrayWriter(folder / f'{split}.npy', shape))
    mask_writer = stack.enter_context(ArrayWriter(folder / 'masks.npy', shape)) if masked else None
    for video in tqdm.tqdm(videos, desc=f'prepare {index["name"]} {split}', unit='video', dynamic_ncols=True):
      try:
        count, size, content = _write_frames(video, writer, shape)
        if content in seen:
          raise UserError(f'the same frames as {seen[content]}')
        seen[content] = f'{split} video {video.name}'
        if labelled and len(video.labels[label_set]) != count:
          raise UserError(f'{count} frames, but {len(video.labels[label_set])} labels ({label_set})')
        if masked:
          _write_masks(video, mask_writer, shape, count)
      except UserError as error:
        faults.append(f'{split} video {video.name} ({video.source}): {error}')
        continue
      entries.append({'name': video.name, 'num_frames': count, 'scene': video.scene, 'source_size': size,
                      'other_labels': _differences(video.labels, label_set)})
      if labelled:
        labels.append(np.asarray(video.labels[label_set], np.uint8))
      if split == 'test' and video.tracks is not None:
        tracks[video.name] = _scaled(video.tracks, size, shape)
  index['files'] += [f'{split}.npy', *(['masks.npy'] if masked else [])]
  if labelled:
    np.save(folder / 'labels.npy', np.concatenate(labels) if labels else np.zeros(0, np.uint8))
    index['files'].append('labels.npy')
  return {'videos': entries, 'labels': labelled, 'masks': masked, 'tracks': tracks or None}


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


def _write_frames(video, writer, shape):
  count, size, digest = 0, None, hashlib.sha256()
  for frame in video.frames():
    if size is not None and frame.shape != size:
      raise UserError(f'frame {count} is {frame.shape[1]}x{frame.shape[0]}, the ones before {size[1]}x{size[0]}')
    size = frame.shape
    writer.append(resize(frame, *shape))
    digest.update(np.ascontiguousarray(frame))
    count += 1
  if not count:
    raise UserError('no frames')
  return count, list(size), digest.hexdigest()


def _write_masks(video, writer, shape, count):
  masks = 0
  for mask in video.masks():
    writer.append(resize_mask(mask, *shape))
    masks += 1
  if masks != count:
    raise UserError(f'{count} frames, but {masks} masks')


def _scaled(tracks, size, shape):
  scale_y, scale_x = shape[0] / size[0], shape[1] / size[1]
  return [[int(r.track), int(r.frame), float(r.x1 * scale_x), float(r.y1 * scale_y), float(r.x2 * scale_x), float(r.y2 * scale_y)]
          for r in tracks]


class ArrayWriter:
  """Appends uint8 frames to a .npy file whose length is known only at the end."""

  _HEADER_BYTES = 128

  def __init__(self, path, shape):
    self._path, self._shape, self._count = path, shape, 0

  def __enter__(self):
    self._file = open(self._path, 'wb')
    self._file.write(b'\0' * self._HEADER_BYTES)
    return self

  def append(self, frame):
    self._file.write(np.ascontiguousarray(frame, np.uint8).tobytes())
    self._count += 1

  def __exit__(self, *_):
    """Writes the header of version 1.0 of NumPy's format, padded to its fixed place."""
    fields = repr({'descr': '|u1', 'fortran_order': False, 'shape': (self._count, *self._shape)})
    magic = b'\x93NUMPY\x01\x00' + (self._HEADER_BYTES - 10).to_bytes(2, 'little')
    self._file.seek(0)
    self._file.write(magic + fields.ljust(self._HEADER_BYTES - 11).encode('latin1') + b'\n')
    self._file.close()
