"""The validation store: training videos stay, held-out ones become abnormal where their labels say so."""

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.ingest import prepare_store
from a3dcae_jax.data.pseudo import KINDS, write_pseudo_store
from a3dcae_jax.data.store import FrameStore


@pytest.fixture(scope='module')
def source(tmp_path_factory):
  return prepare_store('synthetic', root='', store_dir=tmp_path_factory.mktemp('stores'), height=64, width=64, label_set='',
                       options={'num_videos': 4, 'frames_per_video': 80})


def test_held_out_videos_are_made_abnormal(tmp_path, source):
  made = FrameStore.open(write_pseudo_store(source, tmp_path / 'pseudo', holdout=2))
  made.verify()
  kept = source.train.videos[:2]
  assert [v.name for v in made.train.videos] == [v.name for v in kept]
  np.testing.assert_array_equal(made.train.frames, source.train.frames[:len(made.train.frames)])
  assert len(made.test.videos) == 2 * len(KINDS) and made.index['label_set'] == 'pseudo'
  held = {v.name: v for v in source.train.videos[2:]}
  for video in made.test.videos:
    labels = made.test.labels[video.first:video.first + video.num_frames]
    assert 0 < labels.mean() < 1
    name, kind = video.name.rsplit('-', 1)
    if kind != 'rush':  # outside its labels, a video is as it was
      frames = made.test.frames[video.first:video.first + video.num_frames]
      before = source.train.frames[held[name].first:held[name].first + video.num_frames]
      np.testing.assert_array_equal(frames[labels == 0], before[labels == 0])
      assert all((frames[i] != before[i]).any() for i in np.flatnonzero(labels))


def test_holdout_must_leave_something(tmp_path, source):
  with pytest.raises(UserError, match='must leave some of the 4'):
    write_pseudo_store(source, tmp_path / 'pseudo', holdout=4)
  assert not (tmp_path / 'pseudo').exists()
