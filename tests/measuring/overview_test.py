"""Reports side by side: tables, comparisons of topologies, files."""

import json
import pathlib

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring import scale
from a3dcae_jax.measuring.columns import table
from a3dcae_jax.measuring.overview import brief, earlier_reports, overview, write_overview

BENCHMARKS = pathlib.Path(__file__).parents[2] / 'docs' / 'benchmarks'


def report(chips, **changes):
  """A report on a program that runs on `chips` v5e chips."""
  row = {
    'topology': f'v5e:1x{chips}',
    'chips': chips,
    'mode': 'train',
    'preset': 'paper',
    'batch': 8,
    'dtype': 'bfloat16',
    'gradient_dtype': 'bfloat16',
    'remat': 'none',
    'target_rms': 0.0,
    'gflops_per_clip': 100.0,
    'gb_per_clip': 2.0,
    'main_memory_gb_per_clip': 1.5,
    'memory_gb': 3.0,
    'memory_share': 0.25,
    'limited_by': 'FLOPs',
    'roofline_frames_per_s': 1930.4,
    'gradient_reductions': 1,
    'other_gradient_collectives': 2,
    'gradient_mb': 4.0,
    'statistics_reductions': 18,
    'statistics_mb': 0.1,
    'collective_s': 0.001,
    'collective_share': 0.02,
    'waited_share': 0.02,
    'overlapped': False,
    'compile_s': 60.0,
    'large_moves': [{}, {}],
  }
  return {**row, **changes}


def test_programs_that_scale_have_no_warnings():
  rows = scale.scale_rows([report(1), report(4, gflops_per_clip=104.0)])
  assert scale.warnings(rows) == []
  assert 'within 5 %' in scale.verdict(rows)[0]


def test_growing_bytes_and_waiting_chips_have_warnings():
  rows = scale.scale_rows(
    [
      report(16, gb_per_clip=2.2),
      report(1),
      report(4, waited_share=0.11),
      report(64, collective_share=0.5, waited_share=0.0, overlapped=True),
    ]
  )
  assert [row['chips'] for row in rows] == [1, 4, 16, 64]
  waiting, growing = scale.warnings(rows)
  assert waiting.startswith('v5e:1x4') and '11 %' in waiting
  assert growing.startswith('v5e:1x16: bytes per chip are 1.10 times')
  assert scale.verdict(rows) == [f'WARNING: {line}' for line in (waiting, growing)]


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_smaller_gradients_are_suggested_only_where_there_are_any(dtype):
  rows = scale.scale_rows([report(1), report(4, waited_share=0.2, gradient_dtype=dtype)])
  (warning,) = scale.warnings(rows)
  assert 'more clips per chip' in warning
  assert ('--dtype=bfloat16' in warning) == (dtype == 'float32')


def test_only_the_same_program_on_the_same_kind_of_chip_is_compared():
  rows = [
    report(1),
    report(4, topology='v6e:2x2'),
    report(4),
    report(16, preset='small'),
    report(1, topology='v6e:1x1'),
    report(1, preset='small', batch=4),
    report(1, preset='small', batch=4, gb_per_clip=3.0),  # the same topology, measured again
  ]
  groups = scale.scale_groups(rows)
  topologies = [[row['topology'] for row in group] for group in groups]
  assert topologies == [['v5e:1x1', 'v5e:1x4'], ['v6e:1x1', 'v6e:2x2']]


def test_a_table_has_a_line_for_each_report():
  rows = [report(1), report(4, preset='small')]
  head, _, first, second = overview(rows, markdown=True).splitlines()
  assert '| 25 |' in first and '1,930' in first
  assert 'small' in second
  assert head.count('|') == first.count('|')


def test_a_written_table_is_read_back_with_lists_as_lengths(tmp_path):
  rows = [report(1), report(4)]
  write_overview(f'{tmp_path}/table', rows)
  assert earlier_reports([tmp_path / 'table.json']) == [brief(row) for row in rows]
  assert brief(rows[0])['large_moves'] == 2
  assert overview(rows, markdown=True) in (tmp_path / 'table.md').read_text()


def test_a_written_comparison_has_a_table_for_each_group(tmp_path):
  groups = scale.scale_groups([report(1), report(4)])
  scale.write_comparison(f'{tmp_path}/scale', groups)
  assert json.loads((tmp_path / 'scale.json').read_text())['rows'] == groups[0]
  assert scale.scale_table(groups[0], markdown=True) in (tmp_path / 'scale.md').read_text()


@pytest.mark.parametrize('name', ['tpu_presets', 'tpu_v5e', 'tpu_v5e_batches', 'tpu_v6e'])
def test_the_reports_of_the_project_can_be_read(name):
  rows = earlier_reports([BENCHMARKS / f'{name}.json'])
  assert overview(rows).count('\n') == len(rows)


@pytest.mark.parametrize(
  ('content', 'rule'),
  [
    ({'rows': [{'mode': 'train', 'flops_ratio': 1.0}]}, 'row 0 has no preset, batch'),
    ({'rows': [1]}, 'row 0 has no mode'),
    ({}, 'holds no "rows"'),
    ([], 'holds no "rows"'),
  ],
)
def test_files_without_reports_are_refused_by_name(tmp_path, content, rule):
  path = tmp_path / 'comparison.json'
  path.write_text(json.dumps(content))
  with pytest.raises(UserError, match=f'comparison.json.*{rule}'):
    earlier_reports([path])


def test_tables_are_aligned():
  rows = [{'name': 'a', 'rate': 1234.5}, {'name': 'bcd', 'rate': None}]
  columns = (('name', '{name}'), ('rate', '{rate:,.1f}'), ('none', '{missing}'))
  assert table(rows, columns).splitlines() == [
    'name     rate  none',
    'a     1,234.5     -',
    'bcd         -     -',
  ]
  assert table(rows, columns, markdown=True).splitlines()[1:3] == [
    '|---|---|---|',
    '| a | 1,234.5 | - |',
  ]
