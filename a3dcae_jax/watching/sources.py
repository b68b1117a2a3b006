"""Sources of `detect`: files, folders, archives, addresses, cameras, a pipe."""

import dataclasses
import os
import pathlib
import re
import urllib.parse
from collections.abc import Iterator, Sequence

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_object
from a3dcae_jax.data.layouts.entries import entries_of, is_junk

SCHEMES = ('http', 'https', 'rtmp', 'rtp', 'rtsp', 'rtsps', 'srt', 'tcp', 'udp')
PIPE = '-'
MARKER = 'detect.json'
"""Marks a folder as one of results."""

FORMAT = 'a3dcae_jax detections'
_NAME = r'\w[\w-]*'
_SECRET = re.compile(r'[^/]*(?:user|pass|pwd|token|key)\w*=.*', re.IGNORECASE)


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

  Each video in a folder of videos is a source of its own. Folders of results are left out.

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
    found += _sources_of(*_named_source(text))
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
  if match and not os.path.exists(text):
    return match[1], match[2]
  return '', text


def without_secrets(address: str) -> str:
  """Return an address without user, password and query, which may hold a token.

  Some cameras have the password in the path; the path is cut there. If it is not clear where a
  password ends, all that may belong to it is left out.
  """
  scheme, separator, rest = address.partition('://')
  if not separator:
    scheme, rest = '', address
  parts = split_address(address)
  if parts is None or '@' in parts.path:
    _, at, place = rest.rpartition('@')
    place = re.split('[?#]', place)[0]
    hidden = '...@' if at else ''
    return f'{scheme}{separator}{hidden}{_SECRET.sub("", place)}'
  place = parts.netloc.rpartition('@')[2]
  return f'{scheme}{separator}{place}{_SECRET.sub("", parts.path)}'


def split_address(address: str) -> urllib.parse.SplitResult | None:
  """Return the parts of an address; None if its host or its port cannot be one."""
  try:
    parts = urllib.parse.urlsplit(address)
    parts.port  # noqa: B018 - a wrong one raises
  except ValueError:
    return None
  return parts


def _named_source(text: str) -> tuple[str, str]:
  """Return NAME and SOURCE of 'NAME=SOURCE'; the name is '' for 'SOURCE' alone."""
  if not text.strip():
    raise UserError(
      'a source is empty, as from a variable that is not set: name a video, a folder, an address, '
      'the number of a camera, or -'
    )
  name, equals, rest = text.partition('=')
  if not equals or os.path.exists(text) or re.search('[:?@]', name):  # as in rtsp://h/x?a=b
    return '', text
  if re.fullmatch(_NAME, name) and rest:
    return name, rest
  if '://' in rest or os.path.exists(rest) or rest in ('', PIPE):
    raise UserError(
      f'the name {name!r} of a source must be letters, digits, - and _, and a source must follow, '
      'as in door=rtsp://10.0.0.7/live'
    )
  return '', text


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
  shown = without_secrets(text)
  if scheme.lower() not in SCHEMES:
    raise UserError(
      f'{shown}: addresses that begin with {scheme.rpartition("@")[2]}:// are not known; '
      f'known are {", ".join(SCHEMES)}; a file is named by its path'
    )
  parts = split_address(text)
  if not parts or not (parts.port is not None or parts.hostname):
    hint = '; in a password, write / ? # @ as %2F %3F %23 %40' if '@' in text else ''
    raise UserError(f'{shown} is not an address: it names no host, or a wrong port{hint}')
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
    folders[:] = sorted(each for each in folders if _is_searched(pathlib.Path(parent, each)))
    found = entries_of(parent)
    place = pathlib.Path(parent).relative_to(folder)
    videos = [path for path in found.videos if path.suffix.lower() != '.gif']
    for path in videos:
      yield Source(str(path), 'file', _joined(name, place / path.name), str(path))
    if found.images and not videos and not found.folders:
      joined = _joined(name, place) or _safe(folder.resolve().name)
      yield Source(parent, 'images', joined, parent)


def _is_searched(folder: pathlib.Path) -> bool:
  """Return whether a folder may have videos to watch, and not the clips of `detect`."""
  if is_junk(folder):
    return False
  try:
    return read_object(folder / MARKER).get('format') != FORMAT
  except UserError:  # there is no such file, or one of something else
    return True


def _joined(name: str, path: pathlib.Path) -> str:
  parts = [_safe(part) for part in path.parts]
  return '/'.join([name, *parts] if name else parts)


def _with_names_of_their_own(sources: list[Source]) -> list[Source]:
  """Number names that occur more than once, regardless of letter case."""
  given = {source.name.lower() for source in sources}
  counts: dict[str, int] = {}
  named = []
  for source in sources:
    key = source.name.lower()
    counts[key] = counts.get(key, 0) + 1
    while counts[key] > 1 and f'{key}-{counts[key]}' in given:  # another source has this name
      counts[key] += 1
    if counts[key] > 1:
      source = dataclasses.replace(source, name=f'{source.name}-{counts[key]}')
    named.append(source)
  return named


def _safe(text: str) -> str:
  """Return a text as the name of a folder."""
  return re.sub(r'[^\w.-]+', '-', text).strip('.-') or 'source'
