"""UBnormal: rendered scenes, with masks of objects and spans of abnormal ones.

Trained on the normal videos of the training split, scored on the test split.
"""

import functools
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.entries import entries_of, find_folder
from a3dcae_jax.data.layouts.ground_truth import read_whole_rows
from a3dcae_jax.data.layouts.intervals import interval_labels
from a3dcae_jax.data.layouts.media import media_of, name_of, reader_of
from a3dcae_jax.data.layouts.text import read_text
from a3dcae_jax.data.notes import note
from a3dcae_jax.data.published import Published
from a3dcae_jax.data.video import Region, Video, read_grey

LABEL_SETS = ('official',)
HOW_TO_GET = (
  'https://github.com/lilygeorgescu/UBnormal links the archive, and has lists of videos in '
  'scripts/; put both there (the documentation says more under Data sets)'
)
# Table 1 of the paper; the training videos are counted in the authors' list of normal ones.
PUBLISHED = Published(
  videos={'train': 186, 'test': 211},
  frames={'test': 92_640},
  totals={'official': 49_850},
  tracks=389,
)
_NORMAL_LISTS = {'train': 'normal_training_video_names.txt', 'test': 'normal_test_video_names.txt'}
_ABNORMAL_LIST = 'abnormal_test_video_names.txt'
_ANNOTATIONS = '_annotations'
_SOURCE = 'https://github.com/lilygeorgescu/UBnormal'
_EIGHT = np.ones((3, 3), bool)  # pixels that touch at a corner are connected


class _Event(NamedTuple):
  """A span in which an object is abnormal.

  Attributes:
    object_id: its value in the maps of objects.
    start: its first frame.
    end: its last frame.
  """

  object_id: int
  start: int
  end: int


def layout(root: str | pathlib.Path) -> str:
  """Describe the layout of a copy."""
  folder = _scenes_folder(root)
  lists = _lists_folder(folder, root)
  return f'official (SceneN/NAME.mp4, lists of videos in {lists.name})'


def videos(root: str | pathlib.Path, split: str) -> list[Video]:
  """Return the videos of a split: 'train' has the normal training videos.

  Labels, masks and tracks are from SceneN/NAME_annotations. The abnormal training videos and the
  validation split are not read.
  """
  folder = _scenes_folder(root)
  lists = _lists_folder(folder, root)
  paths = _media(folder)
  normal = {name: _names(lists / file) for name, file in _NORMAL_LISTS.items()}
  abnormal = _names(lists / _ABNORMAL_LIST)
  for name in sorted(paths.keys() - {*normal['train'], *normal['test'], *abnormal}):
    note('not read, since it is neither a normal training video nor a test video', paths[name])
  if split == 'train':
    return [_video(paths[name]) for name in sorted(normal['train']) if name in paths]
  found = [_abnormal_video(paths[name]) for name in abnormal if name in paths]
  labels = {'official': functools.partial(np.zeros, dtype=np.uint8)}
  tracks = () if any(video.masks for video in found) else None
  for name in normal['test'] - abnormal:
    if name in paths:
      found.append(_video(paths[name], labels_of_length=labels, tracks=tracks))
  return sorted(found, key=lambda video: video.name)


def _scenes_folder(root: str | pathlib.Path) -> pathlib.Path:
  """Find the folder of the scenes: `root`, or a folder in it."""
  found = find_folder(root, lambda folder: any(map(_is_scene, entries_of(folder).folders)))
  if found is None:
    raise UserError(f'{root}: unknown layout; looked for SceneN/NAME.mp4, as in Scene1')
  return found


def _is_scene(path: pathlib.Path) -> bool:
  return re.fullmatch(r'Scene\d+', path.name) is not None


def _lists_folder(folder: pathlib.Path, root: str | pathlib.Path) -> pathlib.Path:
  """Find the folder of the authors' lists of videos."""
  names = [*_NORMAL_LISTS.values(), _ABNORMAL_LIST]
  for place in (folder / 'scripts', pathlib.Path(root) / 'scripts', folder, pathlib.Path(root)):
    if any((place / name).exists() for name in names):
      missing = [name for name in names if not (place / name).exists()]
      if missing:
        raise UserError(f'{place} has no {", ".join(missing)}: copy it from {_SOURCE}')
      return place
  raise UserError(
    f'{folder / "scripts"} must hold {", ".join(names)}, which say what each video is for: copy '
    f'them from {_SOURCE}'
  )


def _names(path: pathlib.Path) -> set[str]:
  """Read a list of videos, one name per line."""
  return {line.strip() for line in read_text(path).splitlines() if line.strip()}


def _media(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Return the videos of all scenes by their names."""
  found = {}
  for scene in entries_of(folder).folders:
    if _is_scene(scene):
      for path in media_of(entries_of(scene)):
        if not path.name.endswith(_ANNOTATIONS):
          found[name_of(path)] = path
  return found


def _video(path: pathlib.Path, **fields) -> Video:
  scene = path.parent.name.removeprefix('Scene')
  return Video(name=name_of(path), frames=reader_of(path), scene=scene, source=str(path), **fields)


def _abnormal_video(path: pathlib.Path) -> Video:
  tracks_file = _annotations_of(path) / f'{name_of(path)}_tracks.txt'
  try:
    events = _read_events(tracks_file)
    maps = _map_files(path)
  except UserError as error:
    return _video(path, faults=(str(error),))
  labels = {'official': functools.partial(_labels, events, tracks_file)}
  if not maps:
    return _video(path, labels_of_length=labels)
  return _video(
    path,
    labels_of_length=labels,
    masks=functools.partial(_masks, maps, events),
    read_tracks=functools.partial(_tracks, maps, events),
  )


def _annotations_of(path: pathlib.Path) -> pathlib.Path:
  return path.parent / f'{name_of(path)}{_ANNOTATIONS}'


def _read_events(path: pathlib.Path) -> list[_Event]:
  """Read the rows object,start,end with frames from 0; the last one is included."""
  events = [_Event(*row) for row in read_whole_rows(path, 'object,start,end')]
  for event in events:
    if not 0 <= event.start <= event.end:
      raise UserError(f'{path}: {event.start}..{event.end} are not a first and a last frame')
  return events


def _labels(events: Sequence[_Event], path: pathlib.Path, num_frames: int) -> np.ndarray:
  """Return labels that are abnormal during the events.

  An event that lasts longer than the video ends with it, as in the authors' script.
  """
  intervals = []
  for event in events:
    end = event.end + 1
    if event.start < num_frames < end:
      note('events that last longer than the video, cut at its end', path)
      end = num_frames
    intervals.append((event.start, end))
  return interval_labels(intervals, num_frames, source=path)


def _map_files(path: pathlib.Path) -> list[pathlib.Path]:
  """Return the maps of objects of a video, one per frame; empty if there are none.

  Raises:
    UserError: if they are not numbered 0, 1, 2 ...
  """
  folder = _annotations_of(path)
  numbered = {}
  for image in entries_of(folder).images:
    match = re.fullmatch(r'.*_(\d{1,9})_gt\.png', image.name)
    if match:
      numbered[int(match[1])] = image
  for expected, number in enumerate(sorted(numbered)):
    if number != expected:
      raise UserError(
        f'{folder}: there must be a map NAME_NNNN_gt.png for each frame, from 0000 on; '
        f'{expected:04d} is missing'
      )
  return [numbered[number] for number in sorted(numbered)]


def _active(events: Sequence[_Event], frame: int) -> list[int]:
  """Return the indices of the events during a frame."""
  return [index for index, event in enumerate(events) if event.start <= frame <= event.end]


def _masks(maps: Sequence[pathlib.Path], events: Sequence[_Event]) -> Iterator[np.ndarray]:
  """Yield the mask of each frame: the pixels of its abnormal objects."""
  shape = read_grey(maps[0]).shape
  for frame, path in enumerate(maps):
    ids = [events[index].object_id for index in _active(events, frame)]
    yield np.isin(read_grey(path), ids).astype(np.uint8) if ids else np.zeros(shape, np.uint8)


def _tracks(maps: Sequence[pathlib.Path], events: Sequence[_Event]) -> tuple[Region, ...]:
  """Return the box of each abnormal object in each frame; a track for each event.

  An object in several parts has the largest of their boxes, as in the authors' script.
  """
  regions = []
  for frame, path in enumerate(maps):
    active = _active(events, frame)
    pixels = read_grey(path) if active else None
    for index in active:
      box = _largest_box(pixels == events[index].object_id)
      if box:
        regions.append(Region(index, frame, *box))
  return tuple(regions)


def _largest_box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
  """Return x1, y1, x2, y2 of the connected part of a mask that has the largest box."""
  boxes = []
  for rows, columns in ndimage.find_objects(ndimage.label(mask, _EIGHT)[0]):
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    boxes.append((area, columns.start, rows.start, columns.stop, rows.stop))
  return max(boxes)[1:] if boxes else None
