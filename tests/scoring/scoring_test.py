"""Errors, normalisations, metrics, baselines and files."""

import jax.numpy as jnp
import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import CachedVideo
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.scoring import metrics
from a3dcae_jax.scoring.assemble import MeanMaps, frame_vector, split_by_video
from a3dcae_jax.scoring.baselines import BASELINES, NORMALISED, baseline_errors
from a3dcae_jax.scoring.errors import error_maps, frame_errors
from a3dcae_jax.scoring.normalisation import NORMALISATIONS, normalise, smooth
from a3dcae_jax.scoring.tables import read_scores, write_scores


def test_eq13_by_hand():
  clips = jnp.zeros((1, 2, 2, 2, 1))
  pattern = jnp.asarray([[1.0, 1.0], [0.0, 0.0]]).reshape(1, 1, 2, 2, 1)
  recon = pattern * jnp.asarray([1.0, 2.0]).reshape(1, 2, 1, 1, 1)
  np.testing.assert_allclose(frame_errors(error_maps(clips, recon)), [[0.5, 2.0]])


def test_normalisations_by_hand():
  errors = [np.asarray([1.0, 2.0, 4.0]), np.asarray([3.0, 3.0])]
  expected = {
    'eq14': [[0, 0.25, 0.75], [0, 0]],
    'minmax': [[0, 1 / 3, 1], [0, 0]],
    'psnr': [[0, 0.5, 1], [0, 0]],
    'raw': [[1, 2, 4], [3, 3]],
    'zscore': [[-1, 0, 2], [1, 1]],
  }
  assert set(expected) == set(NORMALISATIONS)
  for how, values in expected.items():
    scores = normalise(errors, how, train_mean=2.0, train_std=1.0)
    for got, want in zip(scores, values, strict=True):
      np.testing.assert_allclose(got, want)
  np.testing.assert_array_equal(normalise([np.zeros(3)], 'eq14')[0], 0)


def test_psnr_scores_are_one_minus_the_minmax_normalised_psnr(rng):
  errors = rng.random(20) + 1e-3
  psnr = 10 * np.log10(1 / errors)
  expected = 1 - (psnr - psnr.min()) / np.ptp(psnr)
  np.testing.assert_allclose(normalise([errors], 'psnr')[0], expected, atol=1e-12)


def test_an_error_of_zero_has_a_psnr_of_100_db():
  scores = normalise([np.asarray([0.0, 1e-5, 1.0])], 'psnr')[0]
  np.testing.assert_allclose(scores, [0, 0.5, 1])


@pytest.mark.parametrize('how', NORMALISATIONS)
def test_errors_that_are_not_finite_are_named(how):
  errors = [np.ones(2), np.asarray([1.0, np.nan])]
  with pytest.raises(UserError, match='frame 1 of video 1 is not finite'):
    normalise(errors, how, train_mean=0.0, train_std=1.0)


def test_unknown_or_uncalibrated_normalisations_are_refused():
  with pytest.raises(UserError, match="normalisation 'train': known are eq14"):
    normalise([np.ones(2)], 'train')
  with pytest.raises(UserError, match='needs the mean'):
    normalise([np.ones(2)], 'zscore')


def test_causal_smoothing_never_looks_ahead():
  impulse = [np.eye(40)[20]]
  causal = smooth(impulse, 3.0, 'causal')[0]
  assert not causal[:20].any()
  assert causal[20] == causal.max()
  np.testing.assert_allclose(smooth([np.full(9, 2.0)], 3.0, 'causal')[0], 2.0)


def test_centred_smoothing_is_symmetric():
  centred = smooth([np.eye(40)[20]], 3.0)[0]
  assert centred[17] > 0
  assert centred[17] == pytest.approx(centred[23])


def test_an_unknown_smoothing_is_refused():
  with pytest.raises(UserError, match='smoothing_mode'):
    smooth([np.ones(4)], 1.0, 'acausal')


def test_smoothing_is_off_at_zero_and_keeps_the_mean():
  scores = [np.eye(9)[4]]
  assert smooth(scores, 0.0) is scores
  np.testing.assert_allclose(smooth(scores, 1.0)[0].sum(), 1.0, rtol=1e-3)


def test_metrics_by_hand():
  scores = [np.asarray([0.1, 0.4, 0.35, 0.8]), np.asarray([0.2, 0.3])]
  labels = [np.asarray([0, 0, 1, 1]), np.asarray([0, 0])]
  result = metrics.frame_metrics(scores, labels)
  np.testing.assert_allclose(result['auc'], 7 / 8)  # of 2 x 4 pairs, only 0.35 < 0.4 is wrong
  np.testing.assert_allclose(result['macro_auc'], 3 / 4)
  assert result['undefined_videos'] == 1
  np.testing.assert_allclose(result['score_gap'], (0.35 + 0.8) / 2 - (0.1 + 0.4 + 0.2 + 0.3) / 4)
  # ROC: (0, 0.5), (0.25, 0.5), (0.25, 1). On its vertical part at 0.25 the miss rate passes 0.25.
  np.testing.assert_allclose(result['eer'], 0.25)


def test_one_class_has_no_figures():
  result = metrics.frame_metrics([np.asarray([0.1, 0.2])], [np.asarray([1, 1])])
  assert result.pop('undefined_videos') == 1
  assert set(result) == {'auc', 'eer', 'ap', 'macro_auc', 'score_gap'}
  assert all(value is None for value in result.values())


def has_both_labels(rows):
  return len({label for _, label in rows}) == 2


@given(
  st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30).filter(
    has_both_labels
  )
)
def test_auc_and_eer_against_brute_force(rows):
  scores = np.asarray([score for score, _ in rows], float)
  labels = np.asarray([label for _, label in rows], int)
  positive = scores[labels == 1]
  negative = scores[labels == 0]
  wins = (positive[:, None] > negative).mean()
  ties = (positive[:, None] == negative).mean()
  np.testing.assert_allclose(metrics.auc(scores, labels), wins + 0.5 * ties, atol=1e-12)
  # As the threshold falls, false positives rise and misses fall. At any threshold the smaller rate
  # is a lower bound of the equal error rate, and the larger one an upper bound.
  thresholds = np.r_[np.inf, np.unique(scores)[::-1]]
  rates = [((negative >= level).mean(), (positive < level).mean()) for level in thresholds]
  below = max(min(pair) for pair in rates)
  above = min(max(pair) for pair in rates)
  eer = metrics.equal_error_rate(scores, labels)
  assert below - 1e-9 <= eer <= above + 1e-9


def test_frame_vector_takes_kept_frames_and_averages_overlaps():
  errors = np.asarray([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
  rows = [[0, 1, 2], [1, 2, 3]]
  keep = np.asarray([[True, True, True], [False, False, True]])
  everything = np.ones((2, 3), bool)
  np.testing.assert_array_equal(frame_vector(errors, rows, keep, 4), [1, 2, 3, 30])
  np.testing.assert_array_equal(frame_vector(errors, rows, everything, 4), [1, 6, 11.5, 30])
  with pytest.raises(AssertionError):
    frame_vector(errors, rows, keep, 5)


def test_frame_vector_names_an_error_that_is_not_finite():
  errors = np.asarray([[1.0, 2.0, np.inf]])
  with pytest.raises(UserError, match='frame 2 is not finite'):
    frame_vector(errors, [[0, 1, 2]], np.ones((1, 3), bool), 3)


def test_mean_maps_return_each_frame_once_after_its_last_window():
  means = MeanMaps([1, 2, 2, 1])
  rows, maps = means.add([0, 1, 2], np.float32([1, 2, 3]).reshape(3, 1, 1))
  assert rows.tolist() == [0]
  assert maps.ravel().tolist() == [1]
  assert len(means) == 2
  waiting_rows, sums, seen = means.waiting(3, (1, 1))
  assert waiting_rows.tolist() == [1, 2, -1]
  assert sums.ravel().tolist() == [2, 3, 0]
  assert seen.tolist() == [1, 1, 0]
  rows, maps = means.add([1, 2, 3], np.float32([4, 5, 6]).reshape(3, 1, 1))
  assert rows.tolist() == [1, 2, 3]
  assert maps.ravel().tolist() == [3, 4, 6]
  assert maps.dtype == np.float32


def test_baselines_by_hand():
  frames = np.asarray([0, 255, 255, 51], np.uint8).reshape(4, 1, 1)
  videos = (CachedVideo('a', 0, 2, ''), CachedVideo('b', 2, 2, ''))
  mean_images = np.full((1, 1, 1), 0.2, np.float32)
  errors = baseline_errors(frames, videos, mean_images, np.asarray([0, 0]))
  assert tuple(errors) == BASELINES
  np.testing.assert_allclose(errors['frame_difference'], [1, 1, 0.64, 0.64], rtol=1e-6)
  expected = [0.04, 0.64, 0.64, 0]
  np.testing.assert_allclose(errors['mean_image_distance'], expected, rtol=1e-5, atol=1e-12)
  parts = split_by_video(errors['frame_difference'], videos)
  assert [len(part) for part in parts] == [2, 2]


def test_each_video_has_its_own_mean_image():
  frames = np.asarray([0, 255, 0], np.uint8).reshape(3, 1, 1)
  videos = (CachedVideo('a', 0, 1, ''), CachedVideo('b', 1, 1, ''), CachedVideo('c', 2, 1, ''))
  mean_images = np.asarray([0.0, 1.0], np.float32).reshape(2, 1, 1)
  errors = baseline_errors(frames, videos, mean_images, np.asarray([1, 1, 0]))
  np.testing.assert_array_equal(errors['mean_image_distance'], [1, 0, 0])


def test_the_normalised_baseline_is_the_difference_of_network_inputs(rng):
  frames = rng.integers(0, 256, (6, 4, 4), np.uint8)
  mean_image = rng.random((4, 4), np.float32)
  videos = (CachedVideo('a', 0, 4, ''), CachedVideo('b', 4, 2, ''))
  ids = np.asarray([0, 0])
  seen = np.asarray(network_input(frames[None], mean_image, target_rms=0.3))[0, ..., 0]
  steps = np.square(np.diff(seen, axis=0)).mean((1, 2))
  errors = baseline_errors(frames, videos, mean_image[None], ids, target_rms=0.3)
  np.testing.assert_allclose(errors[NORMALISED], steps[[0, 0, 1, 2, 4, 4]], rtol=1e-5)
  assert set(errors) - set(baseline_errors(frames, videos, mean_image[None], ids)) == {NORMALISED}


@pytest.mark.parametrize(
  'labels', [None, [np.asarray([0, 1], np.uint8), np.asarray([1], np.uint8)]]
)
def test_scores_are_read_as_written(tmp_path, labels):
  path = tmp_path / 'scores.csv'
  errors = [np.asarray([1e-7, 2.0]), np.asarray([3.0])]
  scores = [np.asarray([0.0, 1.0]), np.asarray([-0.5])]
  write_scores(path, ['01', 'b'], errors, scores, labels, 'official')
  assert ('official' in path.read_text()) == (labels is not None)
  names, got_errors, got_scores, got_labels = read_scores(path)
  assert names == ['01', 'b']
  for got, want in zip((*got_errors, *got_scores), (*errors, *scores), strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-8)
  assert (got_labels is None) == (labels is None)
  if labels:
    np.testing.assert_array_equal(np.concatenate(got_labels), [0, 1, 1])


def test_scores_load_with_pandas(tmp_path):
  path = tmp_path / 'scores.csv'
  errors = [np.asarray([0.5, 0.25])]
  scores = [np.asarray([1.0, 0.0])]
  write_scores(path, ['01'], errors, scores, [np.asarray([1, 0])], 'vollabel')
  frame = pandas.read_csv(path)
  assert list(frame.columns) == ['video', 'frame', 'error', 'score', 'label', 'label_set']
  assert frame['label'].tolist() == [1, 0]
  assert frame['error'].sum() == 0.75
  assert set(frame['label_set']) == {'vollabel'}


@pytest.mark.parametrize('header', ['video,error', 'video,frame,error,score,label'])
def test_other_columns_are_refused(tmp_path, header):
  (tmp_path / 'odd.csv').write_text(f'{header}\n01,0.5\n')
  with pytest.raises(UserError, match='video,frame,error,score,label,label_set'):
    read_scores(tmp_path / 'odd.csv')
