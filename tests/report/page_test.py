"""The report: written from plain arrays, escaped, self-contained."""

import re

import pytest

from a3dcae_jax.report import page
from a3dcae_jax.report.page import write_report
from a3dcae_jax.scoring.normalisation import NORMALISATIONS
from tests.report.example import example_report
from tests.scoring.example import example_metrics


def written(tmp_path, report):
  path = tmp_path / 'report.html'
  write_report(path, report)
  return path.read_text()


def rows_of(text):
  """Title -> cells of each row of the page's first table."""
  table = re.search(r'<tbody>(.*?)</tbody>', text, re.DOTALL).group(1)
  rows = {}
  for row in re.findall(r'<tr.*?</tr>', table):
    title, *cells = re.findall(r'<td[^>]*>(.*?)</td>', row)
    rows[title] = cells
  return rows


def test_the_page_is_escaped_and_needs_no_other_file(tmp_path, rng):
  text = written(tmp_path, example_report(rng))
  assert 'a &lt;title&gt;' in text
  assert '<title>a <title>' not in text
  assert len(text) < 5_000_000
  # Bokeh's own code has addresses that it never loads here.
  outside_scripts = re.sub(r'<script.*?</script>', '', text, flags=re.DOTALL)
  assert not re.search(r'(src|href)="(https?:)?//', outside_scripts)
  assert not re.search(r'<script[^>]* src=', text)


def test_every_row_of_the_table_has_a_cell_for_each_normalisation(tmp_path, rng):
  text = written(tmp_path, example_report(rng))
  rows = rows_of(text)
  assert list(rows) == [
    'this run, without per-position calibration',
    'the same run with per-position calibration',
    'baseline: frame difference',
    'baseline: mean image distance',
    'the paper (full test set)',
  ]
  assert {len(cells) for cells in rows.values()} == {len(NORMALISATIONS)}
  head = re.search(r'<thead>(.*?)</thead>', text).group(1)
  assert head.count('<th>') == 1 + len(NORMALISATIONS)


def test_figures_are_in_their_rows(tmp_path, rng):
  rows = rows_of(written(tmp_path, example_report(rng)))
  assert rows['this run, without per-position calibration'] == ['90.0 / 10.0'] * 5
  assert rows['the same run with per-position calibration'] == ['70.0 / 30.0'] * 5
  assert rows['baseline: frame difference'] == ['60.0 / 40.0'] * 4 + ['-']
  assert rows['the paper (full test set)'] == ['91.0 / 10.9'] + ['-'] * 4


def test_a_calibrated_run_has_a_row_without_calibration(tmp_path, rng):
  metrics = example_metrics(
    {'protocol.runs.0.per_position': True, 'other_calibration.per_position': False}
  )
  rows = rows_of(written(tmp_path, example_report(rng, metrics=metrics)))
  assert 'this run, with per-position calibration' in rows
  assert 'the same run without per-position calibration' in rows


def test_the_cell_of_the_main_figure_is_marked(tmp_path, rng):
  metrics = example_metrics({'protocol.normalisation': 'psnr'})
  text = written(tmp_path, example_report(rng, metrics=metrics))
  cells = re.findall(r'<td( class="main")?>90.0 / 10.0</td>', text)
  assert [bool(mark) for mark in cells] == [how == 'psnr' for how in NORMALISATIONS]


def test_one_class_has_no_figures(tmp_path, rng):
  metrics = example_metrics({'metrics.eq14.auc': None})
  text = written(tmp_path, example_report(rng, metrics=metrics))
  assert 'one class' in rows_of(text)['this run, without per-position calibration'][0]
  assert 'not defined' in text


def test_missing_labels_are_mentioned(tmp_path, rng):
  text = written(tmp_path, example_report(rng, labels=False))
  assert 'no labels' in text
  assert 'no AUC' in text
  assert '<tbody>' not in text


@pytest.mark.parametrize('target_rms', [0.0, 0.02])
def test_pictures_of_normalised_frames_are_described_as_such(tmp_path, rng, target_rms):
  metrics = example_metrics({'protocol.runs.0.input.target_rms': target_rms})
  text = written(tmp_path, example_report(rng, metrics=metrics))
  assert ('normalised for the network' in text) == (target_rms > 0)


def test_regions_have_their_rows(tmp_path, rng):
  regions = {
    'pixel_auc': 0.5,
    'rbdc': {'flat': 0.25, 'point': 0.3},
    'tbdc': {'flat': 0.6, 'point': 0.7},
    'rule': 'a rule of regions',
  }
  metrics = example_metrics({'regions': regions})
  text = written(tmp_path, example_report(rng, metrics=metrics))
  for words in ('50.0 %', '25.0 %', '70.0 %', 'a rule of regions'):
    assert words in text


def test_the_rank_regression_is_explained_where_there_is_one(tmp_path, rng):
  explained = 'Rank regression on the baselines'
  assert explained in written(tmp_path, example_report(rng))
  metrics = example_metrics({'rank_regression': None})
  assert explained not in written(tmp_path, example_report(rng, metrics=metrics))


def test_only_the_first_of_many_videos_are_drawn(tmp_path, rng, monkeypatch):
  monkeypatch.setattr(page, 'MAX_VIDEO_PLOTS', 2)
  text = written(tmp_path, example_report(rng, videos=5))
  assert '3 more videos' in text
  assert text.count('<div id=') == 1 + 2 + 1  # ROC, videos, loss
