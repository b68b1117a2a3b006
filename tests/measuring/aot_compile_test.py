"""What is read off programs compiled ahead: largest batch, scaling, tables; chips that are not known. The compilers need their extras."""

import importlib.util
import json
import subprocess
import sys

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring import aot_compile, chips, largest, scale
from a3dcae_jax.measuring.columns import table
from a3dcae_jax.measuring.links import sending_s
from a3dcae_jax.measuring.overview import brief, earlier_reports, overview
from a3dcae_jax.measuring.programs import Setting, check_setting


@pytest.mark.parametrize('first', [1, 3, 8, 64])
@pytest.mark.parametrize(
  'fixed, each, curve', [(100, 37, 0), (0, 1000, 0), (100, 10, 0.4), (5000, 1, 0)]
)
def test_largest_batch_is_found_in_few_compilations(first, fixed, each, curve):
  calls = []

  def measure(batch):
    calls.append(batch)
    used = fixed + each * batch + curve * batch**2
    return used if used < 2000 else None  # far beyond the limit the compiler gives up

  expected = max(
    (batch for batch in range(1001) if fixed + each * batch + curve * batch**2 <= 1000 and batch),
    default=0,
  )
  assert largest.search(measure, 1000, first=first) == expected
  assert len(set(calls)) == len(calls) <= 12


def test_a_straight_line_takes_four_compilations():
  calls = []
  assert (
    largest.search(lambda batch: calls.append(batch) or 100 + 37 * batch, 1000, first=8) == 24
    and len(calls) <= 4
  )


def test_what_was_compiled_before_is_not_compiled_again():
  setting, calls = Setting('train', 'paper', 8, 'bfloat16'), []
  rows = [
    setting._replace(batch=batch)._asdict() | {'topology': 'v5e:1x1', 'memory_gb': gb}
    for batch, gb in ((8, 8.7), (16, 15.0))
  ]
  tries = []
  known = largest.known_bytes(
    setting,
    'v5e:1x1',
    [*rows, rows[0] | {'topology': 'v6e:1x1'}, rows[0] | {'remat': 'blocks', 'batch': 9}],
    tries,
  )
  assert known == {8: 8_700_000_000, 16: 15_000_000_000} and tries == [
    [8, 8_700_000_000],
    [16, 15_000_000_000],
  ]
  line = lambda n: calls.append(n) or int(2.4e9 + 0.7875e9 * n)  # noqa: E731
  assert largest.search(line, 16 * 2**30, first=8, known=known) == 18 and sorted(calls) == [18, 19]
  assert largest.search(line, 16 * 2**30, known={18: 1, 19: None}) == 18 and len(calls) == 2


def test_which_memory_a_compiler_ran_out_of_is_said():
  chip = 'RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 17.2G of 15.7G hbm. op_name="jit(f)/conv1/conv"'
  assert aot_compile.out_of_memory(chip).startswith('out of memory; try a smaller --batch')
  kernel = (
    'RESOURCE_EXHAUSTED: Ran out of memory in memory space vmem while allocating on stack for %conv2.2 = (bf16[8]) custom-call(%x), '
    'metadata={op_name="jit(f)/conv2/pallas_call"}. Scoped allocation with size 16.01M and limit 16.00M exceeded scoped vmem limit'
  )
  assert aot_compile.out_of_memory(kernel).startswith(
    "a kernel does not fit on chip (jit(f)/conv2/pallas_call): not for want of the chip's memory"
  )


def report(chips_, **changes):
  return {
    'topology': f'v5e:1x{chips_}',
    'chips': chips_,
    'mode': 'train',
    'preset': 'paper',
    'batch': 8,
    'dtype': 'bfloat16',
    'reduce_dtype': 'float32',
    'remat': 'none',
    'target_rms': 0.0,
    'gflops_per_clip': 100.0,
    'gb_per_clip': 2.0,
    'memory_gb': 3.0,
    'gradient_reductions': 1,
    'gradient_mb': 4.0,
    'statistics_reductions': 18,
    'statistics_mb': 0.1,
    'collective_s': 0.001,
    'collective_share': 0.02,
    'overlapped': False,
    'compile_s': 60.0,
  } | changes


def test_what_does_not_scale_is_said():
  assert scale.warnings(scale.scale_rows([report(1), report(4, gflops_per_clip=104.0)])) == []
  rows = scale.scale_rows(
    [
      report(16, gb_per_clip=2.2),
      report(1),
      report(4, collective_share=0.11),
      report(64, collective_share=0.5, overlapped=True),
    ]
  )
  assert [row['chips'] for row in rows] == [1, 4, 16, 64]
  lines = scale.warnings(rows)
  assert (
    len(lines) == 2
    and lines[0].startswith('v5e:1x4: what is sent takes 11 %')
    and lines[1].startswith('v5e:1x16: bytes a chip are 1.10 times')
  )
  assert scale.verdict(scale.scale_rows([report(1), report(4)])) == [
    'FLOPs and bytes a chip stay within 5 %.'
  ]
  gpus = scale.scale_rows([report(1, gb_per_clip=None), report(4, gb_per_clip=None)])
  assert gpus[1]['flops_ratio'] is None and scale.verdict(gpus)[0].startswith('XLA counts neither')


def test_only_the_same_program_on_the_same_kind_of_chip_is_compared():
  rows = [
    report(1),
    report(4, topology='v6e:2x2'),
    report(4),
    report(16, preset='small'),
    report(1, topology='v6e:1x1'),
    report(1, preset='small', batch=4),
  ]
  assert [[row['topology'] for row in group] for group in scale.scale_groups(rows)] == [
    ['v5e:1x1', 'v5e:1x4'],
    ['v6e:1x1', 'v6e:2x2'],
  ]
  assert (
    'try more clips'
    in scale.warnings(
      scale.scale_rows([report(1), report(4, collective_share=0.2, reduce_dtype='bfloat16')])
    )[0]
  )


def test_reports_side_by_side():
  more = {
    'memory_share': 0.25,
    'limited_by': 'FLOPs',
    'roofline_frames_per_s': 1930.4,
    'large_moves': [{}, {}],
  }
  head, _, first, second = overview(
    [report(1, **more), report(4, preset='small', **more)], markdown=True
  ).splitlines()
  assert (
    '25' in first and '1,930' in first and 'small' in second and head.count('|') == first.count('|')
  )
  assert (
    brief(report(1, **more))['large_moves'] == 2 and brief(report(1, **more))['gb_per_clip'] == 2.0
  )


def test_reports_from_before_frames_were_normalised_join_the_tables(tmp_path):
  more = {'memory_share': 0.25, 'limited_by': 'FLOPs', 'roofline_frames_per_s': 1930.4}
  rows = [report(1, **more), report(4, **more)]
  for row in rows:
    del row['target_rms']
  (tmp_path / 'old.json').write_text(json.dumps({'rows': rows}))
  done = subprocess.run(
    [sys.executable, '-m', 'a3dcae_jax.aot', f'--earlier={tmp_path / "old.json"}'],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert 'remat none, reduce_dtype float32, target_rms 0.0; all figures a chip' in done.stdout


@pytest.mark.parametrize(
  ('content', 'rule'),
  [
    ({'rows': [report(1) | {'flops_ratio': 1.0}]}, 'row 0 has no memory_share, limited_by'),
    ({'rows': [1]}, 'row 0 has no mode'),
    ({}, 'holds no "rows"'),
    ([], 'holds no "rows"'),
  ],
)
def test_files_that_hold_no_reports_are_refused_by_name(tmp_path, content, rule):
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


def test_what_is_sent_is_counted_by_purpose():
  sent = [
    {'purpose': 'gradients', 'opcode': 'all-reduce', 'bytes': 4e9, 'overlapped': True},
    {'purpose': 'gradients', 'opcode': 'all-gather-start', 'bytes': 1e9, 'overlapped': True},
    {'purpose': 'statistics', 'opcode': 'all-reduce', 'bytes': 0, 'overlapped': False},
  ]
  found = aot_compile.reductions(sent, 'v5e:2x2', 1.0)
  assert (
    found['collective_s'] == pytest.approx((4e9 * 2 * 3 / 4 + 1e9 * 3 / 4) / 200e9)
    and found['overlapped']
  )
  assert (
    found['gradient_reductions'],
    found['gradient_exchanges'],
    found['statistics_reductions'],
    found['gradient_mb'],
  ) == (1, 1, 1, 5000)
  sent[0]['overlapped'] = False
  assert aot_compile.reductions(sent, 'v5e:2x2', 1.0)['waited_share'] == pytest.approx(
    4e9 * 2 * 3 / 4 / 200e9
  )


@pytest.mark.parametrize(
  ('opcode', 'topology', 'seconds'),
  [
    ('all-reduce-start', 'v5e:4x4', 2 * 15 / 16 / 200),
    ('all-gather', 'h200:1x8', 7 / 8 / 450),
    ('reduce-scatter', 'v5e:2x2', 3 / 200),
    ('all-to-all', 'h200:1x8', 7 / 8 / 450),
    ('all-to-all', 'v5e:1x1', 0),
    ('all-to-all', 'v5e:2x2', 4 / 4 / (2 * 50)),  # two links of 50 GB/s between the halves
    ('all-to-all', 'v5e:16x16', 256 / 4 / (32 * 50)),  # sixteen rows, each a ring that is cut twice
    ('all-to-all', 'v5p:2x2x4', 16 / 4 / (2 * 4 * 100)),
  ],
)
def test_time_at_the_links_rate_by_hand(opcode, topology, seconds):
  assert sending_s(opcode, 1e9, topology) == pytest.approx(seconds)


@pytest.mark.parametrize('name', ['v5e', 'v9:1x1', 'v5e:0x1', 'h200:axb'])
def test_unknown_topologies_are_named(name):
  with pytest.raises(UserError, match=f"--topology '{name}': write KIND:GRID"):
    chips.topology_devices(name)


@pytest.mark.parametrize(
  'name, plugin, extra', [('v5e:2x2', 'libtpu', 'tpu'), ('h200:1x1', 'jax_cuda12_plugin', 'cuda12')]
)
def test_a_compiler_that_is_not_installed_is_named(name, plugin, extra):
  if importlib.util.find_spec(plugin):
    pytest.skip(f'{plugin} is installed')
  with pytest.raises(UserError, match=rf"--topology '{name}': .*pip install -e '[.]\[{extra}\]'"):
    chips.topology_devices(name)


@pytest.mark.skipif(
  importlib.util.find_spec('jax_cuda12_plugin') is None, reason='needs the extra cuda12, and no GPU'
)
def test_a_gpu_that_is_not_there():
  row = aot_compile.report(Setting('infer', 'tiny', 1, 'bfloat16'), 'h200:1x1')
  assert (
    row['fits']
    and row['model_gflops_per_clip'] > 0
    and any('cudnn' in kernel['kind'] for kernel in row['kernels'])
  )


@pytest.mark.parametrize(
  'changes, field',
  [
    ({'mode': 'trane'}, 'modes'),
    ({'preset': 'big'}, 'preset'),
    ({'conv_algorithm': 'fft'}, 'conv_algorithm'),
    ({'batch': 0}, 'batch'),
    ({'target_rms': 2.0}, 'target_rms'),
  ],
)
def test_impossible_settings_are_named(changes, field):
  with pytest.raises(UserError, match=f'--{field} '):
    check_setting(Setting('infer', 'tiny', 1)._replace(**changes))
