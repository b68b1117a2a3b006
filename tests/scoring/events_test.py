"""Events, their matching, thresholds and confidence intervals, in small examples."""

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.scoring.bootstrap import auc_interval
from a3dcae_jax.scoring.events import detect_events, event_metrics, match_events, true_events
from a3dcae_jax.scoring.thresholds import choose_threshold, expected_alarms


def bumps(length, *peaks):
  scores = np.zeros(length)
  for position, height in peaks:
    scores[position] = height
  return scores


def test_peaks_become_windows_and_near_windows_are_merged():
  scores = bumps(300, (20, 5.0), (60, 4.0), (200, 3.0), (250, 0.5))
  given = {'threshold': 1.0, 'persistence': 1.0, 'window_frames': 10}
  assert detect_events(scores, merge_frames=50, **given) == [(15, 65), (195, 205)]
  assert detect_events(scores, merge_frames=30, **given) == [(15, 25), (55, 65), (195, 205)]
  assert detect_events(scores, **given | {'threshold': 4.5}) == [(15, 25)]
  assert detect_events(scores + 10, **given | {'persistence': 4.5}) == [(15, 25)]


def test_defaults_are_a_persistence_of_1_windows_of_20_and_gaps_of_50():
  scores = bumps(300, (20, 5.0), (89, 4.0), (160, 0.9))
  assert detect_events(scores, threshold=0.5) == [(10, 99)]
  scores = bumps(300, (20, 5.0), (90, 4.0), (160, 1.0))
  assert detect_events(scores, threshold=0.5) == [(10, 30), (80, 100), (150, 170)]


def test_windows_are_cut_at_the_ends_of_the_video():
  first = bumps(10, (0, 2.0))
  last = bumps(10, (9, 2.0))
  assert detect_events(first, threshold=1, persistence=1, window_frames=6) == [(0, 3)]
  assert detect_events(last, threshold=1, persistence=1, window_frames=0) == [(9, 10)]


def test_matching_by_hand():
  labels = [np.r_[np.zeros(10), np.ones(10), np.zeros(10), np.ones(5)], np.zeros(20)]
  assert true_events(labels[0]) == [(10, 20), (30, 35)]
  counts = match_events([[(5, 11), (13, 14), (22, 28)], [(0, 3)]], labels)
  assert counts == (2, 1, 4, 2, (0,))
  assert match_events([[(34, 40)], []], labels).delays_frames == (4,)


def test_true_events_are_runs_of_ones():
  assert true_events(np.asarray([1, 1, 0, 0, 1])) == [(0, 2), (4, 5)]
  assert true_events(np.zeros(3)) == []


def test_event_metrics_by_hand():
  scores = [np.asarray([0.0, 2.0, 2.0, 0.0])]
  labels = [np.asarray([0, 1, 0, 1])]
  result = event_metrics(scores, labels, [[(1, 3)]], threshold=1.0, frames_per_s=2.0)
  assert result['true_events'] == 2
  assert result['true_positives'] == 1
  assert result['false_alarms'] == 0
  assert result['frame_precision'] == 0.5
  assert result['frame_recall'] == 0.5
  assert result['median_delay_s'] == 0


def test_without_labels_only_detections_are_counted():
  scores = [np.asarray([0.0, 2.0, 2.0, 0.0])]
  result = event_metrics(scores, None, [[(1, 3)]], threshold=1.0, frames_per_s=2.0)
  assert result == {'detected': 1, 'threshold': 1.0}


def test_quantile_and_fixed_thresholds():
  scores = [np.arange(101.0)]
  assert choose_threshold(scores, rule='quantile', value=0.9, frames_per_s=25.0) == 90
  assert choose_threshold([], rule='fixed', value=3, frames_per_s=25.0) == 3


def test_an_event_that_never_ends_does_not_lower_the_threshold():
  """At a low threshold everything is one event, which is as rare as a true one."""
  rng = np.random.default_rng(0)
  scores = rng.normal(0, 1, 4000)
  scores[[500, 1500, 2500]] = 9.0

  def count(video, threshold):  # events merge over up to 49 frames
    places = np.flatnonzero(video >= threshold)
    return int((np.diff(places) > 49).sum() + 1) if len(places) else 0

  found = choose_threshold([scores], rule='rate', value=3.0, frames_per_s=4000 / 3600, count=count)
  assert 2.5 < found <= 9.0
  assert count(scores, found) == 3


def test_the_threshold_of_a_rate_is_the_lowest_that_keeps_the_rate():
  """An hour of scores at 10 frames per second has 12 peaks of heights 1 to 12."""
  peaks = [(i * 3000 + 100, float(i + 1)) for i in range(12)]
  video = bumps(36_000, *peaks)
  threshold = choose_threshold([video], rule='rate', value=3.0, frames_per_s=10.0)
  assert len(detect_events(video, threshold=threshold)) == 3
  assert len(detect_events(video, threshold=np.nextafter(9.0, 0))) == 4
  assert threshold == 10.0


@pytest.mark.parametrize(
  'rule, value, message',
  [
    ('best', 1, "rule 'best'"),
    ('quantile', 1.5, r'\(=1.5\) must lie between 0 and 1'),
  ],
)
def test_bad_thresholds_are_named(rule, value, message):
  with pytest.raises(UserError, match=message):
    choose_threshold([np.arange(3.0)], rule=rule, value=value, frames_per_s=25.0)


def test_a_quantile_needs_training_scores():
  with pytest.raises(UserError, match='needs training scores'):
    choose_threshold([], rule='quantile', value=0.5, frames_per_s=25.0)


def test_the_interval_contains_the_auc_and_is_narrow(rng):
  labels = [np.r_[np.zeros(30, int), np.ones(30, int)] for _ in range(8)]
  scores = [rng.standard_normal(60) + label for label in labels]
  interval = auc_interval(scores, labels, resamples=200)
  assert interval['low'] < 0.76 < interval['high']
  assert interval['high'] - interval['low'] < 0.2
  assert interval['undefined'] == 0


def test_the_interval_of_equal_videos_is_a_point():
  scores = [np.asarray([0.0, 1.0])] * 5
  labels = [np.asarray([0, 1])] * 5
  interval = auc_interval(scores, labels, resamples=20)
  assert interval['low'] == interval['high'] == 1


def test_one_class_has_no_interval():
  videos = [np.ones(2)] * 5
  assert auc_interval(videos, videos, resamples=5) == {
    'low': None,
    'high': None,
    'level': 0.95,
    'resamples': 5,
    'undefined': 5,
  }


@pytest.mark.parametrize('count', [0, 1, 2, 4])
def test_few_videos_have_no_interval(count, rng):
  scores = [rng.standard_normal(9) for _ in range(count)]
  assert auc_interval(scores, [np.arange(9) % 2] * count) is None


def test_the_rate_of_alarms_in_training_has_a_poisson_interval():
  quiet = np.zeros(9000)  # 0.1 hours at 25 frames/s
  rate = expected_alarms([quiet], 1.0, 25.0)
  assert (rate['events'], rate['per_hour'], rate['low']) == (0, 0, 0)
  assert rate['hours'] == pytest.approx(0.1)
  assert rate['high'] == pytest.approx(36.9, abs=0.1)  # 3.69 events in 0.1 hours
  loud = quiet.copy()
  loud[[1000, 5000]] = 3.0
  rate = expected_alarms([loud], 1.0, 25.0)
  assert (rate['events'], rate['per_hour']) == (2, pytest.approx(20))
  assert rate['low'] == pytest.approx(2.42, abs=0.01)
  assert rate['high'] == pytest.approx(72.2, abs=0.1)
