"""A video as a file or as a folder of numbered images, and parts of it."""

import functools
import itertools
import pathlib

from a3dcae_jax.data.layouts.community import frames_of, image_files
from a3dcae_jax.data.layouts.entries import Entries, entries_of, note_left_out
from a3dcae_jax.data.video import Frames
from a3dcae_jax.data.video_file import read_video


def media_in(folder: str | pathlib.Path) -> list[pathlib.Path]:
  """Return the video files and image folders in a folder, sorted by name.

  Other entries are noted; a folder whose name starts with an underscore is one of them.
  """
  found = entries_of(folder)
  media = media_of(found)
  others = {*found.folders, *found.images, *found.others}.difference(media)
  note_left_out(found, sorted(others), 'a video or a folder of images')
  return media


def media_of(found: Entries) -> list[pathlib.Path]:
  """Return the video files and image folders of a folder, sorted by name."""
  folders = [path for path in found.folders if not path.name.startswith('_')]
  return sorted([*found.videos, *folders])


def reader_of(path: pathlib.Path) -> Frames:
  """Return the grey frames of a video file or of a folder of images."""
  return frames_of(path) if path.is_dir() else lambda: read_video(path)


def name_of(path: pathlib.Path) -> str:
  """Return the name of a video: '01' for both `01.avi` and the folder `01`."""
  return path.name if path.is_dir() else path.stem


def part(frames: Frames, start: int, end: int | None) -> Frames:
  """Return the frames start .. end - 1; without `end`, all frames from `start` on."""
  return lambda: itertools.islice(frames(), start, end)


def count_frames(path: pathlib.Path) -> int:
  """Count the frames of a video.

  The images of a folder are counted. A file is decoded, once.

  Raises:
    UserError: if the video cannot be read or has no frames.
  """
  if path.is_dir():
    return len(image_files(path))
  return _decoded(path, path.stat().st_mtime_ns if path.exists() else 0)


@functools.cache
def _decoded(path: pathlib.Path, time_ns: int) -> int:
  """Count the frames of a file; another modification time counts anew."""
  del time_ns
  return sum(1 for _ in read_video(path))
