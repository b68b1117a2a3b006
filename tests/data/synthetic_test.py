"""The synthetic set: reproducible, consistent, and not solved by the baselines."""

import numpy as np
import pytest

from a3dcae_jax.data.ingest import prepare_cache
from a3dcae_jax.data.mean_image import mean_of_videos
from a3dcae_jax.data.synthetic import EVENT_TYPES, SceneSpec, event_type, synthetic_videos
from a3dcae_jax.scoring.assemble import split_by_video
from a3dcae_jax.scoring.baselines import baseline_errors
from a3dcae_jax.scoring.metrics import frame_metrics
from a3dcae_jax.scoring.normalisation import normalise


def frames_of(video):
  return np.stack(list(video.frames()))


def draw_video(seed):
  return synthetic_videos('test', num_videos=1, frames_per_video=12, seed=seed)[0]


def test_the_same_arguments_give_the_same_videos():
  video = draw_video(seed=3)
  np.testing.assert_array_equal(frames_of(video), frames_of(draw_video(seed=3)))
  np.testing.assert_array_equal(frames_of(video), frames_of(video))
  assert not np.array_equal(frames_of(video), frames_of(draw_video(seed=4)))


def test_labels_masks_and_tracks_agree():
  for video in synthetic_videos('test', num_videos=4, frames_per_video=60):
    masks = np.stack(list(video.masks()))
    labels = video.labels['official']
    np.testing.assert_array_equal(masks.any((1, 2)), labels)
    frames = {region.frame for region in video.tracks}
    assert frames == set(np.flatnonzero(labels).tolist())
    outside = masks.copy()
    for region in video.tracks:
      pixels = np.s_[region.frame, region.y1 : region.y2, region.x1 : region.x2]
      assert masks[pixels].any()
      outside[pixels] = 0
    assert not outside.any()


def test_training_videos_have_no_labels_and_every_event_type_is_tested():
  assert not synthetic_videos('train', num_videos=1, frames_per_video=5)[0].labels
  tested = {event_type(SceneSpec(), video, track) for video in range(8) for track in range(2)}
  assert tested == set(EVENT_TYPES)


@pytest.mark.slow
def test_no_baseline_solves_the_synthetic_set(tmp_path):
  cache = prepare_cache('synthetic', root='', cache_dir=tmp_path, height=64, width=64)
  test = cache.test
  labels = split_by_video(test.labels, test.videos)
  assert 0.3 < test.labels.mean() < 0.7
  mean_image = mean_of_videos(cache.train.frames, cache.train.videos)
  ids = np.zeros(len(test.videos), int)
  baselines = baseline_errors(test.frames, test.videos, mean_image[None], ids)
  assert len(baselines) == 2
  for name, errors in baselines.items():
    for normalisation in ('raw', 'eq14'):
      scores = normalise(split_by_video(errors, test.videos), normalisation)
      assert frame_metrics(scores, labels)['auc'] < 0.72, (name, normalisation)
