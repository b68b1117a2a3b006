"""Runs side by side: one table for each protocol."""

import pytest

from a3dcae_jax.report.compare import compare_text, group_runs, write_comparison
from tests.scoring.example import example_metrics


def named_groups(runs):
  return [[name for name, _ in group] for group in group_runs(list(runs.items()))]


def test_runs_of_one_protocol_share_a_table():
  runs = {'a': example_metrics(), 'b': example_metrics({'seed': 1})}
  assert named_groups(runs) == [['a', 'b']]
  text = compare_text(group_runs(list(runs.items())))
  assert text.count('90.0 / 10.0') == 10
  assert text.count('baseline: frame difference') == 1
  assert 'different protocols' not in text


@pytest.mark.parametrize(
  'field, value',
  [
    ('data.label_set', 'hasan'),
    ('protocol.smoothing.mode', 'causal'),
    ('protocol.runs.0.windows.stride', 3),
    ('protocol.runs.0.input.mean_image', 'video'),
    ('protocol.runs.0.error.masked_frames', {'period': 8, 'length': 3}),
  ],
)
def test_runs_of_different_protocols_never_share_a_table(field, value):
  """Above all, centred smoothing looks ahead and causal smoothing does not."""
  runs = {
    'a': example_metrics(),
    'b': example_metrics({field: value}),
    'c': example_metrics({'seed': 1}),
  }
  assert named_groups(runs) == [['a', 'c'], ['b']]
  text = compare_text(group_runs(list(runs.items())))
  assert '2 different protocols' in text
  assert text.count('AUC / EER') == 2


def test_the_page_has_one_table_for_each_protocol(tmp_path):
  runs = {
    'runs/a': example_metrics(),
    'runs/<b>': example_metrics({'protocol.smoothing.mode': 'causal'}),
  }
  write_comparison(tmp_path / 'compare.html', group_runs(list(runs.items())))
  text = (tmp_path / 'compare.html').read_text()
  assert text.count('<table>') == 2
  assert '<strong>These runs have 2 different protocols' in text
  assert 'runs/&lt;b&gt;' in text
