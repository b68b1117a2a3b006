"""Ingest of one video: its frames and masks, resized, in a folder of its own.

Such a part outlives a failed ingest of the set. The next try finds it there.
"""

import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_dir, read_object, write_json
from a3dcae_jax.data.arrays import ArrayWriter
from a3dcae_jax.data.notes import Note, collect_notes, note
from a3dcae_jax.data.sources import find_sources
from a3dcae_jax.data.video import Video, masks_of_regions, resize, resize_mask

_MOST_MARKED = 0.9  # masks with a higher mean probably mark the background
_DARK = 16  # no pixel of a video that shows anything is below this


class Part(NamedTuple):
  """An ingested video.

  Attributes:
    folder: has `frames.npy`, `part.json`, and `masks.npy` if the video has masks.
    num_frames: length of the video.
    source_size: (height, width) of the video as shipped.
    content: SHA-256 of the frames as shipped.
    notes: facts about the video that are not faults.
  """

  folder: pathlib.Path
  num_frames: int
  source_size: tuple[int, int]
  content: str
  notes: tuple[Note, ...]


def ingest_video(
  video: Video,
  folder: pathlib.Path,
  *,
  shape: tuple[int, int],
  with_masks: bool,
  on_frame: Callable[[], Any] = lambda: None,
) -> Part:
  """Write the part of one video, whole or not at all.

  The frames of a part that is there already are used as they are, unless the video has changed.

  Args:
    video: the video.
    folder: folder of the part.
    shape: (height, width) to resize to.
    with_masks: whether to write the masks, too. They are drawn from the tracks of a video that has
      no masks.
    on_frame: called after each frame.

  Raises:
    UserError: if the video cannot be read, or frames and masks do not fit together.
  """
  signature = [video.source, find_sources(video.source)]  # what changes when it is repaired
  fields = _kept_fields(folder, signature)
  if fields is None:
    with atomic_dir(folder) as temporary:
      with collect_notes() as notes, ArrayWriter(temporary / 'frames.npy', shape) as writer:
        fields = _write_frames(video, writer, shape, on_frame)
      fields['notes'] = list(notes)
      write_json(temporary / 'part.json', fields | {'signature': signature})
  notes = list(fields['notes'])
  if with_masks:
    # Anew each time, since they have sources of their own, which may have changed.
    with collect_notes() as found, ArrayWriter(folder / 'masks.npy', shape) as writer:
      _write_masks(video, writer, shape, fields)
    notes += found
  return _part(folder, fields | {'notes': notes})


def _kept_fields(folder: pathlib.Path, signature: Sequence[Any]) -> dict[str, Any] | None:
  """Return the fields of a part that exists, or None if its video has changed."""
  if not (folder / 'part.json').exists():
    return None
  fields = read_object(folder / 'part.json')
  return fields if fields.pop('signature', None) == list(signature) else None


def _part(folder: pathlib.Path, fields: dict[str, Any]) -> Part:
  return Part(
    folder=folder,
    num_frames=fields['num_frames'],
    source_size=tuple(fields['source_size']),
    content=fields['content'],
    notes=tuple((text, subject) for text, subject in fields['notes']),
  )


def _write_frames(
  video: Video, writer: ArrayWriter, shape: tuple[int, int], on_frame: Callable[[], Any]
) -> dict[str, Any]:
  """Write the resized frames and return the fields of `Part`."""
  count = 0
  size = None
  brightest = 0
  digest = hashlib.sha256()
  for frame in video.frames():
    if size is not None and frame.shape != size:
      raise UserError(
        f'frame {count} is {frame.shape[1]}x{frame.shape[0]}, '
        f'the ones before are {size[1]}x{size[0]}; cut the video there, or resize its frames'
      )
    size = frame.shape
    writer.append(resize(frame, *shape))
    digest.update(np.ascontiguousarray(frame))
    brightest = max(brightest, int(frame.max()))
    count += 1
    on_frame()
  if not count:
    raise UserError('no frames')
  if brightest < _DARK:  # as 12 bits in 16 are, of which the upper 8 are kept
    note(f'nearly black, no pixel is above {_DARK - 1} of 255', video.source or video.name)
  return {'num_frames': count, 'source_size': list(size), 'content': digest.hexdigest()}


def _write_masks(
  video: Video, writer: ArrayWriter, shape: tuple[int, int], fields: Mapping[str, Any]
) -> None:
  """Write the resized masks; without masks, those of the tracks.

  Args:
    video: the video.
    writer: of the masks.
    shape: (height, width) to resize to.
    fields: those of its part.
  """
  num_frames = fields['num_frames']
  if video.masks:
    masks = video.masks()
  else:
    masks = masks_of_regions(video.tracks, num_frames, tuple(fields['source_size']))
  count = 0
  marked = 0.0
  for mask in masks:
    marked += mask.mean()
    if mask.shape != tuple(fields['source_size']):
      size = f'{mask.shape[1]}x{mask.shape[0]}'
      note(
        'masks of another size than the frames, to which they are stretched',
        f'{video.name} ({size})',
      )
    writer.append(resize_mask(mask, *shape))
    count += 1
  if count != num_frames:
    raise UserError(f'{num_frames} frames, but {count} masks')
  if marked > _MOST_MARKED * count:
    note('masks that mark nearly all pixels; unmarked ones must be black', video.name)
