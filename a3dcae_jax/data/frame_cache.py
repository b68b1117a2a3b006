"""The frame cache: a data set once, resized, as one uint8 array a split on disk, beside a small JSON index.

    index.json   train.npy [N, H, W]   test.npy [N, H, W]   labels.npy uint8 [N]   masks.npy uint8 0/1 [N, H, W]

Clips are never written: they overlap, and would take T times the space. Arrays are memory-mapped when read.
"""

import hashlib
import pathlib
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_json
from a3dcae_jax.data.clip_reader import ClipReader
from a3dcae_jax.data.video import Region

FORMAT = 1


class CachedVideo(NamedTuple):
  """A video's place in its split: frames first .. first + num_frames - 1. has_masks: its pixel masks say something, rather than being empty."""

  name: str
  first: int
  num_frames: int
  scene: str
  has_masks: bool = False


@dataclass(frozen=True)
class Split:
  """One split. `labels`, `masks`, `tracks` are None where the set has none; tracks are in the cache's pixels."""

  frames: np.ndarray
  videos: tuple
  labels: np.ndarray | None = None
  masks: np.ndarray | None = None
  tracks: dict | None = None


@dataclass(frozen=True)
class FrameCache:
  """An opened cache: its folder, its index as read, and its splits. means: one mean image for the 'set', one for each 'scene', or one for each 'video'."""

  folder: pathlib.Path
  index: dict
  train: Split
  test: Split
  means: str = 'set'
  _cache: dict = field(default_factory=dict, compare=False, repr=False)

  @classmethod
  def open(cls, folder):
    """Opens a cache; a missing, half-made or foreign one is a `UserError` that names the file and the reason."""
    folder = pathlib.Path(folder)
    index = read_json(folder / 'index.json')
    if index.get('format') != FORMAT:
      raise UserError(
        f'{folder}/index.json: format {index.get("format")!r}, this version reads {FORMAT}; remove the folder to make it anew'
      )
    return cls(
      folder, index, _open_split(folder, index, 'train'), _open_split(folder, index, 'test')
    )

  @property
  def data_hash(self):
    """SHA-256 over both splits' frames and the labels: what results depend on."""
    return self.index['sha256']

  def mean_image(self, of=None):
    """Mean of the training frames in [0, 1]: float32 [H, W], or [S, H, W] with means 'scene', in the order of `scenes`.

    With means 'video' that of each video itself, [V, H, W], training videos before test videos: who stands there all the while is in it.
    of: (frames, videos) -> [H, W], the mean of something else that is made of frames; found once for each such function.
    """
    if not len(self.train.frames):
      raise UserError(
        f'{self.folder}: the set has no training frames, so no mean image and nothing to train on'
      )
    of = of or mean_of_videos
    if (self.means, of) not in self._cache:
      self._cache[self.means, of] = self._found_means(of)
    return self._cache[self.means, of]

  def _found_means(self, mean):
    videos = self.train.videos
    if self.means == 'video':
      return np.stack(
        [mean(split.frames, [video]) for split in (self.train, self.test) for video in split.videos]
      )
    if self.means == 'scene':
      return np.stack(
        [
          mean(self.train.frames, [video for video in videos if video.scene == scene])
          for scene in self.scenes
        ]
      )
    return mean(self.train.frames, videos)

  @property
  def mean_shape(self):
    """Of `mean_image()`."""
    of_each = {
      'set': (),
      'scene': (len(self.scenes),),
      'video': (len(self.train.videos) + len(self.test.videos),),
    }
    return of_each[self.means] + self.train.frames.shape[1:]

  @property
  def scenes(self):
    """Names of the scenes that there is training footage of, sorted."""
    return tuple(sorted({video.scene for video in self.train.videos}))

  def scene_of(self, split, first):
    """Which of the mean images belongs to frames `first` (int [M]) of a `Split`: int32 [M]; None where there is one for the set.

    Raises: UserError naming a video whose scene no training video shows.
    """
    if self.means == 'set':
      return None
    starts = np.asarray([video.first for video in split.videos])
    of_video = np.asarray(self._mean_of_each(split), np.int32)
    return of_video[np.searchsorted(starts, first, side='right') - 1]

  def _mean_of_each(self, split):
    """Which mean image each video of a split has."""
    if self.means == 'video':
      return np.arange(len(split.videos)) + (0 if split is self.train else len(self.train.videos))
    unknown = [video for video in split.videos if video.scene not in self.scenes]
    if unknown:
      raise UserError(
        f'data.mean_image scene: no training video shows scene {unknown[0].scene!r} of video {unknown[0].name}; use data.mean_image=set'
      )
    return [self.scenes.index(video.scene) for video in split.videos]

  def keep_mean_image(self, image, of=None):
    """Takes `image` for the mean image, so that the frames need not be read for it."""
    self._cache[self.means, of or mean_of_videos] = image

  def verify(self):
    """Reads everything and compares it with the hash that the index holds; a difference is a `UserError`."""
    if content_hash(self.folder, self.index) != self.data_hash:
      raise UserError(
        f'{self.folder}: its arrays are not the ones that were written (SHA-256 differs); remove the folder to make it anew'
      )


def mean_of_videos(frames, videos):
  """Mean over all frames of `videos`, float32 [H, W] in [0, 1]; sums are exact, and 256 frames are in memory at once."""
  total, count, reader = np.zeros(frames.shape[1:], np.uint64), 0, ClipReader(frames, window=1)
  for video in videos:
    for start in range(video.first, video.first + video.num_frames, 256):
      total += reader.span(start, min(start + 256, video.first + video.num_frames)).sum(
        axis=0, dtype=np.uint16
      )  # 256 x 255 fits
    count += video.num_frames
  return (total / (255.0 * count)).astype(np.float32)


def content_hash(folder, index):
  """SHA-256 over the arrays of a cache, in the order of the index's file list."""
  digest = hashlib.sha256()
  for name in index['files']:
    with open(pathlib.Path(folder) / name, 'rb') as file:
      while block := file.read(2**22):
        digest.update(block)
  return digest.hexdigest()


def _open_split(folder, index, split):
  entry = index['splits'][split]
  videos, first = [], 0
  for video in entry['videos']:
    videos.append(
      CachedVideo(
        video['name'],
        first,
        video['num_frames'],
        video.get('scene', ''),
        video.get('masks', bool(entry.get('masks'))),
      )
    )
    first += video['num_frames']
  frames = _map_array(folder, f'{split}.npy', (first, index['height'], index['width']))
  if split == 'train':
    return Split(frames, tuple(videos))
  labels = _map_array(folder, 'labels.npy', (first,)) if entry['labels'] else None
  masks = _map_array(folder, 'masks.npy', frames.shape) if entry['masks'] else None
  tracks = entry['tracks'] and {
    name: tuple(Region(*row) for row in rows) for name, rows in entry['tracks'].items()
  }
  return Split(frames, tuple(videos), labels, masks, tracks)


def _map_array(folder, name, shape):
  path = folder / name
  try:
    array = np.load(path, mmap_mode='r', allow_pickle=False)
  except (OSError, ValueError) as error:
    if shape[0] == 0:
      return np.zeros(shape, np.uint8)
    raise UserError(f'{path} cannot be read: {error}') from None
  if array.dtype != np.uint8 or array.shape != tuple(shape):
    raise UserError(
      f'{path} holds {array.dtype}{list(array.shape)}, the index says uint8{list(shape)}; remove the folder to make it anew'
    )
  return array
