"""Theory and complexity as sheets: they need the settings of a model, and no runs."""

from collections.abc import Sequence
from typing import Any

from bokeh.plotting import figure

from a3dcae_jax.config import fields
from a3dcae_jax.paper import complexity, theory
from a3dcae_jax.paper.sheets import Sheet
from a3dcae_jax.report.plots import COLOURS

# Figures with more points are drawn, and written as CSV, but not printed.
_PRINTED_ROWS = 20


def theory_sheets() -> list[Sheet]:
  """Return Theorems 1 to 3 by number; trains small networks, which takes minutes."""
  return [theory_sheet(found) for found in theory.figures()]


def theory_sheet(found: theory.TheoryFigure) -> Sheet:
  """Return a figure of the theory as a sheet."""
  sheet = _sheet(found.name, found.title, found.columns, found.rows, [found.verdict])
  sheet.plots[found.name] = _line_plot(found)
  return sheet


def complexity_sheets(model: fields.Model, clip_shape: tuple[int, int, int]) -> list[Sheet]:
  """Return the layers of both networks, beside the formulas of section IV-F.

  Args:
    model: the settings of the networks.
    clip_shape: (T, H, W).
  """
  sheets = []
  for table in complexity.tables(model, clip_shape):
    name = f'complexity_{table.name}'
    sheets.append(_sheet(name, table.title, table.columns, table.rows, table.verdict))
  return sheets


def _sheet(
  name: str,
  title: str,
  columns: Sequence[str],
  rows: Sequence[Sequence[Any]],
  notes: Sequence[str],
) -> Sheet:
  cells = []
  if len(rows) <= _PRINTED_ROWS:
    cells = [list(columns), *([_text(value) for value in row] for row in rows)]
  return Sheet(
    name=name,
    title=title,
    cells=cells,
    records=[dict(zip(columns, row, strict=True)) for row in rows],
    notes=[note.removesuffix('.') for note in notes],
  )


def _text(value: Any) -> str:
  if value is None:
    return '-'
  if isinstance(value, float):
    return f'{value:.4g}'
  return f'{value:,}' if isinstance(value, int) else value


def _line_plot(found: theory.TheoryFigure) -> figure:
  """Draw every column over the first."""
  plot = figure(height=340, sizing_mode='stretch_width', x_axis_label=found.columns[0])
  for colour, index in zip(COLOURS, range(1, len(found.columns)), strict=False):
    points = [(row[0], row[index]) for row in found.rows if row[index] is not None]
    label = found.columns[index]
    x, y = zip(*points, strict=True)
    plot.line(x, y, color=colour, line_width=2, legend_label=label)
    plot.scatter(x, y, color=colour, size=4 if len(points) <= _PRINTED_ROWS else 0)
  return plot
