"""Events, their matching, thresholds and confidence intervals, by hand."""

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.scoring.bootstrap import auc_interval
from a3dcae_jax.scoring.events import detect_events, event_metrics, match_events, true_events
from a3dcae_jax.scoring.thresholds import choose_threshold


def bumps(length, *peaks):
  scores = np.zeros(length)
  for position, height in peaks:
    scores[position] = height
  return scores


def test_peaks_become_windows_and_near_ones_one_event():
  scores = bumps(300, (20, 5.0), (60, 4.0), (200, 3.0), (250, 0.5))
  arguments = {'threshold': 1.0, 'persistence': 1.0, 'window_frames': 10}
  assert detect_events(scores, merge_frames=50, **arguments) == [(15, 65), (195, 205)]
  assert detect_events(scores, merge_frames=30, **arguments) == [(15, 25), (55, 65), (195, 205)]
  assert detect_events(scores, **arguments | {'threshold': 4.5}) == [(15, 25)]
  assert detect_events(scores + 10, **arguments | {'persistence': 4.5}) == [(15, 25)]


def test_windows_stop_at_the_ends():
  assert detect_events(bumps(10, (0, 2.0)), threshold=1, persistence=1, window_frames=6) == [(0, 3)]
  assert detect_events(bumps(10, (9, 2.0)), threshold=1, persistence=1, window_frames=0) == [
    (9, 10)
  ]


def test_matching_by_hand():
  labels = [np.r_[np.zeros(10), np.ones(10), np.zeros(10), np.ones(5)], np.zeros(20)]
  assert true_events(labels[0]) == [(10, 20), (30, 35)]
  counts = match_events([[(5, 11), (13, 14), (22, 28)], [(0, 3)]], labels)
  assert counts == (2, 1, 4, 2, (0,))
  assert match_events([[(34, 40)], []], labels).delays_frames == (4,)


def test_event_metrics_by_hand():
  scores, labels = [np.asarray([0.0, 2.0, 2.0, 0.0])], [np.asarray([0, 1, 0, 1])]
  result = event_metrics(scores, labels, [[(1, 3)]], threshold=1.0, frames_per_s=2.0)
  assert (result['true_events'], result['true_positives'], result['false_alarms']) == (2, 1, 0)
  assert (
    result['frame_precision'] == result['frame_recall'] == 0.5 and result['median_delay_s'] == 0
  )
  assert event_metrics(scores, None, [[(1, 3)]], threshold=1.0, frames_per_s=2.0) == {
    'detected': 1,
    'threshold': 1.0,
  }


def test_thresholds():
  scores = [np.arange(101.0)]
  assert choose_threshold(scores, rule='quantile', value=0.9) == 90
  assert choose_threshold([], rule='fixed', value=3) == 3
  video = bumps(
    36_000, *((i * 3000 + 100, float(i + 1)) for i in range(12))
  )  # an hour at 10 frames/s, peaks 1 .. 12
  threshold = choose_threshold([video], rule='rate', value=3.0, frames_per_s=10.0, merge_frames=50)
  assert len(detect_events(video, threshold=threshold, persistence=0, window_frames=0)) == 3


@pytest.mark.parametrize(
  'arguments, message',
  [
    ({'rule': 'best', 'value': 1}, "rule 'best'"),
    ({'rule': 'quantile', 'value': 1.5}, r'\(=1.5\) must lie between 0 and 1'),
  ],
)
def test_bad_thresholds_are_named(arguments, message):
  with pytest.raises(UserError, match=message):
    choose_threshold([np.arange(3.0)], **arguments)
  with pytest.raises(UserError, match='needs training scores'):
    choose_threshold([], rule='quantile', value=0.5)


def test_bootstrap(rng):
  labels = [np.r_[np.zeros(30, int), np.ones(30, int)] for _ in range(8)]
  scores = [rng.standard_normal(60) + label for label in labels]
  interval = auc_interval(scores, labels, resamples=200)
  assert (
    interval['low'] < 0.76 < interval['high']
    and interval['high'] - interval['low'] < 0.2
    and interval['undefined'] == 0
  )
  same = auc_interval([np.asarray([0.0, 1.0])] * 3, [np.asarray([0, 1])] * 3, resamples=20)
  assert same['low'] == same['high'] == 1
  assert auc_interval([np.ones(2)], [np.ones(2)], resamples=5) == {
    'low': None,
    'high': None,
    'level': 0.95,
    'resamples': 5,
    'undefined': 5,
  }
