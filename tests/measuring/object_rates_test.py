"""The rates of detection and of measurement of objects."""

import pytest

from a3dcae_jax.measuring.object_rates import describe, measure_objects
from a3dcae_jax.run.datasets import open_cache
from tests.tiny_run import tiny


@pytest.mark.slow
def test_both_steps_are_timed(tmp_path):
  cache = open_cache(tiny(tmp_path, **{'data.height': 48, 'data.width': 48}).data)
  row = measure_objects(
    str(cache.folder), detector='foreground', variants='objects,tiny,six_layers', batch_size=2
  )
  assert row['detected_frames_per_s'] > 0
  assert row['objects_per_s'] > 0
  assert 'objects/s in batches of 2' in describe(row)
