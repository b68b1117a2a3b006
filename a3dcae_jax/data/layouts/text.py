"""Text and tables from files of any common encoding and delimiter."""

import csv
import io
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import check_is_file

_DELIMITERS = (',', ';', '\t')
_BYTE_ORDER_MARKS = (
  (b'\xef\xbb\xbf', 'utf-8-sig'),
  (b'\xff\xfe', 'utf-16'),
  (b'\xfe\xff', 'utf-16'),
)


class Row(NamedTuple):
  """A row of a table.

  Attributes:
    line: number of its line, from 1.
    cells: without spaces around them.
  """

  line: int
  cells: list[str]


def read_text(path: str | pathlib.Path) -> str:
  """Read a text file in UTF-8, in UTF-16 with a byte order mark, or else in Latin-1.

  Raises:
    UserError: naming the file, if it cannot be read or is not text.
  """
  check_is_file(path)
  try:
    content = pathlib.Path(path).read_bytes()
  except FileNotFoundError:
    raise UserError(f'{path} does not exist') from None
  except (OSError, ValueError) as error:  # a ValueError for a zero byte in the name
    raise UserError(f'{path} cannot be read: {getattr(error, "strerror", None) or error}') from None
  if content.startswith(b'PK\x03\x04'):
    raise UserError(f'{path} is a ZIP archive, as spreadsheets are, not text: save it as CSV')
  encodings = [name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)]
  for encoding in encodings or ['utf-8', 'latin-1']:
    try:
      text = content.decode(encoding)
    except UnicodeDecodeError:
      continue
    if '\0' in text:
      break
    return text
  raise UserError(f'{path} is not text: it must be in UTF-8, UTF-16 with its mark, or Latin-1')


def read_table(path: str | pathlib.Path) -> Iterator[Row]:
  """Yield the rows of a text file. Rows without any text are left out.

  The first row decides on the delimiter: a comma, a semicolon or a tab, or else spaces.

  Raises:
    UserError: naming the file, if it cannot be read or is not a table.
  """
  # Newlines of every system become '\n' here.
  lines = io.StringIO(read_text(path), newline=None).read().split('\n')
  first = next((line for line in lines if line.strip()), '')
  delimiter = next((mark for mark in _DELIMITERS if mark in first), None)
  if delimiter is None:
    for number, line in enumerate(lines, start=1):
      if cells := line.split():
        yield Row(number, cells)
    return
  reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
  try:
    for cells in reader:
      cells = [cell.strip() for cell in cells]
      if any(cells):
        yield Row(reader.line_num, cells)
  except csv.Error as error:
    raise UserError(f'{path}, line {reader.line_num}: not a table: {error}') from None
