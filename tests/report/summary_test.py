"""The figures as text."""

import pytest

from a3dcae_jax.report.summary import describe_rank_regression, summary
from a3dcae_jax.scoring.normalisation import NORMALISATIONS
from tests.scoring.example import example_metrics, unlabelled_metrics


def test_the_table_has_the_run_its_other_calibration_and_the_baselines():
  lines = summary(example_metrics()).splitlines()
  start = next(index for index, line in enumerate(lines) if line.startswith('AUC / EER'))
  assert lines[start].split()[-5:] == list(NORMALISATIONS)
  titles = ('this run', 'the same run', 'baseline: frame difference', 'baseline: mean image')
  for line, title in zip(lines[start + 1 :], titles, strict=False):
    assert line.startswith(title)
  assert lines[start + 1].count('90.0 / 10.0') == 5
  assert lines[start + 3].count('60.0 / 40.0') == 4
  assert len({len(line) for line in lines[start : start + 5]}) == 1


def test_interval_events_and_regions_follow():
  regions = {
    'pixel_auc': 0.5,
    'rbdc': {'flat': 0.25},
    'tbdc': {'flat': 0.6},
    'videos': ['01'],
    'of_videos': 2,
  }
  text = summary(example_metrics({'regions': regions}))
  for words in (
    '85.0 to 95.0',
    '1 of 2 found',
    '12 per hour',
    'RBDC 25.0',
    'over 1 video with masks',
  ):
    assert words in text


@pytest.mark.parametrize('count, words', [(1, ' 1 false alarm ('), (2, ' 2 false alarms (')])
def test_false_alarms_are_counted(count, words):
  assert words in summary(example_metrics({'events.false_alarms': count}))


def test_one_video_has_no_interval():
  text = summary(example_metrics({'auc_interval': None}))
  assert 'no confidence interval' in text


def test_missing_labels_are_mentioned():
  text = summary(unlabelled_metrics())
  assert 'no AUC' in text
  assert 'AUC / EER' not in text


def test_the_rank_regression_in_words():
  words = describe_rank_regression(example_metrics()['rank_regression'])
  assert words.endswith('frame difference 0.58, mean image distance -0.40; R^2 0.73')
  assert describe_rank_regression(None) == ''
