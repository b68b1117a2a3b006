"""Comparison of runs: one table for each protocol."""

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import write_json
from a3dcae_jax.report.compare import compare_text, group_runs, write_comparison
from a3dcae_jax.run.evaluate import compare_runs
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
  """In particular, centred smoothing looks ahead and causal smoothing does not."""
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


def test_folders_of_runs_are_compared_on_the_terminal_and_on_a_page(tmp_path, capsys):
  for name, changes in (('a', {}), ('b', {'data.label_set': 'hasan'})):
    write_json(tmp_path / name / 'metrics.json', example_metrics(changes))
  compare_runs([tmp_path / 'a', tmp_path / 'b'], page=tmp_path / 'compare.html')
  assert '90.0 / 10.0' in capsys.readouterr().out
  assert '2 different protocols' in (tmp_path / 'compare.html').read_text()


def test_folders_that_cannot_be_compared_are_named(tmp_path):
  write_json(tmp_path / 'a' / 'metrics.json', example_metrics())
  write_json(tmp_path / 'old' / 'metrics.json', example_metrics({'schema_version': 1}))
  with pytest.raises(UserError, match='two or more'):
    compare_runs([tmp_path / 'a'])
  with pytest.raises(UserError, match='does not exist'):
    compare_runs([tmp_path / 'a', tmp_path / 'none'])
  with pytest.raises(UserError, match='old/metrics.json: .*evaluate the run again'):
    compare_runs([tmp_path / 'a', tmp_path / 'old'])
