"""Open the frame cache of a data set, and show its content as a table."""

import pathlib
from collections.abc import Sequence

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import fields
from a3dcae_jax.data.frame_cache import SPLITS, FrameCache, Split
from a3dcae_jax.data.ingest import prepare_cache
from a3dcae_jax.training import processes


def prepare_data(data: fields.Data, splits: Sequence[str] = SPLITS) -> FrameCache:
  """Return the frame cache of a data set, and make it if it does not exist.

  Args:
    data: the config's `data`. If `data.cache` is set, that folder is opened as it is.
    splits: the splits to open.

  Raises:
    UserError: if the cache at `data.cache` has another data set, size or label set, if the videos
      are not found, or if they have faults.
  """
  if data.cache:
    return _open_given(data, splits)
  return prepare_cache(
    data.name,
    root=data.root,
    cache_dir=data.cache_dir,
    height=data.height,
    width=data.width,
    label_set=data.label_set,
    options=dict(data.options),
    splits=splits,
  )


def open_cache(data: fields.Data, splits: Sequence[str] = SPLITS) -> FrameCache:
  """Open the frame cache of a data set on every process, and verify it.

  In a pod, process 0 makes the cache if it does not exist. Then the other processes open it, or
  make their own if they do not share a disk.
  """
  cache = processes.primary_first('frame cache', lambda: _verified(data, splits))
  expected = processes.run_on_primary('data hash', lambda: cache.data_hash)
  if cache.data_hash != expected:
    raise UserError(
      f'{cache.folder} has the data hash {cache.data_hash[:12]}, but process 0 has '
      f'{expected[:12]}: copy one cache to all hosts'
    )
  return cache


def ingest_table(cache: FrameCache) -> str:
  """Return the content of a cache as text: a row per clip, a total per split."""
  index = cache.index
  labels = 'none' if cache.test.labels is None else index['label_set']
  lines = [
    f'{index["name"]}: {index["layout"]}; labels: {labels}; '
    f'cached at {index["width"]}x{index["height"]} in {cache.folder}',
    _row('split', 'clip', 'frames', 'size', 'abnormal', 'runs'),
  ]
  for name, split in (('train', cache.train), ('test', cache.test)):
    lines += _split_rows(name, split, index['splits'][name]['videos'])
  lines += [f'note: {note}' for note in index.get('notes', ())]
  return '\n'.join(lines)


def _split_rows(name: str, split: Split, entries: Sequence[dict]) -> list[str]:
  rows = []
  total_frames = 0
  total_abnormal = 0
  total_runs = 0
  for video, entry in zip(split.videos, entries, strict=True):
    height, width = entry['source_size']
    size = f'{width}x{height}'
    abnormal = '-'
    runs = '-'
    if split.labels is not None:
      labels = split.labels[video.first : video.first + video.num_frames].astype(int)
      abnormal = int(labels.sum())
      runs = int((np.diff(np.r_[0, labels]) == 1).sum())
      total_abnormal += abnormal
      total_runs += runs
    total_frames += video.num_frames
    rows.append(_row(name, video.name, f'{video.num_frames:,}', size, abnormal, runs))
  clips = f'{len(split.videos)} clips'
  frames = f'{total_frames:,}'
  if split.labels is None:
    rows.append(_row(name, clips, frames, '', '-', '-'))
  else:
    rows.append(_row(name, clips, frames, '', f'{total_abnormal:,}', total_runs))
  return rows


def _row(*cells: object) -> str:
  """Align the six cells of a row; runs are those of abnormal frames."""
  split, *others = cells
  row = f'{split:6s}'
  for cell, width in zip(others, (12, 9, 10, 10, 6), strict=True):
    row += f'{cell:>{width}}'
  return row


def _open_given(data: fields.Data, splits: Sequence[str]) -> FrameCache:
  if not (pathlib.Path(data.cache) / 'index.json').is_file():
    raise UserError(
      f'data.cache (={data.cache}) is not a frame cache: it has no index.json; name a folder that '
      'prepare has written, or leave the field empty'
    )
  cache = FrameCache.open(pathlib.Path(data.cache), splits)
  expected = {'name': data.name, 'height': data.height, 'width': data.width}
  if data.label_set:
    expected['label_set'] = data.label_set
  for field, value in expected.items():
    if cache.index[field] != value:
      raise UserError(
        f'data.cache {data.cache} has {field} {cache.index[field]!r}, the config says {value!r}'
      )
  return cache


def _verified(data: fields.Data, splits: Sequence[str]) -> FrameCache:
  cache = prepare_data(data, splits)
  if processes.is_primary():
    cache.verify(splits)
  return cache
