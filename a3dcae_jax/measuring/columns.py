"""Rows of figures as an aligned table, or as Markdown."""


def table(rows, columns, *, markdown=False):
  """Text of `rows` (dicts). columns: (title, format) pairs, as in ('clips/s', '{clips_per_s:.2f}'); a field that is None shows as '-'."""
  cells = [
    [title for title, _ in columns],
    *([_cell(row, form) for _, form in columns] for row in rows),
  ]
  if markdown:
    lines = ['| ' + ' | '.join(line) + ' |' for line in cells]
    return '\n'.join([lines[0], '|' + '---|' * len(columns), *lines[1:]])
  widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
  numeric = [all(_is_number(cell) for cell in column[1:]) for column in zip(*cells, strict=True)]
  return '\n'.join(
    '  '.join(
      cell.rjust(width) if right else cell.ljust(width)
      for cell, width, right in zip(line, widths, numeric, strict=True)
    ).rstrip()
    for line in cells
  )


def _cell(row, form):
  try:
    return form.format(**row)
  except (TypeError, ValueError, KeyError):  # None takes no format
    return '-'


def _is_number(cell):
  return (
    cell == '-'
    or cell.replace(',', '').replace('.', '').replace('-', '').replace('%', '').isdigit()
  )
