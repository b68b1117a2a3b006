"""A video as people keep it: a file, or a folder of numbered frames."""

import pathlib

from a3dcae_jax.data.layouts.community import frames_of
from a3dcae_jax.data.video import read_video

VIDEOS = ('.avi', '.mp4', '.mkv', '.mov', '.webm', '.m4v', '.mpg', '.mpeg')


def is_video(path):
  return path.is_file() and path.suffix.lower() in VIDEOS and not path.name.startswith('.')


def media_in(folder):
  """Video files and folders of frames in `folder`, in the order of their names; junk beside them is passed over."""
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    return []
  return sorted(
    path
    for path in folder.iterdir()
    if is_video(path) or (path.is_dir() and not path.name.startswith(('.', '_')))
  )


def reader_of(path):
  """A callable that iterates over the grey frames of a video file or a folder of frames."""
  return (lambda: read_video(path)) if path.is_file() else frames_of(path)


def name_of(path):
  """'01.avi' and '01/' are both video 01."""
  return path.stem if path.is_file() else path.name
