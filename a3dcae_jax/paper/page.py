"""Tables and figures as Markdown, CSV and one HTML page."""

import csv
import html
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.embed import components

from a3dcae_jax.common.files import atomic_write
from a3dcae_jax.measuring.columns import aligned, markdown_lines
from a3dcae_jax.paper.sheets import Cells, Sheet
from a3dcae_jax.report.page import BOKEH, html_page, note, section

PAGE = 'report.html'


def write_sheets(
  out: pathlib.Path, title: str, sheets: Sequence[Sheet], notes: Sequence[str]
) -> None:
  """Write `NAME.md` and `NAME.csv` of each sheet, and one page with all of them.

  Args:
    out: folder to write to.
    title: title of the page.
    sheets: tables and figures.
    notes: sentences below the title of the page, and in each Markdown file.
  """
  for sheet in sheets:
    with atomic_write(out / f'{sheet.name}.md') as file:
      file.write(markdown_text(sheet, notes))
    if sheet.records:
      write_csv(out / f'{sheet.name}.csv', sheet.records)
  with atomic_write(out / PAGE) as file:
    file.write(page_text(title, sheets, notes))


def markdown_text(sheet: Sheet, notes: Sequence[str]) -> str:
  """Return a sheet as Markdown."""
  parts = [f'# {sheet.title}', '\n\n'.join(f'{text}.' for text in notes)]
  for cells in (sheet.cells, sheet.claims):
    if cells:
      parts.append(markdown_lines(cells))
  parts += [f'{text}.' for text in sheet.notes]
  return '\n\n'.join(part for part in parts if part) + '\n'


def terminal_text(sheet: Sheet) -> str:
  """Return the tables of a sheet for a terminal."""
  tables = [aligned(cells) for cells in (sheet.cells, sheet.claims) if cells]
  return '\n'.join([sheet.title, *tables])


def write_csv(path: pathlib.Path, records: Sequence[Mapping[str, Any]]) -> None:
  """Write records as CSV; the columns are all fields in order of appearance."""
  columns = list(dict.fromkeys(name for record in records for name in record))
  with atomic_write(path) as file:
    writer = csv.DictWriter(file, columns, lineterminator='\n')
    writer.writeheader()
    writer.writerows(records)


def page_text(title: str, sheets: Sequence[Sheet], notes: Sequence[str]) -> str:
  """Return the page with all sheets."""
  plots = {name: plot for sheet in sheets for name, plot in sheet.plots.items()}
  script, drawn = components(plots) if plots else ('', {})
  body = ''.join(f'<p>{html.escape(text)}.</p>' for text in notes)
  for sheet in sheets:
    body += section(sheet.title, _sheet_html(sheet, drawn))
  return html_page(title, body + script, head=BOKEH.render() if plots else '')


def _sheet_html(sheet: Sheet, drawn: Mapping[str, str]) -> str:
  parts = [_table_html(cells, sheet.marked) for cells in (sheet.cells, sheet.claims) if cells]
  parts += [drawn[name] for name in sheet.plots]
  parts.append(sheet.html)
  parts += [note(f'{text}.') for text in sheet.notes]
  return ''.join(parts)


def _table_html(cells: Cells, marked: frozenset[str]) -> str:
  titles, *lines = cells
  head = ''.join(f'<th>{html.escape(title)}</th>' for title in titles)
  body = ''
  for line in lines:
    style = ' class="run"' if line[0] in marked else ''
    body += f'<tr{style}>' + ''.join(f'<td>{html.escape(cell)}</td>' for cell in line) + '</tr>'
  return (
    f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
  )
