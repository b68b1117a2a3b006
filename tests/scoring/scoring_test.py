"""Errors, normalisations, metrics, baselines, files: by hand first, then against brute force."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import CachedVideo
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.scoring import metrics
from a3dcae_jax.scoring.assemble import frame_vector, split_by_video
from a3dcae_jax.scoring.baselines import NORMALISED, baseline_errors
from a3dcae_jax.scoring.errors import (
  block_errors,
  error_maps,
  frame_errors,
  motion_maps,
  smoothed_errors,
)
from a3dcae_jax.scoring.normalisation import NORMALISATIONS, normalise, smooth
from a3dcae_jax.scoring.tables import read_scores, write_scores


def test_eq13_by_hand():
  clips = jnp.zeros((1, 2, 2, 2, 1))
  recon = jnp.asarray([[1.0, 1.0], [0.0, 0.0]]).reshape(1, 1, 2, 2, 1) * jnp.asarray(
    [1.0, 2.0]
  ).reshape(1, 2, 1, 1, 1)
  np.testing.assert_allclose(frame_errors(error_maps(clips, recon)), [[0.5, 2.0]])


def test_motion_maps_by_hand():
  """Frames 0, 1, 3 of one pixel: differences 1 (taken for the first frame too) and 2."""
  clips = jnp.asarray([0.0, 1.0, 3.0]).reshape(1, 3, 1, 1, 1)
  np.testing.assert_allclose(motion_maps(jnp.full((1, 3, 1, 1), 5.0), clips).ravel(), [5, 5, 20])


def test_block_errors_find_the_largest_block(rng):
  maps = rng.random((2, 3, 8, 12)).astype(np.float32)
  blocks = [
    maps[:, :, i : i + 4, j : j + 4].mean((2, 3)) for i in range(0, 5, 2) for j in range(0, 9, 2)
  ]
  np.testing.assert_allclose(block_errors(jnp.asarray(maps), 4), np.max(blocks, 0), rtol=1e-5)


def test_normalisations_by_hand():
  errors = [np.asarray([1.0, 2.0, 4.0]), np.asarray([3.0, 3.0])]
  expected = {
    'eq14': [[0, 0.25, 0.75], [0, 0]],
    'minmax': [[0, 1 / 3, 1], [0, 0]],
    'psnr': [[0, 0.5, 1], [0, 0]],
    'none': [[1, 2, 4], [3, 3]],
    'train': [[-1, 0, 2], [1, 1]],
  }
  assert set(expected) == set(NORMALISATIONS)
  for how, values in expected.items():
    for got, want in zip(
      normalise(errors, how, train_mean=2.0, train_std=1.0), values, strict=True
    ):
      np.testing.assert_allclose(got, want)
  np.testing.assert_array_equal(normalise([np.zeros(3)], 'eq14')[0], 0)


def test_psnr_turned_over_is_that_of_the_field(rng):
  errors = rng.random(20) + 1e-3
  psnr = 10 * np.log10(1 / errors)
  np.testing.assert_allclose(
    normalise([errors], 'psnr')[0], 1 - (psnr - psnr.min()) / np.ptp(psnr), atol=1e-12
  )
  np.testing.assert_allclose(
    normalise([np.asarray([0.0, 1e-5, 1.0])], 'psnr')[0], [0, 0.5, 1]
  )  # no error is 100 dB


@pytest.mark.parametrize('how', NORMALISATIONS)
def test_bad_errors_are_named(how):
  with pytest.raises(UserError, match='frame 1 of video 1 is not finite'):
    normalise([np.ones(2), np.asarray([1.0, np.nan])], how, train_mean=0.0, train_std=1.0)


def test_unknown_or_uncalibrated_normalisation_is_refused():
  with pytest.raises(UserError, match="normalisation 'zscore': known are eq14"):
    normalise([np.ones(2)], 'zscore')
  with pytest.raises(UserError, match='needs the mean'):
    normalise([np.ones(2)], 'train')


def test_smoothed_errors_find_the_brightest_place():
  maps = (
    jnp.zeros((1, 2, 32, 32)).at[0, 0, 10:14, 10:14].set(1.0).at[0, 1, ::2, ::2].set(1 / 16)
  )  # equal sums, one together, one spread
  together, spread = smoothed_errors(maps, 2.0)[0]
  assert together > 5 * spread
  np.testing.assert_allclose(smoothed_errors(jnp.ones((1, 1, 32, 32)), 2.0), 1.0, rtol=1e-5)


def test_causal_smoothing_never_looks_ahead():
  impulse = [np.eye(40)[20]]
  causal, centred = smooth(impulse, 3.0, 'causal')[0], smooth(impulse, 3.0)[0]
  assert (
    not causal[:20].any()
    and causal[20] == causal.max()
    and centred[17] == pytest.approx(centred[23])
  )
  np.testing.assert_allclose(smooth([np.full(9, 2.0)], 3.0, 'causal')[0], 2.0)
  with pytest.raises(UserError, match='smoothing_mode'):
    smooth(impulse, 1.0, 'acausal')


def test_scores_load_with_pandas(tmp_path):
  import pandas

  write_scores(
    tmp_path / 'scores.csv',
    ['01'],
    [np.asarray([0.5, 0.25])],
    [np.asarray([1.0, 0.0])],
    [np.asarray([1, 0])],
    'vollabel',
  )
  frame = pandas.read_csv(tmp_path / 'scores.csv')
  assert list(frame.columns) == ['video', 'frame', 'error', 'score', 'label', 'label_set']
  assert (
    frame['label'].tolist() == [1, 0]
    and frame['error'].sum() == 0.75
    and set(frame['label_set']) == {'vollabel'}
  )


def test_smoothing_is_off_at_zero_and_keeps_the_mean():
  scores = [np.eye(9)[4]]
  assert smooth(scores, 0.0) is scores
  np.testing.assert_allclose(smooth(scores, 1.0)[0].sum(), 1.0, rtol=1e-3)


def test_metrics_by_hand():
  scores, labels = (
    [np.asarray([0.1, 0.4, 0.35, 0.8]), np.asarray([0.2, 0.3])],
    [np.asarray([0, 0, 1, 1]), np.asarray([0, 0])],
  )
  result = metrics.frame_metrics(scores, labels)
  np.testing.assert_allclose(result['auc'], 7 / 8)  # of 2 x 4 pairs, only 0.35 < 0.4 is wrong
  np.testing.assert_allclose(result['macro_auc'], 3 / 4)
  assert result['undefined_videos'] == 1
  np.testing.assert_allclose(result['score_gap'], (0.35 + 0.8) / 2 - (0.1 + 0.4 + 0.2 + 0.3) / 4)
  # ROC: (0, 0.5), (0.25, 0.5), (0.25, 1): false positive rate 0.25 meets the miss rate on the way up.
  np.testing.assert_allclose(result['eer'], 0.25)


def test_one_class_has_no_figures():
  result = metrics.frame_metrics([np.asarray([0.1, 0.2])], [np.asarray([1, 1])])
  assert (
    result['auc']
    is result['eer']
    is result['ap']
    is result['macro_auc']
    is result['score_gap']
    is None
  )


@given(
  st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30).filter(
    lambda r: len({label for _, label in r}) == 2
  )
)
def test_auc_and_eer_against_brute_force(rows):
  scores, labels = np.asarray([s for s, _ in rows], float), np.asarray([l for _, l in rows], int)
  positive, negative = scores[labels == 1], scores[labels == 0]
  pairs = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
  np.testing.assert_allclose(metrics.auc(scores, labels), pairs, atol=1e-12)
  eer = metrics.equal_error_rate(scores, labels)
  thresholds = np.r_[np.inf, np.unique(scores)[::-1]]
  points = [
    ((negative >= t).mean(), (positive < t).mean()) for t in thresholds
  ]  # false positives rise, misses fall
  below = max(
    min(p) for p in points
  )  # at any threshold the smaller of the two rates is a lower bound, the larger an upper one
  above = min(max(p) for p in points)
  assert below - 1e-9 <= eer <= above + 1e-9


def test_frame_vector_averages_overlaps_and_keeps_each_frame():
  errors = np.asarray([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
  rows, keep = [[0, 1, 2], [1, 2, 3]], np.asarray([[True, True, True], [False, False, True]])
  np.testing.assert_array_equal(frame_vector(errors, rows, keep, 4), [1, 2, 3, 30])
  np.testing.assert_array_equal(
    frame_vector(errors, rows, np.ones((2, 3), bool), 4), [1, 6, 11.5, 30]
  )
  with pytest.raises(AssertionError):
    frame_vector(errors, rows, keep, 5)
  with pytest.raises(UserError, match='frame 2 is not finite'):
    frame_vector(np.asarray([[1.0, 2.0, np.inf]]), [[0, 1, 2]], np.ones((1, 3), bool), 3)


def test_floors_by_hand():
  frames = np.asarray([0, 255, 255, 51], np.uint8).reshape(4, 1, 1)
  videos = (CachedVideo('a', 0, 2, ''), CachedVideo('b', 2, 2, ''))
  baselines = baseline_errors(frames, videos, np.full((1, 1), 0.2, np.float32))
  np.testing.assert_allclose(baselines['frame_difference'], [1, 1, 0.64, 0.64], rtol=1e-6)
  np.testing.assert_allclose(
    baselines['mean_image_distance'], [0.04, 0.64, 0.64, 0], rtol=1e-5, atol=1e-12
  )
  assert [len(part) for part in split_by_video(baselines['frame_difference'], videos)] == [2, 2]


def test_the_normalised_floor_is_the_difference_of_what_the_network_gets(rng):
  frames, mean = rng.integers(0, 256, (6, 4, 4), np.uint8), rng.random((4, 4), np.float32)
  videos = (CachedVideo('a', 0, 4, ''), CachedVideo('b', 4, 2, ''))
  seen = np.asarray(network_input(frames[None], mean, target_rms=0.3))[0, ..., 0]
  steps = np.square(np.diff(seen, axis=0)).mean((1, 2))
  baselines = baseline_errors(frames, videos, mean, target_rms=0.3)
  np.testing.assert_allclose(baselines[NORMALISED], steps[[0, 0, 1, 2, 4, 4]], rtol=1e-5)
  assert set(baselines) - set(baseline_errors(frames, videos, mean)) == {NORMALISED}


@pytest.mark.parametrize(
  'labels', [None, [np.asarray([0, 1], np.uint8), np.asarray([1], np.uint8)]]
)
def test_scores_round_trip(tmp_path, labels):
  errors, scores = (
    [np.asarray([1e-7, 2.0]), np.asarray([3.0])],
    [np.asarray([0.0, 1.0]), np.asarray([-0.5])],
  )
  write_scores(tmp_path / 'scores.csv', ['01', 'b'], errors, scores, labels, 'official')
  assert ('official' in (tmp_path / 'scores.csv').read_text()) == (labels is not None)
  names, got_errors, got_scores, got_labels = read_scores(tmp_path / 'scores.csv')
  assert names == ['01', 'b']
  for got, want in zip((*got_errors, *got_scores), (*errors, *scores), strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-8)
  assert (got_labels is None) == (labels is None)
  if labels:
    np.testing.assert_array_equal(np.concatenate(got_labels), [0, 1, 1])


def test_scores_from_before_the_label_set_was_written_are_read(tmp_path):
  (tmp_path / 'old.csv').write_text('video,frame,error,score,label\n01,0,0.5,1,1\n')
  assert read_scores(tmp_path / 'old.csv')[3][0].tolist() == [1]
  (tmp_path / 'odd.csv').write_text('video,error\n01,0.5\n')
  with pytest.raises(
    UserError, match='the first line must be video,frame,error,score,label,label_set'
  ):
    read_scores(tmp_path / 'odd.csv')
