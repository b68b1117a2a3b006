"""Calibration: choice of training videos, motion statistics, threshold."""

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import fields
from a3dcae_jax.data.frame_cache import CachedVideo
from a3dcae_jax.evaluation.calibrate import choose_videos, find_motion_statistics
from a3dcae_jax.evaluation.calibration import Calibration

VIDEOS = [CachedVideo('a', 0, 40, ''), CachedVideo('b', 40, 20, ''), CachedVideo('c', 60, 90, '')]


def names(**options):
  return [video.name for video in choose_videos(VIDEOS, window=16, **options)]


def test_videos_too_short_for_the_stride_are_left_out():
  assert names(max_windows=100, stride=2) == ['a', 'c']  # b has fewer than 32 frames
  assert names(max_windows=100, stride=6) == ['c']  # at stride 5, the largest that fits


def test_about_the_given_number_of_windows_is_chosen():
  chosen = choose_videos(VIDEOS, max_windows=10, window=16, step=4, stride=2)
  assert [(video.name, video.num_frames) for video in chosen] == [('a', 40)]


@pytest.mark.parametrize(('videos', 'window'), [([], 16), (VIDEOS, 91)])
def test_a_set_without_a_long_enough_video_is_refused(videos, window):
  with pytest.raises(UserError, match=rf'no training video calibrates.*\(={window}\)'):
    choose_videos(videos, max_windows=10, window=window)


class EmptyScorer:
  """A scorer whose reconstruction is zero."""

  def explain(self, clips, ids):
    return clips[..., None].astype(jnp.float32) / 255, jnp.zeros((*clips.shape, 1))


def test_clips_that_fill_a_batch_do_not_count():
  frames = np.random.default_rng(0).integers(0, 256, (40, 16, 16), np.uint8)
  rows = np.asarray([[0], [10], [32]]) + np.arange(8)
  ids = np.zeros(3, np.int32)
  whole = find_motion_statistics(EmptyScorer(), frames, rows, ids, batch_size=3)
  parts = find_motion_statistics(EmptyScorer(), frames, rows, ids, batch_size=2)
  assert whole.shape == (2, 8, 8)
  np.testing.assert_allclose(parts, whole, rtol=1e-5)


def test_a_calibration_by_hand():
  calibration = Calibration(
    source={},
    videos='training videos',
    stride=1,
    position_mean=np.float32([2, 4]),
    position_std=np.float32([1, 0]),
    windows=2,
    first_frames=(0,),
    num_frames=(4,),
    uncalibrated=np.array([1.0, 4.0, 3.0, 4.0]),
    per_position=np.array([0.5, 1.0, 1.5, 1.0]),
    motion_statistics=None,
  )
  options = fields.Eval(per_position=True)
  events = fields.Events(threshold_value=0.5)
  found = calibration.bundle_fields(options, events)
  std = np.std([0.5, 1, 1.5, 1])
  assert (found['mean'], found['windows'], found['frames']) == (1.0, 2, 4)
  assert found['position_mean'] == [2.0, 4.0]
  assert found['position_std'] == [1.0, 0.0]
  assert found['std'] == pytest.approx(std)
  assert found['threshold'] == 0.0
  assert found['score_quantiles']['1.0'] == pytest.approx(0.5 / std)
  np.testing.assert_array_equal(calibration.errors(False)[0], [1, 4, 3, 4])
