"""From the config's data subtree to an opened frame cache."""

import dataclasses

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.data.ingest import prepare_cache

DEFAULT_CACHE_DIR = 'data/caches'
MEANS = ('set', 'scene', 'video')


def prepare_data(
  *,
  name,
  root,
  cache,
  cache_dir,
  height,
  width,
  label_set,
  train_fraction,
  options,
  mean_image='set',
):
  """The frame cache of the config's data set, made first where it is not there yet. `cache_dir` '' is ./data/caches.

  With `cache`, that folder is opened as it is; a `UserError` if it holds another set, size or label set. mean_image: of the whole 'set',
  of each 'scene', or of each 'video'; what `FrameCache.mean_image` then gives.
  """
  if mean_image not in MEANS:
    raise UserError(f'data.mean_image {mean_image!r}: known are {", ".join(MEANS)}')
  if cache:
    opened = _open_given(
      cache,
      {'name': name, 'height': height, 'width': width}
      | ({'label_set': label_set} if label_set else {}),
    )
  else:
    opened = prepare_cache(
      name,
      root=root,
      cache_dir=cache_dir or DEFAULT_CACHE_DIR,
      height=height,
      width=width,
      label_set=label_set,
      options=dict(options) | ({'train_fraction': train_fraction} if train_fraction else {}),
    )
  return dataclasses.replace(opened, means=mean_image)


def ingest_table(cache):
  """What a cache holds, as text: a row for each clip, a total for each split."""
  index = cache.index
  lines = [
    f'{index["name"]}: {index["layout"]}; labels: {index["label_set"] if cache.test.labels is not None else "none"}; '
    f'stored at {index["width"]}x{index["height"]} in {cache.folder}',
    f'{"split":6s}{"clip":>12s}{"frames":>9s}{"size":>10s}{"abnormal":>10s}{"runs":>6s}',
  ]
  for name, split in (('train', cache.train), ('test', cache.test)):
    totals, labelled = np.zeros(3, int), split.labels is not None
    for video, entry in zip(split.videos, index['splits'][name]['videos'], strict=True):
      labels = (
        None if split.labels is None else split.labels[video.first : video.first + video.num_frames]
      )
      counts = (
        (0, 0)
        if labels is None
        else (int(labels.sum()), int((np.diff(np.r_[0, labels.astype(int)]) == 1).sum()))
      )
      totals += (video.num_frames, *counts)
      height, width = entry['source_size']
      shown = ('-', '-') if labels is None else counts
      lines.append(
        f'{name:6s}{video.name:>12s}{video.num_frames:>9,}{f"{width}x{height}":>10s}{shown[0]:>10}{shown[1]:>6}'
      )
    lines.append(
      f'{name:6s}{f"{len(split.videos)} clips":>12s}{totals[0]:>9,}{"":>10s}'
      + (f'{totals[1]:>10,}{totals[2]:>6}' if labelled else f'{"-":>10s}{"-":>6s}')
    )
  lines += [f'note: {note}' for note in index.get('notes', ())]
  return '\n'.join(lines)


def _open_given(folder, expected):
  cache = FrameCache.open(folder)
  for field, value in expected.items():
    if cache.index[field] != value:
      raise UserError(
        f'data.cache {folder}: its {field} is {cache.index[field]!r}, the config says {value!r}'
      )
  return cache
