"""What lies in a folder, by kind: videos, folders, images, files of the system."""

import os
import pathlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from a3dcae_jax.data.notes import note

_IMAGE_KINDS = (
  'apng avif bmp dib gif j2k jfif jp2 jpe jpeg jpg pbm pcx pgm png pnm ppm sgi tga tif tiff webp'
)
_VIDEO_KINDS = (
  '264 265 3g2 3gp asf avi divx dv f4v flv gif h264 h265 hevc ivf m1v m2ts m2v m4v mjpeg mjpg mkv '
  'mov mp4 mpe mpeg mpg mpv mts mxf nut ogm ogv qt rm rmvb ts vob webm wmv xvid y4m'
)
IMAGES = frozenset(f'.{kind}' for kind in _IMAGE_KINDS.split())
VIDEOS = frozenset(f'.{kind}' for kind in _VIDEO_KINDS.split())
# Of network storage, of Windows and macOS; names that begin with a dot are junk, too.
_JUNK = frozenset(
  (
    '@eadir',
    '@recycle',
    '@recently-snapshot',
    '#recycle',
    '#snapshot',
    '$recycle.bin',
    '__macosx',
    'desktop.ini',
    'ehthumbs.db',
    'icon\r',
    'lost+found',
    'system volume information',
    'thumbs.db',
  )
)


class Entries(NamedTuple):
  """The entries of a folder by kind, each sorted by name."""

  videos: list[pathlib.Path]
  folders: list[pathlib.Path]
  images: list[pathlib.Path]
  others: list[pathlib.Path]
  junk: list[pathlib.Path]


def entries_of(folder: str | pathlib.Path) -> Entries:
  """Sort the entries of a folder by kind; a missing folder has none.

  A .gif is both a video and an image. A link to a file that does not exist counts as the file, so
  that reading it names it.
  """
  found = Entries([], [], [], [], [])
  try:
    # It knows the kind of most entries without a look at each of them.
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
  except (FileNotFoundError, NotADirectoryError):
    return found
  for entry in entries:
    path = pathlib.Path(entry.path)
    suffix = path.suffix.lower()
    dangles = _dangles(path)
    is_file = dangles or entry.is_file()
    if is_junk(path):
      found.junk.append(path)
    elif not dangles and entry.is_dir():
      found.folders.append(path)
    elif is_file and suffix in VIDEOS | IMAGES:
      if suffix in VIDEOS:
        found.videos.append(path)
      if suffix in IMAGES:
        found.images.append(path)
    else:
      found.others.append(path)
  return found


def find_folder(
  root: str | pathlib.Path, is_it: Callable[[pathlib.Path], bool]
) -> pathlib.Path | None:
  """Return the folder of a set: `root`, or a folder in it; None if there is none.

  Args:
    root: where to look.
    is_it: whether a folder is that of the set; the first one is taken.
  """
  root = pathlib.Path(root)
  return next((folder for folder in (root, *entries_of(root).folders) if is_it(folder)), None)


def has_folder(folder: str | pathlib.Path, names: Iterable[str]) -> bool:
  """Return whether a folder has at least one of some folders."""
  return any((pathlib.Path(folder) / name).is_dir() for name in names)


def folders_in(folder: str | pathlib.Path, read: str) -> list[pathlib.Path]:
  """Return the folders in a folder, sorted by name. Other entries are noted.

  Args:
    folder: the folder.
    read: what each of them is, such as 'a folder of images'.
  """
  found = entries_of(folder)
  note_left_out(found, [*found.videos, *found.images, *found.others], read)
  return found.folders


def is_junk(path: pathlib.Path) -> bool:
  """Return whether a file or folder belongs to a system, or is hidden."""
  return path.name.startswith('.') or path.name.lower() in _JUNK


def is_video(path: pathlib.Path) -> bool:
  """Return whether a path is a video file. Hidden files are not."""
  return path.suffix.lower() in VIDEOS and path.is_file() and not is_junk(path)


def note_left_out(found: Entries, others: Iterable[pathlib.Path], read: str) -> None:
  """Note which entries of a folder are not read.

  Args:
    found: the entries; their junk is noted.
    others: the entries that are neither junk nor read.
    read: what is read there, such as 'a video'.
  """
  for path in found.junk:
    note('skipped, hidden or a system file', path)
  for path in others:
    note(f'left out, since it is not {read}', path)


def _dangles(path: pathlib.Path) -> bool:
  """Return whether a path is a link to nothing, or in a circle."""
  return path.is_symlink() and not path.exists()
