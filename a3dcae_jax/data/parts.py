"""One video ingested: its frames and masks, resized, in a folder of its own that a second try finds again."""

import hashlib
import pathlib
import re

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_dir, read_json, write_json
from a3dcae_jax.data.arrays import ArrayWriter
from a3dcae_jax.data.video import resize, resize_mask


def ingest_video(video, folder, *, split, shape, on_frame=lambda: None):
  """Writes `frames.npy`, `masks.npy` (where a test video has masks) and `part.json` for one video, whole or not at all.

  A part that an earlier try left, from a source that has not changed since, is used as it is.

  Args: video: `footage.Video`. folder: of all parts. shape: (height, width) to resize to. on_frame: called after each frame.

  Returns: (folder of the part, its `part.json`: num_frames, source_size [height, width], content (SHA-256 of the frames as shipped)).
  Raises: UserError saying what is wrong with the video.
  """
  path = pathlib.Path(folder) / f'{split}-{re.sub(r"[^A-Za-z0-9_.-]", "_", video.name)}'
  masked = split == 'test' and video.masks is not None
  signature = [*_signature(video.source), masked]
  if (path / 'part.json').exists():
    part = read_json(path / 'part.json')
    if part['signature'] == signature:
      return path, part
  with atomic_dir(path) as temporary:
    with ArrayWriter(temporary / 'frames.npy', shape) as writer:
      count, size, content = _write_frames(video, writer, shape, on_frame)
    if masked:
      with ArrayWriter(temporary / 'masks.npy', shape) as writer:
        _write_masks(video, writer, shape, count)
    part = {'num_frames': count, 'source_size': size, 'content': content, 'signature': signature}
    write_json(temporary / 'part.json', part)
  return path, part


def _signature(source):
  """What changes when a video is mended: of a file its size and time, of a folder its files' number and newest time."""
  path = pathlib.Path(source)
  if path.is_file():
    return [source, path.stat().st_size, path.stat().st_mtime_ns]
  if path.is_dir():
    times = [entry.stat().st_mtime_ns for entry in path.iterdir()]
    return [source, len(times), max([path.stat().st_mtime_ns, *times])]
  return [source, 0, 0]


def _write_frames(video, writer, shape, on_frame):
  count, size, digest = 0, None, hashlib.sha256()
  for frame in video.frames():
    if size is not None and frame.shape != size:
      raise UserError(
        f'frame {count} is {frame.shape[1]}x{frame.shape[0]}, the ones before {size[1]}x{size[0]}'
      )
    size = frame.shape
    writer.append(resize(frame, *shape))
    digest.update(np.ascontiguousarray(frame))
    count += 1
    on_frame()
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
