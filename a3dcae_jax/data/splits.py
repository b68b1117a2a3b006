"""One split of a cache: its videos ingested on all cores, checked, and joined into one array."""

import os
from concurrent import futures

import numpy as np
import tqdm

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.arrays import ArrayWriter
from a3dcae_jax.data.parts import ingest_video


def write_split(folder, parts, index, split, videos, faults, seen):
  """Ingests a split's videos on all cores and joins them in `folder`; returns the split's entry of the index.

  What is wrong with a video goes to `faults`; `seen` (content -> video) shows videos that are there twice.
  """
  shape, label_set = (index['height'], index['width']), index['label_set']
  labelled = split == 'test' and any(label_set in video.labels for video in videos)
  masked = split == 'test' and any(video.masks for video in videos)
  entries, labels, tracks, done = [], [], {}, []
  for video, result in _ingest_all(videos, parts, index['name'], split=split, shape=shape):
    wrong = list(video.faults)
    try:
      path, part = result()
      wrong += _faults(video, part, label_set if labelled else '', seen, split)
    except UserError as error:
      wrong.append(str(error))
    if wrong:
      faults += [
        f'{split} video {video.name} ({video.source}): {_without_source(fault, video.source)}'
        for fault in wrong
      ]
      continue
    done.append((path, part['num_frames'], bool(video.masks) and masked))
    entries.append(
      {
        'name': video.name,
        'num_frames': part['num_frames'],
        'scene': video.scene,
        'source_size': part['source_size'],
        'masks': done[-1][2],
        'other_labels': _differences(video.labels, label_set),
      }
    )
    if labelled:
      labels.append(np.asarray(video.labels[label_set], np.uint8))
    if split == 'test' and video.tracks is not None:
      tracks[video.name] = _scaled(video.tracks, part['source_size'], shape)
  _join([(path / 'frames.npy', count) for path, count, _ in done], folder / f'{split}.npy', shape)
  index['files'].append(f'{split}.npy')
  if masked:
    _join(
      [(path / 'masks.npy' if has else None, count) for path, count, has in done],
      folder / 'masks.npy',
      shape,
    )
    index['files'].append('masks.npy')
  if labelled:
    np.save(folder / 'labels.npy', np.concatenate(labels) if labels else np.zeros(0, np.uint8))
    index['files'].append('labels.npy')
  return {'videos': entries, 'labels': labelled, 'masks': masked, 'tracks': tracks or None}


def _faults(video, part, label_set, seen, split):
  """What is wrong with a video that was ingested: it is there twice, or its labels do not fit. `label_set` '' wants none."""
  if part['content'] in seen:
    return [f'the same frames as {seen[part["content"]]}']
  seen[part['content']] = f'{split} video {video.name}'
  if not label_set or video.faults:
    return []
  if label_set not in video.labels:
    return [f'no labels ({label_set}), which other test videos have']
  if len(video.labels[label_set]) != part['num_frames']:
    return [f'{part["num_frames"]} frames, but {len(video.labels[label_set])} labels ({label_set})']
  return []


def _without_source(fault, source):
  """A fault is said after its source, which it need not name again."""
  return fault.removeprefix(f'{source} ').replace(f'{source}/', '') if source else fault


def _ingest_all(videos, parts, name, **arguments):
  """Yields (video, callable that gives its part or raises) in order. Decoding and resizing release the interpreter: threads do."""
  with (
    tqdm.tqdm(
      desc=f'prepare {name} {arguments["split"]}', unit=' frames', dynamic_ncols=True
    ) as bar,
    futures.ThreadPoolExecutor(os.cpu_count()) as pool,
  ):
    running = [
      (video, pool.submit(ingest_video, video, parts, on_frame=bar.update, **arguments))
      for video in videos
    ]
    for count, (video, future) in enumerate(running, start=1):
      bar.set_postfix_str(f'video {count} of {len(videos)}', refresh=False)
      yield video, future.result


def _join(sources, target, shape):
  """Arrays one after another; a source None is as many empty frames (a clip without masks)."""
  with ArrayWriter(target, shape) as writer:
    for source, count in sources:
      if source:
        writer.extend_file(source)
      else:
        writer.extend(np.broadcast_to(np.uint8(0), (count, *shape)))


def _differences(labels, chosen):
  """Other label set -> on how many frames it differs from the chosen one."""
  if chosen not in labels:
    return {}
  return {
    name: int((values != labels[chosen]).sum())
    for name, values in labels.items()
    if name != chosen and len(values) == len(labels[chosen])
  }


def _scaled(tracks, size, shape):
  scale_y, scale_x = shape[0] / size[0], shape[1] / size[1]
  return [
    [
      int(r.track),
      int(r.frame),
      float(r.x1 * scale_x),
      float(r.y1 * scale_y),
      float(r.x2 * scale_x),
      float(r.y2 * scale_y),
    ]
    for r in tracks
  ]
