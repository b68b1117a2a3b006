"""Notes for the user on files that readers skip, scale or order.

Readers yield frames alone. `note` adds to the notes that `collect_notes` collects in the caller.
"""

import contextlib
import contextvars
from collections.abc import Iterable, Iterator

_SHOWN = 20  # subjects that a line lists

Note = tuple[str, str]  # the text, and the file or folder that it is about

# The dict serves as a set that keeps the order of the notes.
_collector: contextvars.ContextVar[dict[Note, None] | None] = contextvars.ContextVar(
  'notes', default=None
)


def note(text: str, subject: object) -> None:
  """Add a note to those that are collected in this thread, if it is new.

  Args:
    text: the note; it is printed as `text: subject, subject, ...`.
    subject: the file or folder.
  """
  notes = _collector.get()
  if notes is not None:
    notes[text, str(subject)] = None


@contextlib.contextmanager
def collect_notes() -> Iterator[dict[Note, None]]:
  """Collect the notes of the block, in this thread."""
  notes = {}
  token = _collector.set(notes)
  try:
    yield notes
  finally:
    _collector.reset(token)


def note_lines(notes: Iterable[Note], root: object) -> list[str]:
  """Return a line for each text, with its subjects.

  Args:
    notes: the notes.
    root: folder to which paths are shown relative.
  """
  subjects = {}
  for text, subject in notes:
    subjects.setdefault(text, {})[subject.removeprefix(f'{root}/')] = None
  lines = []
  for text, found in subjects.items():
    shown = ', '.join(list(found)[:_SHOWN])
    more = f' and {len(found) - _SHOWN} more' if len(found) > _SHOWN else ''
    lines.append(f'{text}: {shown}{more}')
  return lines
