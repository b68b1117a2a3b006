"""The table of AUC and EER that the terminal, the report and the comparison share."""

import html
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from a3dcae_jax.scoring.normalisation import NORMALISATIONS
from a3dcae_jax.scoring.protocol import calibrated_words

CORNER = 'AUC / EER, %'
_TITLE_WIDTH = 48
_CELL_WIDTH = 14


class Row(NamedTuple):
  """One row of the table.

  Attributes:
    title: title of the row.
    cells: one text for each of `NORMALISATIONS`.
    is_run: whether the page highlights it.
  """

  title: str
  cells: list[str]
  is_run: bool = False


def figures_cell(figures: Mapping[str, Any] | None) -> str:
  """Return 'AUC / EER' in percent, or '-' where there is no such figure."""
  if not figures:
    return '-'
  if figures['auc'] is None:
    return 'one class'
  return f'{100 * figures["auc"]:.1f} / {100 * figures["eer"]:.1f}'


def figures_row(title: str, figures: Mapping[str, Any] | None, *, is_run: bool = False) -> Row:
  """Return the row of figures by normalisation."""
  figures = figures or {}
  cells = [figures_cell(figures.get(how)) for how in NORMALISATIONS]
  return Row(title, cells, is_run)


def baseline_title(name: str) -> str:
  """Return the title of a baseline's row or curve."""
  return f'baseline: {name.replace("_", " ")}'


def baseline_rows(metrics: Mapping[str, Any]) -> list[Row]:
  """Return one row for each baseline; none without labels."""
  baselines = metrics['baselines'] or {}
  return [figures_row(baseline_title(name), figures) for name, figures in baselines.items()]


def run_rows(metrics: Mapping[str, Any]) -> list[Row]:
  """Return the rows of a run, its other calibration, its parts and its baselines."""
  other = metrics['other_calibration']
  title = 'this run'
  others = []
  if other:
    title += f', {calibrated_words(not other["per_position"])}'
    words = calibrated_words(other['per_position'])
    others.append(figures_row(f'the same run {words}', other['metrics']))
  for part, figures in (metrics.get('parts') or {}).items():
    others.append(figures_row(f'the same run, {part}', figures))
  return [
    figures_row(title, metrics['metrics'], is_run=True),
    *others,
    *baseline_rows(metrics),
  ]


def text_table(rows: Sequence[Row]) -> str:
  """Return the table for a terminal."""
  lines = [_text_line(CORNER, NORMALISATIONS)]
  lines += [_text_line(row.title, row.cells) for row in rows]
  return '\n'.join(lines)


def html_table(rows: Sequence[Row], *, main: str = '') -> str:
  """Return the table for a page.

  Args:
    rows: rows of the table.
    main: the normalisation that is marked in the rows of runs.
  """
  titles = (CORNER, *NORMALISATIONS)
  head = ''.join(f'<th>{title}</th>' for title in titles)
  body = ''.join(_html_line(row, main) for row in rows)
  return (
    f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
  )


def _text_line(title: str, cells: Sequence[str]) -> str:
  # A long title keeps its end, where the paths of runs differ.
  title = title[-_TITLE_WIDTH:].ljust(_TITLE_WIDTH)
  columns = [cell.rjust(_CELL_WIDTH) for cell in cells]
  return title + ''.join(columns)


def _html_line(row: Row, main: str) -> str:
  cells = ''
  for how, cell in zip(NORMALISATIONS, row.cells, strict=True):
    mark = ' class="main"' if row.is_run and how == main else ''
    cells += f'<td{mark}>{cell}</td>'
  style = ' class="run"' if row.is_run else ''
  return f'<tr{style}><td>{html.escape(row.title)}</td>{cells}</tr>'
