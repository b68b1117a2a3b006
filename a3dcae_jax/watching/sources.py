"""Sources of `detect`: files, folders, archives, addresses, cameras, a pipe."""

import dataclasses
import os
import pathlib
import re
import urllib.parse
from collections.abc import Iterator, Sequence

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.entries import entries_of, is_junk

SCHEMES = ('http', 'https', 'rtmp', 'rtp', 'rtsp', 'rtsps', 'srt', 'tcp', 'udp')
PIPE = '-'


@dataclasses.dataclass(frozen=True)
class Source:
  """A source of frames.

  Attributes:
    address: path, address or number, as PyAV or the reader of images opens it.
    kind: 'file', 'images', 'address', 'camera' or 'pipe'.
    name: of its folder; parts of an archive have its path in the archive.
    shown: the address without a password, for every message.
  """

  address: str
  kind: str
  name: str
  shown: str

  @property
  def is_live(self) -> bool:
    """Whether frames come at their own pace; such a source is opened again."""
    return self.kind in ('address', 'camera')


def find_sources(texts: Sequence[str], shard: tuple[int, int] = (0, 1)) -> list[Source]:
  """Return the sources that the user named.

  Each video in a folder of videos is a source of its own.

  Args:
    texts: paths, addresses, numbers of cameras or '-'; NAME=SOURCE gives a source a name.
    shard: (k, n): every n-th source is taken, from the k-th on.

  Returns:
    The sources; none if there are more parts than sources.

  Raises:
    UserError: if one does not exist, cannot be read, or is of no known kind, or if a live source is
      named and this part is empty.
  """
  found = []
  for text in texts:
    match = re.fullmatch(r'([A-Za-z][\w-]*)=(.+)', text)
    is_named = match and not pathlib.Path(text).exists()
    found += _sources_of(*match.groups()) if is_named else _sources_of('', text)
  if not found:
    raise UserError('name a source: a video, a folder, an address, the number of a camera, or -')
  if sum(source.kind == 'pipe' for source in found) > 1:
    raise UserError('- is named twice: there is only one standard input')
  number, count = shard
  own = _with_names_of_their_own(found)[number::count]
  if not own and any(source.is_live for source in found):
    raise UserError(
      f'part {number + 1} of {count} has no source to watch, as there are only {len(found)}: for '
      'live sources, start at most as many parts as there are sources'
    )
  return own


def parse_shard(text: str) -> tuple[int, int]:
  """Return 'K/N' as (K - 1, N).

  Raises:
    UserError: if it is anything else.
  """
  match = re.fullmatch(r'(\d+)/(\d+)', text)
  if not match or not 1 <= int(match[1]) <= int(match[2]):
    raise UserError(f'--shard (={text}) must be K/N with K from 1 to N, as in --shard=1/4')
  return int(match[1]) - 1, int(match[2])


def named_file(text: str) -> tuple[str, str]:
  """Return NAME and FILE of a flag's 'NAME=FILE'; the name is '' for 'FILE' alone."""
  match = re.fullmatch(r'([^=]+)=(.+)', text)
  if match and not pathlib.Path(text).exists():
    return match[1], match[2]
  return '', text


def without_secrets(address: str) -> str:
  """Return an address without user, password and query, which may hold a token."""
  parts = urllib.parse.urlsplit(address)
  place = parts.netloc.rpartition('@')[2]
  return f'{parts.scheme}://{place}{parts.path}'


def _sources_of(name: str, text: str) -> list[Source]:
  if text == PIPE:
    return [Source(PIPE, 'pipe', name or 'stdin', 'standard input')]
  if re.fullmatch(r'\d+', text) and not pathlib.Path(text).exists():
    return [_camera(name, text)]
  scheme, separator, _ = text.partition('://')
  if separator:
    return [_address(name, scheme, text)]
  path = pathlib.Path(text).expanduser()
  _check_readable(path)
  if not path.is_dir():
    return [Source(str(path), 'file', name or _safe(path.name), str(path))]
  found = entries_of(path)
  if found.images and not found.videos and not found.folders:
    return [Source(str(path), 'images', name or _safe(path.resolve().name), str(path))]
  parts = list(_archive(path, name))
  if not parts:
    raise UserError(f'{path} has no video and no folder of images')
  return parts


def _camera(name: str, text: str) -> Source:
  device = f'/dev/video{text}'
  if not pathlib.Path(device).exists():
    raise UserError(f'there is no camera {text}: {device} does not exist')
  _check_readable(pathlib.Path(device))
  return Source(device, 'camera', name or f'camera{text}', f'camera {text}')


def _address(name: str, scheme: str, text: str) -> Source:
  if scheme.lower() not in SCHEMES:
    raise UserError(
      f'{without_secrets(text)}: addresses that begin with {scheme}:// are not known; '
      f'known are {", ".join(SCHEMES)}; a file is named by its path'
    )
  parts = urllib.parse.urlsplit(text)
  try:
    has_place = parts.port is not None or bool(parts.hostname)  # a wrong port raises
  except ValueError:
    has_place = False
  if not has_place:
    raise UserError(f'{without_secrets(text)} is not an address: it names no host, or a wrong port')
  shown = without_secrets(text)
  place = shown.partition('://')[2]
  return Source(text, 'address', name or _safe(place.strip('/')), shown)


def _check_readable(path: pathlib.Path) -> None:
  try:
    exists = path.exists()
  except OSError as error:  # a folder on the way cannot be entered
    raise UserError(f'{path} cannot be read: {error.strerror}') from None
  if not exists:
    raise UserError(f'{path} does not exist')
  needed = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
  if not os.access(path, needed):
    raise UserError(f'{path} cannot be read: permission denied')


def _archive(folder: pathlib.Path, name: str) -> Iterator[Source]:
  """Yield the videos and image folders below a folder, in order of their paths."""
  for parent, folders, _ in os.walk(folder):
    folders[:] = sorted(each for each in folders if not is_junk(pathlib.Path(each)))
    found = entries_of(parent)
    place = pathlib.Path(parent).relative_to(folder)
    videos = [path for path in found.videos if path.suffix.lower() != '.gif']
    for path in videos:
      yield Source(str(path), 'file', _joined(name, place / path.name), str(path))
    if found.images and not videos and not found.folders:
      yield Source(parent, 'images', _joined(name, place), parent)


def _joined(name: str, path: pathlib.Path) -> str:
  parts = [_safe(part) for part in path.parts]
  return '/'.join([name, *parts] if name else parts)


def _with_names_of_their_own(sources: list[Source]) -> list[Source]:
  """Number names that occur more than once, regardless of letter case."""
  taken = {}
  named = []
  for source in sources:
    key = source.name.lower()
    taken[key] = taken.get(key, 0) + 1
    if taken[key] > 1:
      source = dataclasses.replace(source, name=f'{source.name}-{taken[key]}')
    named.append(source)
  return named


def _safe(text: str) -> str:
  """Return a text as the name of a folder."""
  return re.sub(r'[^\w.-]+', '-', text).strip('.-') or 'source'
