"""The GPU script, tried on the CPU with tiny settings: every part runs and leaves its file."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.data.ingest import prepare_cache
from tools import conv_rates, pack_cache

ROOT = pathlib.Path(__file__).parents[2]
PEER = """import argparse, json
p = argparse.ArgumentParser()
for name in 'mode preset size batch dtype reps layout'.split(): p.add_argument('--' + name)
print(json.dumps({'clips_per_s': 2.0} | vars(p.parse_args())))
"""


@pytest.fixture
def cache(tmp_path):
  options = {'num_videos': 2, 'frames_per_video': 40}
  return prepare_cache(
    'synthetic', root='', cache_dir=str(tmp_path / 'caches'), height=32, width=32, options=options
  )


@pytest.mark.parametrize('quality', [0, 95])
def test_a_packed_cache_comes_back(tmp_path, cache, quality):
  pack_cache.pack(cache.folder, tmp_path / 'packed.npz', quality)
  pack_cache.unpack(tmp_path / 'packed.npz', tmp_path / 'again')
  again = FrameCache.open(tmp_path / 'again')
  again.verify()
  difference = np.abs(again.train.frames.astype(int) - cache.train.frames)
  assert difference.max() == 0 if quality == 0 else difference.mean() < 2
  np.testing.assert_array_equal(again.test.labels, cache.test.labels)
  np.testing.assert_array_equal(again.test.masks, cache.test.masks)
  assert 'packed as' in again.index['layout']


@pytest.mark.slow
def test_the_script_measures_and_trains(tmp_path, cache):
  pack_cache.pack(cache.folder, tmp_path / 'packed.npz', 95)
  (tmp_path / 'peer.py').write_text(PEER)
  out = tmp_path / 'out'
  environment = os.environ | {
    'CACHE': str(tmp_path / 'packed.npz'),
    'OUT': str(out),
    'PEER': str(tmp_path / 'peer.py'),
    'PEER_OPTIONS': '',
    'LIMIT_S': '600',
    'PRESET': 'tiny',
    'CHECK_PRESET': 'tiny',
    'BATCHES': '2',
    'TRAIN_BATCHES': '2',
    'REPS': '1',
    'PAIRS': '1',
    'CONFIG': 'configs/synthetic.py:tiny',
    'PYTHON': sys.executable,
    'FLAG_SETS': 'none',
    'LAYOUTS': 'ncdhw',
    'SKIP': 'rates conv_algorithm phases remat',
    'PROFILE': '2:3',
  }
  result = subprocess.run(
    ['bash', 'tools/gpu_check.sh'],
    cwd=ROOT,
    env=environment,
    capture_output=True,
    text=True,
    timeout=500,
    check=False,
  )
  assert result.returncode == 0, result.stdout[-3000:]
  assert json.loads((out / 'check.json').read_text())['passed']
  for mode in ('infer', 'train'):
    (alone,) = json.loads((out / f'{mode}.json').read_text())['rows']
    (row,) = json.loads((out / f'{mode}_peer_ncdhw.json').read_text())['rows']
    assert 'peer' not in alone and row['batch'] == alone['batch'] == 2
    assert row['peer']['layout'] == 'ncdhw'
    assert (
      row['mode'] == mode
      and row['peer']['dtype'] == 'f32'
      and row['ratio'] == pytest.approx(row['clips_per_s'] / 2)
    )
  assert [
    row['input_pipeline'] for row in json.loads((out / 'input_pipeline.json').read_text())['rows']
  ] == [
    'none',
    'device_cached',
  ]
  assert json.loads((out / 'flags_none.json').read_text())['rows'][0]['mode'] == 'train'
  with tarfile.open(out / 'results.tgz') as results:
    assert {'./train.json', './check.json', './run/metrics.json', './kernels.json'} <= set(
      results.getnames()
    )
  kernels = json.loads((out / 'kernels.json').read_text())
  assert [row['step'] for row in kernels['updates']] == [2, 3] and kernels['kernels'][0]['ms'] > 0
  assert json.loads((out / 'run' / 'metrics.json').read_text())['checkpoint_step'] == 4
  assert (
    json.loads((out / 'kernels_train.json').read_text())['kernels'][0]['ms'] > 0
    and 'ENTRY' in (out / 'train.hlo').read_text()
  )


STAND_IN = """#!{python}
from tools import pack_cache
import json, os, sys
if sys.argv[1] == '-':
  sys.argv = sys.argv[1:]
  exec(sys.stdin.read() if len(sys.argv) > 1 else '')
elif 'a3dcae_jax.benchmark' in sys.argv:
  flags = dict(flag[2:].split('=', 1) for flag in sys.argv[3:])
  rows = [dict(flags, batch=int(batch), frames_per_s=speed) for batch, speed in zip(flags['batch'].split(','), (1.0, 3.0, 2.0))]
  json.dump(dict(rows=rows, xla_flags=os.environ.get('XLA_FLAGS')), open(flags['json'], 'w'))
"""


@pytest.mark.skipif(shutil.which('bash') is None, reason='no bash')
def test_the_fastest_batch_is_what_everything_else_is_measured_at(tmp_path):
  """With a stand-in for Python that notes what it is asked for: every part, in order, and its flags."""
  (tmp_path / 'python').write_text(STAND_IN.format(python=sys.executable))
  (tmp_path / 'python').chmod(0o755)
  out = tmp_path / 'out'
  environment = os.environ | {
    'OUT': str(out),
    'PYTHON': str(tmp_path / 'python'),
    'PEER': 'peer.py',
    'PEER_PYTHON': 'other',
    'LIMIT_S': '600',
    'FLAG_SETS': 'none latency_hiding',
  }
  result = subprocess.run(
    ['bash', 'tools/gpu_check.sh'],
    cwd=ROOT,
    env=environment,
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )
  assert result.returncode == 0 and 'LEFT OUT' not in result.stdout, result.stdout + result.stderr
  names = [
    line.split()[1] for line in result.stdout.splitlines() if line.startswith('== benchmark_')
  ]
  assert names[:4] == [
    'benchmark_infer',
    'benchmark_train',
    'benchmark_train_peer_ndhwc',
    'benchmark_infer_peer_ndhwc',
  ]
  rows = {path.stem: json.loads(path.read_text())['rows'] for path in out.glob('*.json')}
  assert [row['batch'] for row in rows['infer']] == [16, 32, 64]
  assert {
    row[0]['batch'] for name, row in rows.items() if name not in ('infer', 'train', 'remat')
  } == {32}
  assert rows['infer_peer_ncdhw'][0]['peer_options'] == '--layout ncdhw'
  assert (
    rows['infer_peer_ncdhw_compiled'][0]['peer_options'] == '--compile max-autotune --layout ncdhw'
  )
  assert rows['train_peer_ndhwc'][0]['peer_python'] == 'other'
  assert (
    rows['train_folded'][0]['conv_algorithm'] == 'folded'
    and rows['infer_not_split'][0]['polyphase'] == 'false'
    and rows['remat'][0]['remat'] == 'blocks'
  )
  flags = json.loads((out / 'flags_latency_hiding.json').read_text())['xla_flags']
  assert flags.endswith('--xla_gpu_enable_latency_hiding_scheduler=true')
  with tarfile.open(out / 'results.tgz') as results:
    assert {f'./{name}.json' for name in rows} <= set(results.getnames())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('bash') is None, reason='no bash')
def test_what_the_time_does_not_allow_is_left_out_and_said(tmp_path):
  environment = os.environ | {
    'OUT': str(tmp_path / 'out'),
    'LIMIT_S': '1',
    'PYTHON': 'true',
  }  # `true` does nothing, quickly
  result = subprocess.run(
    ['bash', 'tools/gpu_check.sh'],
    cwd=ROOT,
    env=environment,
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )
  assert (
    result.returncode == 0
    and 'LEFT OUT: benchmark_infer benchmark_train trace_infer trace_train check rates benchmark_infer_folded'
    in result.stdout
  )
  assert 'benchmark_flags_latency_hiding' in result.stdout and not list(
    (tmp_path / 'out').glob('*.json')
  )


def test_sets_of_flags_are_named_once_and_explained():
  rows = [
    [cell.strip() for cell in line.split('|')]
    for line in (ROOT / 'tools' / 'xla_flags').read_text().splitlines()
    if not line.startswith('#')
  ]
  assert all(len(row) == 4 and all(row[:1] + row[2:]) for row in rows) and len(
    {row[0] for row in rows}
  ) == len(rows)
  assert rows[0][:2] == ['none', ''] and all(
    flag.startswith('--xla_') for row in rows for flag in row[1].split()
  )


@pytest.mark.slow
def test_xla_knows_the_flags():
  flags = ' '.join(
    line.split('|')[1].strip()
    for line in (ROOT / 'tools' / 'xla_flags').read_text().splitlines()
    if not line.startswith('#')
  )
  result = subprocess.run(
    [sys.executable, '-c', 'import jax; jax.jit(lambda x: x + 1)(1)'],
    env=os.environ | {'XLA_FLAGS': flags},
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert result.returncode == 0, result.stderr[-500:]


@pytest.mark.skipif(shutil.which('bash') is None, reason='no bash')
def test_scripts_parse():
  for script in (*ROOT.glob('launch/*.sh'), ROOT / '.ci' / 'run'):
    subprocess.run(['bash', '-n', str(script)], check=True)


def test_every_lowering_of_every_convolution_is_timed(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(
    conv_rates, 'LAYERS', (('conv2', (2, 4, 4), 2, 3), ('deconv4', (2, 4, 4), 3, 2))
  )
  conv_rates.main(
    [
      f'--json={tmp_path}/rates.json',
      '--batch=1',
      '--reps=1',
      '--conv_algorithms=direct,folded,wrong',
    ]
  )
  rows = json.loads((tmp_path / 'rates.json').read_text())['rows']
  every, pooled = {'forward', 'input', 'kernel'}, {'as_used', 'float32'}  # a pool follows the first
  assert [(row['layer'], row['conv_algorithm'], set(row['seconds'])) for row in rows] == [
    ('conv2', 'direct', every),
    ('conv2', 'folded', every),
    ('conv2', 'pooled', pooled),
    ('deconv4', 'direct', every),
    ('deconv4', 'folded', every),
  ]
  assert 'wrong   ValueError' in capsys.readouterr().out
