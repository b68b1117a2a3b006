"""The schema of `metrics.json`."""

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.scoring.normalisation import NORMALISATIONS
from a3dcae_jax.scoring.schema import validate_metrics
from tests.scoring.example import FIGURES, example_metrics, unlabelled_metrics


def test_good_metrics_are_returned():
  one_video = example_metrics({'auc_interval': None})
  for metrics in (example_metrics(), unlabelled_metrics(), one_video):
    assert validate_metrics(metrics) is metrics


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'schema_version': 1}, 'schema_version is 1, .*evaluate the run again'),
    ({'schema_version': 9}, 'schema_version is 9'),
    ({'data': 3}, 'data must be an object'),
    ({'metrics.eq14.auc': 'good'}, "metrics.eq14.auc is 'good'"),
    ({'seed': True}, 'seed is True'),
    ({'protocol.runs': {}}, 'protocol.runs must be a list'),
    ({'protocol.runs.0.per_position': 1}, r'protocol.runs\[0\].per_position is 1'),
    ({'protocol.runs.0.error.masked_frames': {'period': 8}}, 'masked_frames.length is missing'),
    ({'protocol.runs.0.windows.shorter_strides': {'01': 'x'}}, 'shorter_strides.01'),
    ({'baselines.frame_difference_normalised': {}}, 'frame_difference_normalised.eq14 is missing'),
    ({'calibration.position_mean': [0.1, None]}, r'position_mean\[1\] is None'),
    ({'metrics': None}, 'metrics must be an object'),
    ({'baselines': None}, 'baselines must be an object'),
  ],
)
def test_the_first_wrong_field_is_named(changes, message):
  with pytest.raises(UserError, match=message):
    validate_metrics(example_metrics(changes))


@pytest.mark.parametrize('table', ['metrics', 'other_calibration.metrics'])
@pytest.mark.parametrize('missing', NORMALISATIONS)
def test_every_normalisation_is_required(table, missing):
  figures = {how: FIGURES for how in NORMALISATIONS if how != missing}
  with pytest.raises(UserError, match=f'{table}.{missing} is missing'):
    validate_metrics(example_metrics({table: figures}))


@pytest.mark.parametrize('field', sorted(set(example_metrics()) - {'schema_version'}))
def test_every_field_is_required(field):
  metrics = example_metrics()
  del metrics[field]
  with pytest.raises(UserError, match=f'{field} is missing'):
    validate_metrics(metrics)


def test_a_file_without_an_object_is_refused():
  with pytest.raises(UserError, match='must hold an object, not list; evaluate the run again'):
    validate_metrics([])


def test_the_file_is_named():
  with pytest.raises(UserError, match='run/metrics.json: seed'):
    validate_metrics(example_metrics({'seed': None}), source='run/metrics.json')
