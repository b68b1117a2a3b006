"""The measurements of input_pipeline: that they read what they say, and say what they read."""

import tempfile

import pytest

from a3dcae_jax.data.ingest import prepare_cache
from a3dcae_jax.measuring import input_pipeline
from tests.data.footage_helper import write_ucsd


@pytest.fixture
def root(tmp_path, rng):
  return write_ucsd(tmp_path / 'ped2', rng)


def test_ingest(root, tmp_path, monkeypatch):
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
  row = input_pipeline.measure_ingest('ucsd_ped2', root, height=12, width=18)
  assert row['frames'] == 80 and row['frames_per_s'] == pytest.approx(80 / row['seconds'])
  assert input_pipeline.line(row).startswith('ingest: 80 frames in ') and sorted(
    path.name for path in tmp_path.iterdir()
  ) == ['ped2']  # nothing is left


@pytest.mark.slow
def test_pipeline(root, tmp_path):
  cache = prepare_cache('ucsd_ped2', root=root, cache_dir=tmp_path / 'caches', height=12, width=18)
  row = input_pipeline.measure_pipeline(
    cache.folder, batch_size=4, window=4, seconds=0.05, warm_up_batches=1
  )
  assert row['frames'] == 40 and row['clips'] % 4 == 0 and row['clips'] > 0
  assert row['gb_per_s'] == pytest.approx(row['clips_per_s'] * 4 * 12 * 18 / 1e9)
  assert input_pipeline.line(row).startswith(
    'pipeline: '
  ) and 'of 40 frames' in input_pipeline.line(row)
