"""Writing the arrays of a frame cache: videos are ingested, checked and joined."""

import io
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np
import tqdm

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import file_key
from a3dcae_jax.data.arrays import ArrayWriter
from a3dcae_jax.data.notes import Note
from a3dcae_jax.data.parts import Part, ingest_video
from a3dcae_jax.data.video import Region, Video, with_length


class _Ingested(NamedTuple):
  """A video without faults, and its part."""

  video: Video
  part: Part


class CacheWriter:
  """Writes the splits of a frame cache, one after the other.

  Args:
    name: name of the data set.
    label_set: the label set that is stored.
    shape: (height, width) of the frames in the cache.
    folder: folder of the cache.
    parts: folder of the parts of all videos, which outlive a failed ingest.

  Attributes:
    faults: what is wrong with the videos so far, one line each.
    files: names of the arrays that are written.
    notes: facts about the videos that are not faults.
  """

  def __init__(
    self,
    name: str,
    label_set: str,
    shape: tuple[int, int],
    *,
    folder: pathlib.Path,
    parts: pathlib.Path,
  ):
    self.faults: list[str] = []
    self.files: list[str] = []
    self.notes: list[Note] = []
    self._name = name
    self._label_set = label_set
    self._shape = shape
    self._folder = folder
    self._parts = parts
    self._seen: dict[str, str] = {}  # content of a part -> its video

  def write_split(self, split: str, videos: Sequence[Video]) -> dict[str, Any]:
    """Ingest the videos of a split and join them.

    Faults are added to `faults`. A video with a fault is left out.

    Returns:
      The split's entry in the index.
    """
    is_test = split == 'test'
    labelled = is_test and any(
      self._label_set in {**video.labels, **video.labels_of_length} for video in videos
    )
    masked = is_test and any(_has_masks(video) for video in videos)
    if is_test and any(video.tracks and not video.masks for video in videos):
      self.notes.append(('pixel masks are the boxes of the tracks', 'test videos'))
    ingested = self._ingest_videos(split, self._with_own_names(split, videos), labelled)
    self._write_frames(split, ingested)
    if masked:
      self._write_masks(ingested)
    if labelled:
      self._write_labels(ingested)
    return {
      'videos': [self._entry(video, part, masked) for video, part in ingested],
      'labels': labelled,
      'masks': masked,
      'tracks': self._tracks(ingested) if is_test else None,
    }

  def _with_own_names(self, split: str, videos: Sequence[Video]) -> list[Video]:
    """Return the videos with new names; a repeated name is a fault."""
    named = {}
    for video in videos:
      first = named.setdefault(video.name, video)
      if first is not video:
        self.faults.append(
          f'{split} video {video.name} ({video.source}): {first.source} has the same name, under '
          'which labels and scores are kept; rename one of them'
        )
    return list(named.values())

  def _ingest_videos(self, split: str, videos: Sequence[Video], labelled: bool) -> list[_Ingested]:
    """Ingest all videos and return those without faults."""
    ingested = []
    for video, future in self._ingest_in_parallel(split, videos):
      faults = [*_name_faults(video.name), *video.faults]
      try:
        part = future.result()
        self.notes += part.notes
        video = with_length(video, part.num_frames)
        faults += self._part_faults(split, video, part, labelled)
      except UserError as error:
        faults.append(str(error))
      for fault in faults:
        text = _without_source(fault, video.source)
        self.faults.append(_one_line(f'{split} video {video.name} ({video.source}): {text}'))
      if not faults:
        ingested.append(_Ingested(video, part))
    return ingested

  def _ingest_in_parallel(
    self, split: str, videos: Sequence[Video]
  ) -> Iterator[tuple[Video, futures.Future]]:
    """Yield (video, its ingest) in order.

    Threads are enough: decoding and resizing release the interpreter's lock.
    """
    bar = tqdm.tqdm(desc=f'prepare {self._name} {split}', unit=' frames', dynamic_ncols=True)
    with bar, futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      running = []
      for video in videos:
        future = pool.submit(
          ingest_video,
          video,
          self._parts / f'{split}-{file_key(video.name)}',
          shape=self._shape,
          with_masks=split == 'test' and _has_masks(video),
          on_frame=bar.update,
        )
        running.append((video, future))
      for count, (video, future) in enumerate(running, start=1):
        bar.set_postfix_str(f'video {count} of {len(videos)}', refresh=False)
        yield video, future

  def _part_faults(self, split: str, video: Video, part: Part, labelled: bool) -> list[str]:
    """Return faults of an ingested video: it occurs twice, or its labels do not fit."""
    if part.content in self._seen:
      return [f'the same frames as {self._seen[part.content]}']
    self._seen[part.content] = f'{split} video {video.name}'
    if not labelled or video.faults:
      return []
    if self._label_set not in video.labels:
      return [f'no labels ({self._label_set}), which other test videos have']
    count = len(video.labels[self._label_set])
    if count != part.num_frames:
      return [f'{part.num_frames} frames, but {count} labels ({self._label_set})']
    return []

  def _write_frames(self, split: str, ingested: Sequence[_Ingested]) -> None:
    with self._array(f'{split}.npy') as writer:
      for _, part in ingested:
        writer.extend_file(part.folder / 'frames.npy')

  def _write_masks(self, ingested: Sequence[_Ingested]) -> None:
    """Join the masks. A video without masks gets empty ones."""
    with self._array('masks.npy') as writer:
      for video, part in ingested:
        if _has_masks(video):
          writer.extend_file(part.folder / 'masks.npy')
        else:
          writer.extend(np.broadcast_to(np.uint8(0), (part.num_frames, *self._shape)))

  def _array(self, name: str) -> ArrayWriter:
    self.files.append(name)
    return ArrayWriter(self._folder / name, self._shape)

  def _write_labels(self, ingested: Sequence[_Ingested]) -> None:
    labels = [np.zeros(0, np.uint8)]
    for video, _ in ingested:
      labels.append(np.asarray(video.labels[self._label_set], np.uint8))
    self.files.append('labels.npy')
    content = io.BytesIO()  # NumPy's errors of writing to a file hide the cause
    np.save(content, np.concatenate(labels))
    (self._folder / 'labels.npy').write_bytes(content.getvalue())

  def _entry(self, video: Video, part: Part, masked: bool) -> dict[str, Any]:
    """Return a video's entry in the index."""
    return {
      'name': video.name,
      'num_frames': part.num_frames,
      'scene': video.scene,
      'source_size': list(part.source_size),
      'masks': masked and _has_masks(video),
      'other_labels': self._label_differences(video),
    }

  def _label_differences(self, video: Video) -> dict[str, int]:
    """Count the frames on which each other label set differs from the stored one."""
    chosen = video.labels.get(self._label_set)
    differences = {}
    for name, labels in video.labels.items():
      if name != self._label_set and chosen is not None and len(labels) == len(chosen):
        differences[name] = int((labels != chosen).sum())
    return differences

  def _tracks(self, ingested: Sequence[_Ingested]) -> dict[str, list[list[float]]] | None:
    """Return the regions of each video that has tracks, in pixels of the cache."""
    tracks = {}
    for video, part in ingested:
      if video.tracks is not None:
        scale_y = self._shape[0] / part.source_size[0]
        scale_x = self._shape[1] / part.source_size[1]
        tracks[video.name] = [_scaled(region, scale_x, scale_y) for region in video.tracks]
    return tracks or None


def _has_masks(video: Video) -> bool:
  """Return whether a video has masks, or tracks to draw them from."""
  return video.masks is not None or video.tracks is not None


def _name_faults(name: str) -> list[str]:
  """Return the faults of the name of a video, which result files must hold."""
  try:
    name.encode('utf-8')
  except UnicodeEncodeError:
    return ['the bytes of its name are not UTF-8, which scores.csv is written in: rename it']
  if _one_line(name) != name:
    return ['its name has a control character, which breaks lines of results: rename it']
  return []


def _one_line(text: str) -> str:
  """Return a text whose control characters are written as escapes."""
  return re.sub(r'[\x00-\x1f\x7f-\x9f]', lambda match: repr(match[0])[1:-1], text)


def _scaled(region: Region, scale_x: float, scale_y: float) -> list[float]:
  return [
    int(region.track),
    int(region.frame),
    float(region.x1 * scale_x),
    float(region.y1 * scale_y),
    float(region.x2 * scale_x),
    float(region.y2 * scale_y),
  ]


def _without_source(fault: str, source: str) -> str:
  """Remove the source from a message that is shown after it."""
  if not source:
    return fault
  return fault.removeprefix(f'{source} ').replace(f'{source}/', '')
