"""The folder of results: one folder per source, written line by line.

DIR/detect.json              marks the folder as one of `detect`
DIR/NAME/scores.csv          frame, time in seconds, score, id of the event
DIR/NAME/events.jsonl        start, update and end of events and faults
DIR/NAME/events/ID.jpg       still of an event
DIR/NAME/events/ID.mp4       clip of an event, with some seconds before it
DIR/NAME/overlay.mp4         with --overlay; of a live source overlay-TIME.mp4, one for each start
DIR/NAME/summary.json        of a file that was read to its end
"""

import contextlib
import datetime
import io
import json
import os
import pathlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import check_writable, file_key, read_object, write_json
from a3dcae_jax.common.locks import try_lock
from a3dcae_jax.watching.sources import FORMAT, MARKER, Source

SUMMARY = 'summary.json'
SCORES = 'scores.csv'
EVENTS = 'events.jsonl'
EVENT_FILES = 'events'
_HEADER = 'frame,time_s,score,event'
_KEPT_LINES = 100_000  # waiting while a disk is full; later lines are lost
_BLOCK_BYTES = 65_536
_LONGEST_PREFIX = 180  # bytes; file systems allow 255, of which temporary files need some
_OWN = (SCORES, EVENTS, SUMMARY, 'overlay.mp4')


def claim_folder(folder: pathlib.Path) -> None:
  """Make the folder of all results, or check that it is one.

  Raises:
    UserError: if it has other content or cannot be written.
  """
  check_writable(folder, '--out')
  if folder.exists() and not folder.is_dir():
    raise UserError(f'--out={folder} is a file: name a folder')
  folder.mkdir(parents=True, exist_ok=True)
  names = [path.name for path in folder.iterdir()]
  if not (folder / MARKER).exists():  # looked for last: another process may be making it
    if any(not name.startswith(f'.{MARKER}') for name in names):
      raise UserError(f'--out={folder} has files of something else: name a new or empty folder')
    write_json(folder / MARKER, {'format': FORMAT})
  elif read_object(folder / MARKER).get('format') != FORMAT:
    raise UserError(f'--out={folder}: {MARKER} was not written by detect: name another folder')


class SourceFolder:
  """The folder of one source, locked against other processes.

  Attributes:
    path: the folder.
    scores: lines of `scores.csv`.
    events: lines of `events.jsonl`.
  """

  def __init__(self, folder: pathlib.Path, source: Source, identity: dict[str, Any]) -> None:
    """Open the folder; results of a file begin anew, those of a live source go on.

    Args:
      folder: of all results.
      source: the source.
      identity: what the results depend on.

    Raises:
      UserError: if another process watches the same source, or the folder cannot be written.
    """
    self.path = folder / source.name
    self._name = source.name
    self._identity = identity | _state(source)
    try:
      (self.path / EVENT_FILES).mkdir(parents=True, exist_ok=True)
      self._lock = open(self.path / '.lock', 'a+', encoding='utf-8')  # noqa: SIM115 - held
    except OSError as error:
      raise UserError(f'{self.path} cannot be written: {error.strerror}') from None
    if not try_lock(self._lock):
      self._lock.seek(0)
      owner = self._lock.read().strip() or 'unknown'
      self._lock.close()
      raise UserError(
        f'{self.path} is in use by another detect (process {owner}): end it, or name another --out'
      )
    self._lock.truncate(0)
    self._lock.write(f'{os.getpid()} on {os.uname().nodename}\n')
    self._lock.flush()
    try:
      self._clear(everything=not source.is_live)
      self.scores = LineFile(self.path / SCORES, _HEADER)
      self.events = LineFile(self.path / EVENTS)
    except OSError as error:
      self._lock.close()
      raise UserError(f'{error.filename} cannot be written: {error.strerror}') from None

  @property
  def lost(self) -> int:
    """Number of lines of scores and events that could not be written."""
    return self.scores.lost + self.events.lost

  def remove_old(self, days: float) -> None:
    """Remove the stills and clips of this source that are older than some days."""
    name = re.compile(re.escape(event_prefix(self._name)) + r'[\dTZ.]+\.(jpg|mp4)')
    oldest_s = time.time() - days * 86400
    try:
      for entry in os.scandir(self.path / EVENT_FILES):
        if name.fullmatch(entry.name) and entry.stat().st_mtime < oldest_s:
          os.unlink(entry)
    except OSError as error:
      print(f'{error.filename} cannot be removed: {error.strerror}', file=sys.stderr)

  def close(self, summary: dict[str, Any] | None) -> None:
    """Write everything and free the folder.

    If lines are lost, there is no summary, so that an archive is not taken for finished.

    Args:
      summary: of a source that was watched to its end; None for one that was stopped.
    """
    self.scores.close()
    self.events.close()
    if summary is not None and not self.lost:
      try:
        write_json(self.path / SUMMARY, self._identity | summary)
      except OSError as error:
        print(f'{self.path / SUMMARY} cannot be written: {error.strerror}', file=sys.stderr)
    self._lock.close()

  def _clear(self, everything: bool) -> None:
    """Remove the half-written files of an earlier process, or all files."""
    for path in (self.path / EVENT_FILES).iterdir():
      if everything or path.name.startswith('.'):
        path.unlink()
    for name in _OWN if everything else ():
      (self.path / name).unlink(missing_ok=True)


def overlay_path(folder: pathlib.Path, source: Source) -> pathlib.Path:
  """Return the file of an overlay; a live source has one for each start."""
  if not source.is_live:
    return folder / 'overlay.mp4'
  return folder / time.strftime('overlay-%Y%m%dT%H%M%SZ.mp4', time.gmtime())


def event_prefix(name: str) -> str:
  """Return how the names of all events of a source begin; files can have them."""
  if len(name.encode('utf-8', 'surrogatepass')) > _LONGEST_PREFIX:
    name = file_key(name)
  return f'{name}-'.replace('/', '-')


def is_finished(folder: pathlib.Path, source: Source, identity: dict[str, Any]) -> bool:
  """Return whether a file was watched to its end already, and has not changed since."""
  path = folder / source.name / SUMMARY
  if source.kind not in ('file', 'images') or not path.exists():
    return False
  try:
    summary = read_object(path)
  except UserError:  # damaged, so it is done again
    return False
  expected = identity | _state(source)
  return all(summary.get(key) == value for key, value in expected.items())


def _state(source):
  """Return name, size and time of a source, by which a changed file is known."""
  state = {'source': source.shown}
  if source.kind in ('file', 'images'):
    stat = pathlib.Path(source.address).stat()
    state |= {'bytes': stat.st_size, 'modified_ns': stat.st_mtime_ns}
  return state


class LineFile:
  """A file that grows line by line.

  Lines wait in memory until `flush`. If the disk is full, they stay there and a warning is printed.

  Attributes:
    lost: number of lines that had no more room in memory.
  """

  def __init__(self, path: pathlib.Path, header: str = '') -> None:
    """Open the file to add to it.

    Args:
      path: the file.
      header: first line of a new file.
    """
    self._path = path
    self._lines: list[str] = []
    self._is_failing = False
    self.lost = 0
    _cut(path)
    self._file = open(path, 'ab', buffering=0)  # noqa: SIM115 - closed by `close`
    self._rest = b''
    if header and not path.stat().st_size:
      self._lines.append(header)

  def add(self, line: str) -> None:
    """Add a line, without its end."""
    if len(self._lines) < _KEPT_LINES:
      self._lines.append(line)
    else:
      self.lost += 1

  def flush(self) -> None:
    """Write all lines that wait."""
    content = self._rest + ''.join(f'{line}\n' for line in self._lines).encode()
    self._lines = []
    try:
      while content:
        content = content[self._file.write(content) :]
    except OSError as error:
      if not self._is_failing:
        print(
          f'{self._path} cannot be written ({error.strerror}): scoring goes on, lines wait in '
          'memory',
          file=sys.stderr,
        )
    self._is_failing = bool(content)
    self._rest = content

  def close(self) -> None:
    """Write all lines and close the file; those that cannot be written are lost."""
    self.flush()
    self.lost += self._rest.count(b'\n')
    self._file.close()
    if self.lost:
      print(f'error: {self._path}: {self.lost} lines are lost', file=sys.stderr)


def _cut(path: pathlib.Path) -> None:
  """Remove the last line of a file if a killed process left it unfinished."""
  if not path.exists():
    return
  with open(path, 'rb+') as file:
    end = place = file.seek(0, os.SEEK_END)
    while place:
      begin = max(0, place - _BLOCK_BYTES)
      file.seek(begin)
      found = file.read(place - begin).rfind(b'\n')
      if found >= 0:
        place = begin + found + 1
        break
      place = begin
    if place < end:
      file.truncate(place)


def mend(path: pathlib.Path) -> None:
  """End the last line of a file if a killed process or a person left it open."""
  if path.exists() and path.stat().st_size:
    with open(path, 'rb+') as file:
      file.seek(-1, os.SEEK_END)
      if file.read(1) != b'\n':
        file.write(b'\n')


class Printed:
  """Standard output and error while `detect` runs: what is printed never ends it.

  Lines that cannot be written are left out, as where a log is on a full disk.

  Args:
    stop: called when nobody reads standard output any more.

  Attributes:
    has_no_reader: whether that was so.
  """

  def __init__(self, stop: Callable[[], None]) -> None:
    self._stop = stop
    self.has_no_reader = False

  @contextlib.contextmanager
  def redirected(self) -> Iterator[None]:
    """Print by way of this class until the block ends."""
    output = _Lines(sys.stdout, self._end)
    error = _Lines(sys.stderr, lambda: None)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):
      yield

  def _end(self) -> None:
    self.has_no_reader = True
    self._stop()


class _Lines(io.TextIOBase):
  """Writes to another stream, and leaves out what cannot be written."""

  def __init__(self, stream: TextIO | None, at_broken_pipe: Callable[[], None]) -> None:
    self._stream = stream
    self._at_broken_pipe = at_broken_pipe
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it is no file
      stream.flush()
      # A buffer would keep what could not be written, and fail again.
      raw = io.FileIO(stream.fileno(), 'w', closefd=False)
      codec = {'encoding': stream.encoding, 'errors': stream.errors}
      self._stream = io.TextIOWrapper(raw, write_through=True, **codec)

  def write(self, text: str) -> int:
    try:
      if self._stream is not None:
        self._stream.write(text)
        self._stream.flush()
    except BrokenPipeError:
      self._at_broken_pipe()
    except OSError:
      pass
    return len(text)


def utc_text(seconds: float) -> str:
  """Return a Unix time as text in UTC."""
  moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
  return moment.isoformat(timespec='milliseconds')


def event_line(record: dict[str, Any]) -> str:
  """Return a record as one line of JSON."""
  return json.dumps(record, allow_nan=False)
