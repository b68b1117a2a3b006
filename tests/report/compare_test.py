"""metrics.json against its schema, and runs side by side."""

import copy

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import write_json
from a3dcae_jax.report.compare import compare_text, group_runs
from a3dcae_jax.run.session import compare_runs
from a3dcae_jax.scoring.schema import validate_metrics

FIGURES = {
  'auc': 0.9,
  'eer': 0.1,
  'ap': 0.8,
  'macro_auc': None,
  'undefined_videos': 2,
  'score_gap': 0.2,
}
ROW = dict.fromkeys(('eq14', 'minmax', 'none'), FIGURES)
METRICS = {
  'schema_version': 1,
  'data': {
    'name': 'x',
    'label_set': 'official',
    'layout': 'l',
    'sha256': 'abcdefghij',
    'videos': 1,
    'frames': 2,
    'abnormal_frames': 1,
  },
  'protocol': {
    'error': 'eq13',
    'normalisation': 'eq14',
    'smoothing_frames': 0.0,
    'smoothing_mode': 'centred',
    'window': 16,
    'every_frames': 0,
    'lambda': 0,
    'macro_rule': '',
  },
  'checkpoint_step': 1,
  'seed': 0,
  'variant': '',
  'train_errors': {'frames': 1, 'mean': 0.1, 'std': 0.1, 'position_mean': []},
  'metrics': ROW | {'train': FIGURES},
  'by_position': ROW | {'train': FIGURES},
  'baselines': {'frame_difference': ROW, 'mean_image_distance': ROW},
  'auc_interval': {'low': None, 'high': None, 'level': 0.95, 'resamples': 1, 'undefined': 1},
  'events': {
    'detected': 0,
    'threshold': 1.0,
    'protocol': {},
    'true_events': 1,
    'true_positives': 0,
    'false_alarms': 0,
    'false_alarms_per_hour': 0.0,
    'median_delay_s': None,
    'frame_precision': None,
    'frame_recall': 0.0,
    'matching_rule': '',
  },
  'seconds': {'forward_passes': 0.1, 'before_report': 0.2},
}


def changed(**changes):
  metrics = copy.deepcopy(METRICS)
  for path, value in changes.items():
    *parents, last = path.split('__')
    at = metrics
    for parent in parents:
      at = at[parent]
    at[last] = value
  return metrics


def test_schema():
  assert validate_metrics(METRICS) is METRICS
  for metrics, message in (
    (changed(schema_version=9), 'schema_version is 9'),
    (changed(metrics__eq14__auc='good'), "metrics.eq14.auc is 'good'"),
    (changed(data=3), 'data must be an object'),
    ({k: v for k, v in METRICS.items() if k != 'seed'}, 'seed is missing'),
  ):
    with pytest.raises(UserError, match=message):
      validate_metrics(metrics)
  unlabelled = changed(data__label_set=None, metrics=None, baselines=None)
  validate_metrics(unlabelled)


def test_runs_with_other_mean_images_have_floors_of_their_own():
  groups = group_runs(
    [
      ('a', METRICS),
      ('b', changed(data__mean_image='set')),
      ('c', changed(data__mean_image='video')),
    ]
  )
  assert [[name for name, _ in group] for group in groups] == [['a', 'b'], ['c']]
  assert compare_text(groups).count('less the mean image of each video') == 1


def test_different_protocols_are_never_side_by_side(tmp_path, capsys):
  runs = {'a': METRICS, 'b': changed(seed=1), 'c': changed(data__label_set='hasan')}
  groups = group_runs(list(runs.items()))
  assert [[name for name, _ in group] for group in groups] == [['a', 'b'], ['c']]
  assert 'under 2 different protocols' in compare_text(
    groups
  ) and 'different protocols' not in compare_text(groups[:1])
  for name, metrics in runs.items():
    (tmp_path / name).mkdir()
    write_json(tmp_path / name / 'metrics.json', metrics)
  compare_runs([tmp_path / name for name in runs], page=tmp_path / 'compare.html')
  assert (
    '90.0 / 10.0' in capsys.readouterr().out
    and '<strong>These runs stand under 2' in (tmp_path / 'compare.html').read_text()
  )
  with pytest.raises(UserError, match='two or more'):
    compare_runs([tmp_path / 'a'])
  with pytest.raises(UserError, match='does not exist'):
    compare_runs([tmp_path / 'a', tmp_path / 'none'])
