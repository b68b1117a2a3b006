"""Packed frame caches are unpacked exactly, or nearly so from JPEGs."""

import numpy as np
import pytest

from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.data.ingest import prepare_cache
from tools import pack_cache


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return prepare_cache(
    'synthetic',
    root='',
    cache_dir=str(tmp_path_factory.mktemp('caches')),
    height=32,
    width=32,
    options={'num_videos': 2, 'frames_per_video': 40},
  )


@pytest.mark.parametrize('quality', [0, 95])
def test_a_packed_cache_is_unpacked(tmp_path, cache, quality):
  packed = tmp_path / 'packed.npz'
  pack_cache.pack(cache.folder, packed, quality)
  pack_cache.unpack(packed, tmp_path / 'again')
  again = FrameCache.open(tmp_path / 'again')
  again.verify()
  difference = np.abs(again.train.frames.astype(int) - cache.train.frames)
  if quality == 0:
    assert difference.max() == 0
  else:
    assert difference.mean() < 2
  assert again.train.videos == cache.train.videos
  np.testing.assert_array_equal(again.test.labels, cache.test.labels)
  np.testing.assert_array_equal(again.test.masks, cache.test.masks)
  assert 'packed as' in again.index['layout']


def test_a_missing_cache_is_named(tmp_path, capsys):
  status = pack_cache.main(['pack', str(tmp_path / 'none'), str(tmp_path / 'packed.npz')])
  assert status == 2
  assert 'none' in capsys.readouterr().err
