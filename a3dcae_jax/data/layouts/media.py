"""A video as a file or as a folder of numbered images, and parts of it."""

import itertools
import pathlib

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.community import frames_of
from a3dcae_jax.data.video import Frames, read_video

VIDEOS = ('.avi', '.mp4', '.mkv', '.mov', '.webm', '.m4v', '.mpg', '.mpeg')


def is_video(path: pathlib.Path) -> bool:
  """Return whether a path is a video file. Hidden files are not."""
  return path.is_file() and path.suffix.lower() in VIDEOS and not path.name.startswith('.')


def media_in(folder: str | pathlib.Path) -> list[pathlib.Path]:
  """Return the video files and image folders in a folder, sorted by name.

  Other files, and folders whose name starts with a dot or an underscore, are ignored.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    return []
  found = []
  for path in folder.iterdir():
    is_folder = path.is_dir() and not path.name.startswith(('.', '_'))
    if is_folder or is_video(path):
      found.append(path)
  return sorted(found)


def reader_of(path: pathlib.Path) -> Frames:
  """Return the grey frames of a video file or of a folder of images."""
  if path.is_file():
    return lambda: read_video(path)
  return frames_of(path)


def name_of(path: pathlib.Path) -> str:
  """Return the name of a video: '01' for both `01.avi` and the folder `01`."""
  return path.stem if path.is_file() else path.name


def part(frames: Frames, start: int, end: int | None) -> Frames:
  """Return the frames start .. end - 1; without `end`, all frames from `start` on."""
  return lambda: itertools.islice(frames(), start, end)


def count_frames(path: pathlib.Path) -> int:
  """Count the frames of a video by decoding it.

  Raises:
    UserError: if the video cannot be read or has no frames.
  """
  count = sum(1 for _ in reader_of(path)())
  if not count:
    raise UserError(f'{path}: no frames')
  return count
