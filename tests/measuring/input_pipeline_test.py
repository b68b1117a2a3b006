"""Rates at which videos are read."""

import tempfile

import pytest

from a3dcae_jax.data.ingest import prepare_cache
from a3dcae_jax.measuring import input_pipeline
from tests.data.dummy_sets import write_ucsd


@pytest.fixture
def root(tmp_path, rng):
  return write_ucsd(tmp_path / 'ped2', rng)


def test_ingest_counts_all_frames_and_leaves_nothing_behind(root, tmp_path, monkeypatch):
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
  row = input_pipeline.measure_ingest('ucsd_ped2', root, height=12, width=18)
  assert row['frames'] == 80
  assert row['frames_per_s'] == pytest.approx(80 / row['seconds'])
  assert '80 frames' in input_pipeline.describe(row)
  assert [path.name for path in tmp_path.iterdir()] == ['ped2']


@pytest.mark.slow  # imports TensorFlow
def test_the_pipeline_counts_whole_batches_of_training_clips(root, tmp_path):
  cache = prepare_cache('ucsd_ped2', root=root, cache_dir=tmp_path / 'caches', height=12, width=18)
  row = input_pipeline.measure_pipeline(
    cache.folder, batch_size=4, window=4, seconds=0.05, warm_up_batches=1
  )
  assert row['frames'] == 40
  assert row['clips'] > 0
  assert row['clips'] % 4 == 0
  assert row['gb_per_s'] == pytest.approx(row['clips_per_s'] * 4 * 12 * 18 / 1e9)
  assert '18x12' in input_pipeline.describe(row)
