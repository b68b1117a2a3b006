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
    columns: (title, format) pairs, such as ('clips/s', '{clips_per_s:.2f}'). A field that is None
      or missing shows as '-'.
    markdown: write Markdown; the default is text with columns of equal width.
  """
  titles = [title for title, _ in columns]
  cells = [titles]
  for row in rows:
    cells.append([_cell(row, form) for _, form in columns])
  return markdown_lines(cells) if markdown else aligned(cells)


def markdown_lines(cells: Sequence[Sequence[str]]) -> str:
  """Return lines of cells as a Markdown table; the first line has the titles."""
  lines = []
  for line in cells:
    text = ' | '.join(line)
    lines.append(f'| {text} |')
  rule = '---|' * len(cells[0])
  lines.insert(1, f'|{rule}')
  return '\n'.join(lines)


def aligned(cells: Sequence[Sequence[str]]) -> str:
  """Align lines of cells: columns of numbers to the right, others to the left."""
  padded_columns = []
  for column in zip(*cells, strict=True):
    width = max(len(cell) for cell in column)
    is_numeric = all(_is_number(cell) for cell in column[1:])
    pad = str.rjust if is_numeric else str.ljust
    padded_columns.append([pad(cell, width) for cell in column])
  lines = []
  for line in zip(*padded_columns, strict=True):
    text = '  '.join(line)
    lines.append(text.rstrip())
  return '\n'.join(lines)


def _cell(row: Mapping[str, Any], form: str) -> str:
  try:
    return form.format(**row)
  except (TypeError, ValueError, KeyError):  # a missing field, or None, which cannot be formatted
    return '-'


def _is_number(cell: str) -> bool:
  digits = cell
  for character in ',.-%':
    digits = digits.replace(character, '')
  return cell == '-' or digits.isdigit()
