"""The frame cache: all frames of a data set at one size, in arrays on disk.

    index.json   what was ingested: videos, label set, notes, SHA-256 of each array
    train.npy    uint8 [N, H, W], the training videos one after another
    test.npy     uint8 [N, H, W], the test videos
    labels.npy   uint8 [N], 1 = abnormal, of the test frames; only where the set has labels
    masks.npy    uint8 0/1 [N, H, W], of the test frames; only where the set has pixel masks

Clips are not stored: they overlap, and would need T times the space. Arrays are memory-mapped.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_object, write_json
from a3dcae_jax.data.video import Region

FORMAT = 2
SPLITS = ('train', 'test')


class CachedVideo(NamedTuple):
  """A video in a split of the cache.

  Attributes:
    name: unique in its split.
    first: index of its first frame in the split.
    num_frames: its length.
    scene: name of its camera, '' if the set has only one.
    has_masks: whether it has pixel masks. If not, its part of masks.npy is empty.
  """

  name: str
  first: int
  num_frames: int
  scene: str
  has_masks: bool = False


@dataclasses.dataclass(frozen=True)
class Split:
  """The training or the test videos.

  Attributes:
    frames: uint8 [N, H, W], memory-mapped.
    videos: `CachedVideo`s in the order of their frames.
    labels: uint8 [N], 1 = abnormal; None where the set has none.
    masks: uint8 0/1 [N, H, W]; None where the set has none.
    tracks: video name -> tuple of `Region`s in pixels of the cache; None where the set has none.
  """

  frames: np.ndarray
  videos: tuple[CachedVideo, ...]
  labels: np.ndarray | None = None
  masks: np.ndarray | None = None
  tracks: Mapping[str, tuple[Region, ...]] | None = None


@dataclasses.dataclass(frozen=True)
class FrameCache:
  """An opened frame cache.

  Attributes:
    folder: the cache's folder.
    index: content of index.json.
    train: the training split; None if it was not opened.
    test: the test split; None if it was not opened.
  """

  folder: pathlib.Path
  index: Mapping[str, Any]
  train: Split | None = None
  test: Split | None = None

  @classmethod
  def open(cls, folder: str | pathlib.Path, splits: Sequence[str] = SPLITS) -> 'FrameCache':
    """Open a frame cache.

    Args:
      folder: folder of the cache.
      splits: the splits to open. Files of other splits are not touched and need not exist.

    Raises:
      UserError: if index.json or an array is missing, damaged or of another format.
    """
    folder = pathlib.Path(folder)
    index = read_object(folder / 'index.json')
    if index.get('format') != FORMAT:
      raise UserError(
        f'{folder}/index.json has format {index.get("format")!r}, this version reads {FORMAT}; '
        'remove the folder to make the cache anew'
      )
    try:
      opened = {split: _open_split(folder, index, split) for split in splits}
    except (KeyError, TypeError, ValueError) as error:
      raise UserError(
        f'{folder}/index.json is damaged ({type(error).__name__}: {error}); '
        'remove the folder to make the cache anew'
      ) from None
    return cls(folder, index, **opened)

  @property
  def data_hash(self) -> str:
    """SHA-256 over the hashes of all arrays: the data that results depend on."""
    return self.index['sha256']

  def verify(self, splits: Sequence[str] | None = None) -> None:
    """Read the arrays and compare them with the hashes in index.json.

    Args:
      splits: the splits to verify; by default those that are open.

    Raises:
      UserError: if an array, or the list of hashes, is not the one that was written.
    """
    if splits is None:
      splits = [split for split in SPLITS if getattr(self, split) is not None]
    files = self.index['files']
    names = [name for name in files if _split_of(name) in splits]
    changed = [name for name in names if file_hash(self.folder / name) != files[name]]
    if hash_of_files(files) != self.data_hash:
      changed.append('index.json')
    if changed:
      raise UserError(
        f'{self.folder}: the SHA-256 of {", ".join(changed)} differs from the one written; '
        'remove the folder to make the cache anew'
      )


def videos_of(split: Split, first: np.ndarray) -> np.ndarray:
  """Return the index of the video that has each frame.

  Args:
    split: a split of the cache.
    first: int [M], frame indices in the split.

  Returns:
    int32 [M], indices into `split.videos`.
  """
  starts = np.asarray([video.first for video in split.videos])
  return (np.searchsorted(starts, first, side='right') - 1).astype(np.int32)


def write_index(folder: pathlib.Path, index: Mapping[str, Any]) -> None:
  """Write index.json for arrays that are already in `folder`.

  Args:
    folder: folder of the cache.
    index: everything but the hashes; `index['files']` names the arrays.
  """
  files = {name: file_hash(folder / name) for name in index['files']}
  hashed = {'format': FORMAT, 'files': files, 'sha256': hash_of_files(files)}
  write_json(folder / 'index.json', dict(index) | hashed)


def file_hash(path: pathlib.Path) -> str:
  """Return the SHA-256 of a file, in hexadecimal digits."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def hash_of_files(files: Mapping[str, str]) -> str:
  """Return the SHA-256 over the names and hashes of files, whatever their order."""
  lines = [f'{name} {files[name]}\n' for name in sorted(files)]
  return hashlib.sha256(''.join(lines).encode()).hexdigest()


def _split_of(name: str) -> str:
  """Return the split that a file of the cache belongs to."""
  return 'train' if name == 'train.npy' else 'test'


def _open_split(folder: pathlib.Path, index: Mapping[str, Any], split: str) -> Split:
  entry = index['splits'][split]
  videos = []
  count = 0
  for video in entry['videos']:
    videos.append(
      CachedVideo(
        name=video['name'],
        first=count,
        num_frames=video['num_frames'],
        scene=video['scene'],
        has_masks=video['masks'],
      )
    )
    count += video['num_frames']
  shape = (count, index['height'], index['width'])
  return Split(
    frames=_map_array(folder / f'{split}.npy', shape),
    videos=tuple(videos),
    labels=_map_array(folder / 'labels.npy', (count,)) if entry['labels'] else None,
    masks=_map_array(folder / 'masks.npy', shape) if entry['masks'] else None,
    tracks=_read_tracks(entry['tracks']) if entry['tracks'] else None,
  )


def _read_tracks(tracks: Mapping[str, Any]) -> dict[str, tuple[Region, ...]]:
  return {name: tuple(Region(*row) for row in rows) for name, rows in tracks.items()}


def _map_array(path: pathlib.Path, shape: tuple[int, ...]) -> np.ndarray:
  """Map an array from its file and check its type and shape."""
  if shape[0] == 0 and path.exists():
    return np.zeros(shape, np.uint8)  # an empty file cannot be mapped
  try:
    array = np.load(path, mmap_mode='r', allow_pickle=False)
  except (OSError, ValueError) as error:
    raise UserError(
      f'{path} cannot be read ({error}); remove {path.parent} to make the cache anew'
    ) from None
  if array.dtype != np.uint8 or array.shape != shape:
    raise UserError(
      f'{path} holds {array.dtype}{list(array.shape)}, the index says uint8{list(shape)}; '
      'remove the folder to make the cache anew'
    )
  return array
