"""Theory and complexity as sheets."""

from a3dcae_jax.config import fields
from a3dcae_jax.paper.counted_sheets import complexity_sheets, theory_sheet
from a3dcae_jax.paper.page import page_text, write_sheets
from a3dcae_jax.paper.theory import TheoryFigure

FOUND = TheoryFigure(
  'rate', 'The rate', ('sigma', 'optimum', 'trained'), [(0.4, 1.2, 1.3), (0.2, 0.5, None)], 'Holds.'
)


def test_a_figure_of_the_theory_has_cells_records_and_a_plot(tmp_path):
  sheet = theory_sheet(FOUND)
  assert sheet.cells == [
    ['sigma', 'optimum', 'trained'],
    ['0.4', '1.2', '1.3'],
    ['0.2', '0.5', '-'],
  ]
  assert sheet.records[1] == {'sigma': 0.2, 'optimum': 0.5, 'trained': None}
  assert sheet.notes == ['Holds']
  write_sheets(tmp_path, 'title', [sheet], [])
  assert (tmp_path / 'rate.csv').read_text().startswith('sigma,optimum,trained\n0.4,1.2,1.3')


def test_long_figures_are_drawn_and_not_printed():
  rows = [(float(x), 2.0 * x, None if x else 1.0) for x in range(100)]
  sheet = theory_sheet(FOUND._replace(rows=rows))
  assert not sheet.cells and len(sheet.records) == 100
  assert 'The rate' in page_text('title', [sheet], [])


def test_complexity_of_both_networks():
  model = fields.Model(widths=(4, 4, 6), discriminator_widths=(2, 2, 4), discriminator_units=4)
  sheets = complexity_sheets(model, (16, 32, 32))
  assert [sheet.name for sheet in sheets] == ['complexity_auto-encoder', 'complexity_discriminator']
  for sheet in sheets:
    assert sheet.cells[-1][0] == 'sum'
    assert any(note.startswith('XLA counts') for note in sheet.notes)
