"""The validation cache: training videos stay, held-out ones become abnormal where their labels say so."""

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.data.ingest import prepare_cache
from tools.validation.pseudo_anomalies import KINDS, write_pseudo_cache


@pytest.fixture(scope='module')
def source(tmp_path_factory):
  return prepare_cache(
    'synthetic',
    root='',
    cache_dir=tmp_path_factory.mktemp('caches'),
    height=64,
    width=64,
    label_set='',
    options={'num_videos': 4, 'frames_per_video': 80},
  )


def test_held_out_videos_are_made_abnormal(tmp_path, source):
  made = FrameCache.open(write_pseudo_cache(source, tmp_path / 'pseudo', holdout=2))
  made.verify()
  kept = source.train.videos[:2]
  assert [v.name for v in made.train.videos] == [v.name for v in kept]
  np.testing.assert_array_equal(made.train.frames, source.train.frames[: len(made.train.frames)])
  assert len(made.test.videos) == 2 * len(KINDS) and made.index['label_set'] == 'pseudo'
  held = {v.name: v for v in source.train.videos[2:]}
  for video in made.test.videos:
    labels = made.test.labels[video.first : video.first + video.num_frames]
    assert 0 < labels.mean() < 1
    name, kind = video.name.rsplit('-', 1)
    if kind != 'rush':  # outside its labels, a video is as it was
      frames = made.test.frames[video.first : video.first + video.num_frames]
      before = source.train.frames[held[name].first : held[name].first + video.num_frames]
      np.testing.assert_array_equal(frames[labels == 0], before[labels == 0])
      assert all((frames[i] != before[i]).any() for i in np.flatnonzero(labels))


def test_holdout_must_leave_something(tmp_path, source):
  with pytest.raises(UserError, match='must leave some of the 4'):
    write_pseudo_cache(source, tmp_path / 'pseudo', holdout=4)
  assert not (tmp_path / 'pseudo').exists()


def test_chosen_kinds_are_made_several_times_and_mixed(tmp_path, source):
  made = FrameCache.open(
    write_pseudo_cache(
      source, tmp_path / 'pseudo', holdout=1, kinds=('large', 'fast'), copies=2, mixed=True, seed=3
    )
  )
  name = source.train.videos[-1].name
  assert [v.name for v in made.test.videos] == [
    f'{name}-large-1',
    f'{name}-large-2',
    f'{name}-fast-1',
    f'{name}-fast-2',
  ]
  assert 'made abnormal: fast (large fast); 2 copies each; mixed; seed 3' in made.index['layout']
  frames, labels = (
    [array[v.first : v.first + v.num_frames] for v in made.test.videos]
    for array in (made.test.frames, made.test.labels)
  )
  assert all(0.15 < each.mean() < 0.85 for each in labels)
  assert (frames[0] != frames[1]).any()  # a draw of its own


@pytest.mark.parametrize(
  'options, message',
  [
    ({'kinds': ('fast', 'slow')}, "^kinds: 'fast' has no slow; it has fast, large, rush$"),
    ({'copies': 0}, r'^copies \(=0\) must be at least 1$'),
    (
      {'movers': 'riders', 'kinds': ('walker',), 'mixed': True},
      '^50 draws gave no walker that is abnormal in 15% to 85% of the frames$',
    ),
  ],
)
def test_what_cannot_be_made_is_refused(tmp_path, source, options, message):
  with pytest.raises(UserError, match=message):
    write_pseudo_cache(source, tmp_path / 'pseudo', holdout=1, **options)
  assert not (tmp_path / 'pseudo').exists()
