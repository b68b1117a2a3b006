"""The files that a frame cache was made from, and what has changed since."""

import hashlib
import os
import pathlib
import types
from collections.abc import Iterable, Mapping
from typing import Any

from a3dcae_jax.data.layouts.entries import IMAGES, VIDEOS, is_junk

Sources = dict[str, list[int | str]]  # file or folder of images -> what changes with it

_LABELS = frozenset(('.csv', '.json', '.txt', '.mat', '.npy', '.npz', '.m'))
_SHOWN = 3  # changed files that a message names


def find_sources(
  root: str | pathlib.Path,
  options: Mapping[str, Any] = types.MappingProxyType({}),
  *,
  without: str | pathlib.Path = '',
) -> Sources:
  """Describe the videos, images and label files of a data set.

  Args:
    root: folder or file of the set; '' for none.
    options: options of the set. A text that is the name of a file or folder is a source, too.
    without: folder that is not looked into, such as that of the frame caches.

  Returns:
    For each file its size and time of change. The images of a folder are described together, by
    their number and a hash. Files have their names in `root`, those of options the name given.
  """
  skipped = pathlib.Path(without).absolute() if without else None
  sources = {}
  for start, name in [(root, ''), *((value, value) for value in options.values())]:
    if isinstance(start, (str, pathlib.Path)) and start and not (name and _is_around(start, root)):
      for path, status in _described(pathlib.Path(start), skipped):
        relative = os.path.relpath(path, start)
        is_start = relative == os.curdir  # a file, which is named by its own path
        sources[(name or str(path)) if is_start else os.path.join(name, relative)] = status
  return sources


def _is_around(start: str | pathlib.Path, root: str | pathlib.Path) -> bool:
  """Return whether a folder contains `root`.

  That is a mistake of the user, which the data set's reader reports.
  """
  path = pathlib.Path(start)
  return (
    path.is_dir() and bool(root) and pathlib.Path(root).resolve().is_relative_to(path.resolve())
  )


def has_videos(sources: Mapping[str, Any]) -> bool:
  """Return whether there is any video or image among the sources."""
  return any(pathlib.Path(name).suffix.lower() in VIDEOS or name[-1] == '*' for name in sources)


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
  """Describe the changes between two states of sources; '' if there are none.

  Sources that are gone come last.
  """
  kinds = {
    'new': sorted(now.keys() - before.keys()),
    'changed': sorted(name for name in now.keys() & before.keys() if now[name] != before[name]),
    'gone': sorted(before.keys() - now.keys()),
  }
  parts = []
  for kind, names in kinds.items():
    if names:
      more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
      parts.append(f'{kind}: {", ".join(names[:_SHOWN])}{more}')
  return '; '.join(parts)


def _described(start: pathlib.Path, skipped: pathlib.Path | None) -> Iterable[tuple[str, list]]:
  """Yield the sources at and below a path.

  Links are followed. Each folder is read once.
  """
  if start.is_file():
    yield str(start), _status(start.stat())
    return
  seen = set()
  waiting = [start] if start.is_dir() else []
  while waiting:
    folder = waiting.pop()
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen or folder.absolute() == skipped:
      continue
    seen.add((status.st_dev, status.st_ino))
    images = []
    for entry in os.scandir(folder):
      suffix = os.path.splitext(entry.name)[1].lower()
      if is_junk(pathlib.Path(entry.path)):
        continue
      if entry.is_symlink() and not os.path.exists(entry.path):  # a link to nothing, or in a circle
        continue
      if entry.is_dir():
        waiting.append(pathlib.Path(entry.path))
      elif entry.is_file() and suffix in IMAGES:
        images.append([entry.name, *_status(entry.stat())])
      elif entry.is_file() and suffix in VIDEOS | _LABELS:
        yield entry.path, _status(entry.stat())
    if images:
      digest = hashlib.sha256(repr(sorted(images)).encode()).hexdigest()
      yield str(folder / '*'), [len(images), digest]


def _status(status: os.stat_result) -> list[int]:
  return [status.st_size, status.st_mtime_ns]
