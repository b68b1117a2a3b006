"""Pack a frame cache into one small file, to be unpacked on another machine.

  python -m tools.pack_cache pack CACHE FILE [--quality=95]
  python -m tools.pack_cache unpack FILE CACHE

Frames are stored as JPEG (at quality 95: a quarter of the size, a mean error of 0.7 grey levels)
or, with --quality=0, as PNG, which is exact. The unpacked cache has hashes of its own, and its
index tells how the frames were packed.
"""

import argparse
import io
import json
import pathlib
import sys

import numpy as np
import tqdm
from PIL import Image

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_dir, atomic_write
from a3dcae_jax.data.arrays import ArrayWriter
from a3dcae_jax.data.frame_cache import SPLITS, FrameCache, write_index


def pack(folder: str | pathlib.Path, path: str | pathlib.Path, quality: int) -> None:
  """Write a frame cache into an .npz file.

  Args:
    folder: the frame cache.
    path: the file.
    quality: quality of the JPEGs; 0 means PNG.
  """
  cache = FrameCache.open(folder)
  index = dict(cache.index)
  index['layout'] += f', packed as JPEG {quality}' if quality else ', packed as PNG'
  text = json.dumps(index)
  arrays = {'index': np.frombuffer(text.encode(), np.uint8)}
  for split in SPLITS:
    frames = getattr(cache, split).frames
    images = []
    for frame in tqdm.tqdm(frames, f'pack {split}'):
      images.append(_encode(frame, quality))
    lengths = [len(image) for image in images]
    arrays[split] = np.frombuffer(b''.join(images), np.uint8)
    arrays[f'{split}_ends'] = np.cumsum(lengths)
  if cache.test.labels is not None:
    arrays['labels'] = cache.test.labels
  if cache.test.masks is not None:
    arrays['masks'] = np.packbits(cache.test.masks, axis=-1)
  with atomic_write(path, 'wb') as file:
    np.savez_compressed(file, **arrays)


def unpack(path: str | pathlib.Path, folder: str | pathlib.Path) -> None:
  """Write the frame cache in an .npz file to a folder, as a whole or not at all.

  Args:
    path: the file.
    folder: the frame cache.
  """
  with np.load(path, allow_pickle=False) as arrays, atomic_dir(folder) as temporary:
    index = json.loads(arrays['index'].tobytes())
    shape = (index['height'], index['width'])
    for split in SPLITS:
      packed = arrays[split]
      ends = arrays[f'{split}_ends']
      with ArrayWriter(temporary / f'{split}.npy', shape) as writer:
        start = 0
        for end in ends:
          frame = _decode(packed[start:end])
          writer.append(frame)
          start = end
    if 'labels' in arrays:
      np.save(temporary / 'labels.npy', arrays['labels'])
    if 'masks' in arrays:
      masks = np.unpackbits(arrays['masks'], axis=-1, count=index['width'])
      np.save(temporary / 'masks.npy', masks)
    write_index(temporary, index)


def _encode(frame: np.ndarray, quality: int) -> bytes:
  image = Image.fromarray(np.asarray(frame))
  buffer = io.BytesIO()
  if quality:
    image.save(buffer, 'JPEG', quality=quality)
  else:
    image.save(buffer, 'PNG', optimize=True)
  return buffer.getvalue()


def _decode(packed: np.ndarray) -> np.ndarray:
  return np.asarray(Image.open(io.BytesIO(packed.tobytes())))


def parse_flags(argv: list[str] | None = None) -> argparse.Namespace:
  """Parse the command line; None takes that of the process."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('what', choices=('pack', 'unpack'))
  parser.add_argument('source', type=pathlib.Path, help='the frame cache, or the packed file')
  parser.add_argument('target', type=pathlib.Path, help='the packed file, or the frame cache')
  parser.add_argument('--quality', type=int, default=95, help='quality of the JPEGs; 0 means PNG')
  return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
  """Pack or unpack, and return the exit status."""
  arguments = parse_flags(argv)
  try:
    if arguments.what == 'pack':
      pack(arguments.source, arguments.target, arguments.quality)
    else:
      unpack(arguments.source, arguments.target)
  except (UserError, OSError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  return 0


if __name__ == '__main__':
  sys.exit(main())
