"""Print rows of figures as an aligned table or as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any


def table(
  rows: Sequence[Mapping[str, Any]],
  columns: Sequence[tuple[str, str]],
  *,
  markdown: bool = False,
) -> str:
  """Return the text of a table.

  Args:
    rows: one mapping from field names to values per line.
    columns: (title, format) pairs such as ('clips/s', '{clips_per_s:.2f}'). A field that is None
      or missing shows as '-'.
    markdown: write Markdown; the default is text with columns of equal width.
  """
  titles = [title for title, _ in columns]
  cells = [titles]
  for row in rows:
    cells.append([_cell(row, form) for _, form in columns])
  return _markdown(cells) if markdown else _aligned(cells)


def _markdown(cells: Sequence[Sequence[str]]) -> str:
  lines = ['| ' + ' | '.join(line) + ' |' for line in cells]
  lines.insert(1, '|' + '---|' * len(cells[0]))
  return '\n'.join(lines)


def _aligned(cells: Sequence[Sequence[str]]) -> str:
  """Align the cells: columns of numbers to the right, others to the left."""
  padded_columns = []
  for column in zip(*cells, strict=True):
    width = max(len(cell) for cell in column)
    if all(_is_number(cell) for cell in column[1:]):
      padded_columns.append([cell.rjust(width) for cell in column])
    else:
      padded_columns.append([cell.ljust(width) for cell in column])
  lines = zip(*padded_columns, strict=True)
  return '\n'.join('  '.join(line).rstrip() for line in lines)


def _cell(row: Mapping[str, Any], form: str) -> str:
  try:
    return form.format(**row)
  except (TypeError, ValueError, KeyError):  # a missing field, or None, which takes no format
    return '-'


def _is_number(cell: str) -> bool:
  digits = cell
  for character in ',.-%':
    digits = digits.replace(character, '')
  return cell == '-' or digits.isdigit()
