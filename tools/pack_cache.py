"""Packs a frame cache into one small file that travels, and unpacks it where the footage is not.

  python tools/pack_cache.py pack CACHE FILE [--quality=95]
  python tools/pack_cache.py unpack FILE CACHE

Frames are written as JPEG (quality 95: 0.7 grey levels off on average, a quarter of the size) or, with --quality=0, as PNG (exact). The
unpacked cache's index says how it travelled, and has a hash of its own.
"""

import argparse
import io
import json
import pathlib

import numpy as np
import tqdm
from PIL import Image

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_dir, atomic_write
from a3dcae_jax.data.arrays import ArrayWriter
from a3dcae_jax.data.frame_cache import FrameCache, write_index


def pack(folder, path, quality):
  """Writes the cache at `folder` into the .npz file `path`."""
  cache = FrameCache.open(folder)
  index = cache.index | {
    'layout': f'{cache.index["layout"]}, packed as {f"JPEG {quality}" if quality else "PNG"}'
  }
  arrays = {'index': np.frombuffer(json.dumps(index).encode(), np.uint8)}
  for name in ('train', 'test'):
    blobs = [
      _encode(frame, quality)
      for frame in tqdm.tqdm(getattr(cache, name).frames, desc=f'pack {name}', unit='frame')
    ]
    arrays[name], arrays[f'{name}_ends'] = (
      np.frombuffer(b''.join(blobs), np.uint8),
      np.cumsum([len(blob) for blob in blobs]),
    )
  if cache.test.labels is not None:
    arrays['labels'] = cache.test.labels
  if cache.test.masks is not None:
    arrays['masks'] = np.packbits(cache.test.masks, axis=-1)
  with atomic_write(path, 'wb') as file:
    np.savez_compressed(file, **arrays)


def unpack(path, folder):
  """Writes the frame cache in the .npz file `path` to `folder`, whole or not at all."""
  with np.load(path, allow_pickle=False) as arrays, atomic_dir(folder) as temporary:
    index = json.loads(arrays['index'].tobytes())
    for name in ('train', 'test'):
      data, ends = arrays[name], arrays[f'{name}_ends']
      with ArrayWriter(temporary / f'{name}.npy', (index['height'], index['width'])) as writer:
        for start, end in zip(np.r_[0, ends[:-1]], ends, strict=True):
          writer.append(np.asarray(Image.open(io.BytesIO(data[start:end].tobytes()))))
    if 'labels' in arrays:
      np.save(temporary / 'labels.npy', arrays['labels'])
    if 'masks' in arrays:
      np.save(
        temporary / 'masks.npy', np.unpackbits(arrays['masks'], axis=-1, count=index['width'])
      )
    write_index(temporary, index)


def _encode(frame, quality):
  buffer = io.BytesIO()
  Image.fromarray(np.asarray(frame)).save(
    buffer,
    *(('JPEG',) if quality else ('PNG',)),
    **({'quality': quality} if quality else {'optimize': True}),
  )
  return buffer.getvalue()


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('what', choices=('pack', 'unpack'))
  parser.add_argument('source', type=pathlib.Path)
  parser.add_argument('target', type=pathlib.Path)
  parser.add_argument('--quality', type=int, default=95, help='of JPEG; 0 is PNG')
  arguments = parser.parse_args()
  try:
    if arguments.what == 'pack':
      pack(arguments.source, arguments.target, arguments.quality)
    else:
      unpack(arguments.source, arguments.target)
  except (UserError, OSError) as error:
    parser.exit(2, f'error: {error}\n')


if __name__ == '__main__':
  main()
