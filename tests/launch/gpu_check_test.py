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

from a3dcae_jax.data.ingest import prepare_store
from a3dcae_jax.data.store import FrameStore
from launch import pack_store

ROOT = pathlib.Path(__file__).parents[2]
PEER = """import argparse, json
p = argparse.ArgumentParser()
for name in 'mode preset size batch dtype reps layout'.split(): p.add_argument('--' + name)
print(json.dumps({'clips_per_s': 2.0} | vars(p.parse_args())))
"""


@pytest.fixture
def store(tmp_path):
  options = {'num_videos': 2, 'frames_per_video': 40}
  return prepare_store('synthetic', root='', store_dir=str(tmp_path / 'stores'), height=32, width=32, options=options)


@pytest.mark.parametrize('quality', [0, 95])
def test_a_packed_store_comes_back(tmp_path, store, quality):
  pack_store.pack(store.folder, tmp_path / 'packed.npz', quality)
  pack_store.unpack(tmp_path / 'packed.npz', tmp_path / 'again')
  again = FrameStore.open(tmp_path / 'again')
  again.verify()
  difference = np.abs(again.train.frames.astype(int) - store.train.frames)
  assert difference.max() == 0 if quality == 0 else difference.mean() < 2
  np.testing.assert_array_equal(again.test.labels, store.test.labels)
  np.testing.assert_array_equal(again.test.masks, store.test.masks)
  assert 'packed as' in again.index['layout']


@pytest.mark.slow
def test_the_script_measures_and_trains(tmp_path, store):
  pack_store.pack(store.folder, tmp_path / 'packed.npz', 95)
  (tmp_path / 'peer.py').write_text(PEER)
  out = tmp_path / 'out'
  environment = os.environ | {
      'STORE': str(tmp_path / 'packed.npz'), 'OUT': str(out), 'PEER': str(tmp_path / 'peer.py'), 'PEER_OPTIONS': '', 'LIMIT_S': '600', 'PRESET': 'tiny',
      'CHECK_PRESET': 'tiny', 'BATCHES': '2', 'TRAIN_BATCHES': '2', 'REPS': '1', 'PAIRS': '1', 'CONFIG': 'configs/synthetic.py:tiny', 'PYTHON': sys.executable,
      'FLAG_SETS': 'none', 'LAYOUTS': 'ncdhw', 'SKIP': 'lowering phases remat', 'PROFILE': '2:3'}
  result = subprocess.run(['bash', 'launch/gpu_check.sh'], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False)
  assert result.returncode == 0, result.stdout[-3000:]
  assert json.loads((out / 'check.json').read_text())['passed']
  for mode in ('infer', 'train'):
    alone, = json.loads((out / f'{mode}.json').read_text())['rows']
    row, = json.loads((out / f'{mode}_peer_ncdhw.json').read_text())['rows']
    assert 'peer' not in alone and row['batch'] == alone['batch'] == 2
    assert row['peer']['layout'] == 'ncdhw'
    assert row['mode'] == mode and row['peer']['dtype'] == 'f32' and row['ratio'] == pytest.approx(row['clips_per_s'] / 2)
  assert [row['feeding'] for row in json.loads((out / 'feeding.json').read_text())['rows']] == ['none', 'resident']
  assert json.loads((out / 'flags_none.json').read_text())['rows'][0]['mode'] == 'train'
  with tarfile.open(out / 'results.tgz') as results:
    assert {'./train.json', './check.json', './run/metrics.json', './kernels.json'} <= set(results.getnames())
  kernels = json.loads((out / 'kernels.json').read_text())
  assert [row['step'] for row in kernels['updates']] == [2, 3] and kernels['kernels'][0]['ms'] > 0
  assert json.loads((out / 'run' / 'metrics.json').read_text())['checkpoint_step'] == 4


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('bash') is None, reason='no bash')
def test_what_the_time_does_not_allow_is_left_out_and_said(tmp_path):
  environment = os.environ | {'OUT': str(tmp_path / 'out'), 'LIMIT_S': '1', 'PYTHON': 'true'}  # `true` does nothing, quickly
  result = subprocess.run(['bash', 'launch/gpu_check.sh'], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
  assert result.returncode == 0 and 'LEFT OUT: benchmark_infer benchmark_train check benchmark_infer_folded' in result.stdout
  assert 'benchmark_flags_latency_hiding' in result.stdout and not list((tmp_path / 'out').glob('*.json'))


def test_sets_of_flags_are_named_once_and_explained():
  rows = [[cell.strip() for cell in line.split('|')] for line in (ROOT / 'launch' / 'xla_flags').read_text().splitlines() if not line.startswith('#')]
  assert all(len(row) == 4 and all(row[:1] + row[2:]) for row in rows) and len({row[0] for row in rows}) == len(rows)
  assert rows[0][:2] == ['none', ''] and all(flag.startswith('--xla_') for row in rows for flag in row[1].split())


@pytest.mark.slow
def test_xla_knows_the_flags():
  flags = ' '.join(line.split('|')[1].strip() for line in (ROOT / 'launch' / 'xla_flags').read_text().splitlines() if not line.startswith('#'))
  result = subprocess.run([sys.executable, '-c', 'import jax; jax.jit(lambda x: x + 1)(1)'], env=os.environ | {'XLA_FLAGS': flags},
                          capture_output=True, text=True, timeout=120, check=False)
  assert result.returncode == 0, result.stderr[-500:]


@pytest.mark.skipif(shutil.which('bash') is None, reason='no bash')
def test_scripts_parse():
  for script in (*ROOT.glob('launch/*.sh'), ROOT / '.ci' / 'run'):
    subprocess.run(['bash', '-n', str(script)], check=True)
