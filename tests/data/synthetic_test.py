"""The synthetic set: the same every time, labels that agree with each other, and hard for what learns nothing."""

import numpy as np
import pytest

from a3dcae_jax.data.ingest import prepare_cache
from a3dcae_jax.data.mean_image import mean_of_videos
from a3dcae_jax.data.synthetic import KINDS, SceneSpec, event_kind, synthetic_videos
from a3dcae_jax.scoring.assemble import split_by_video
from a3dcae_jax.scoring.baselines import baseline_errors
from a3dcae_jax.scoring.metrics import frame_metrics
from a3dcae_jax.scoring.normalisation import normalise


def frames_of(video):
  return np.stack(list(video.frames()))


def test_the_same_arguments_give_the_same_footage():
  one, two, other = (
    synthetic_videos('test', num_videos=1, frames_per_video=30, seed=seed)[0] for seed in (3, 3, 4)
  )
  np.testing.assert_array_equal(frames_of(one), frames_of(two))
  np.testing.assert_array_equal(frames_of(one), frames_of(one))
  assert not np.array_equal(frames_of(one), frames_of(other))


def test_labels_masks_and_tracks_agree():
  for video in synthetic_videos('test', num_videos=4, frames_per_video=60):
    masks = np.stack(list(video.masks()))
    np.testing.assert_array_equal(masks.any((1, 2)), video.labels['official'])
    assert {region.frame for region in video.tracks} == set(
      np.flatnonzero(video.labels['official']).tolist()
    )
    for region in video.tracks:
      assert masks[region.frame, region.y1 : region.y2, region.x1 : region.x2].any()
    outside = masks.copy()
    for region in video.tracks:
      outside[region.frame, region.y1 : region.y2, region.x1 : region.x2] = 0
    assert not outside.any()


def test_training_is_normal_and_every_kind_is_tested():
  assert not synthetic_videos('train', num_videos=1, frames_per_video=5)[0].labels
  assert {event_kind(SceneSpec(), video, track) for video in range(8) for track in range(2)} == set(
    KINDS
  )


@pytest.mark.slow
def test_neither_floor_solves_it(tmp_path):
  cache = prepare_cache('synthetic', root='', cache_dir=str(tmp_path), height=64, width=64)
  labels = split_by_video(cache.test.labels, cache.test.videos)
  assert 0.3 < cache.test.labels.mean() < 0.7
  for name, errors in baseline_errors(
    cache.test.frames, cache.test.videos, mean_of_videos(cache.train.frames, cache.train.videos)
  ).items():
    for how in ('none', 'eq14'):
      assert (
        frame_metrics(normalise(split_by_video(errors, cache.test.videos), how), labels)['auc']
        < 0.72
      ), (name, how)
