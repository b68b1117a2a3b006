"""The schema of `metrics.json`: the fields that a reader may rely on.

A schema is one of

    a type                      the value is of this type
    a tuple of types            the value is of one of these types
    Nullable(schema)            null, or valid under the schema
    [schema]                    a list whose items are all valid under the schema
    {name: schema}              an object with at least these fields
    {..., EVERY_FIELD: schema}  an object whose other fields are all valid under this schema
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.scoring.normalisation import NORMALISATIONS, UNCALIBRATED

VERSION = 3
EVERY_FIELD = '*'


class Nullable(NamedTuple):
  """A value that may be null."""

  schema: Any


_NUMBER = (int, float)
_FIGURES = {
  'auc': Nullable(_NUMBER),
  'eer': Nullable(_NUMBER),
  'ap': Nullable(_NUMBER),
  'macro_auc': Nullable(_NUMBER),
  'undefined_videos': int,
  'score_gap': Nullable(_NUMBER),
}
_RUN_FIGURES = dict.fromkeys(NORMALISATIONS, _FIGURES)
_BASELINE_FIGURES = dict.fromkeys(UNCALIBRATED, _FIGURES)

_DATA = {
  'name': str,
  'label_set': Nullable(str),
  'layout': str,
  'sha256': str,
  'videos': int,
  'frames': int,
  'abnormal_frames': Nullable(int),
}
_RUN = {
  'objects': Nullable(
    {
      'detector': str,
      'min_score': _NUMBER,
      'classes': [int],
      'min_size_px': int,
      'max_per_frame': int,
      'crop_px': int,
      'weights': {EVERY_FIELD: _NUMBER},
    }
  ),
  'error': {
    'kind': str,
    'network_weight': Nullable(_NUMBER),
    'masked_frames': Nullable({'period': int, 'length': int}),
  },
  'input': {'kind': str, 'target_rms': _NUMBER, 'perspective': str, 'mean_image': str},
  'windows': {
    'frames': int,
    'step_frames': int,
    'stride': int,
    'shorter_strides': {EVERY_FIELD: int},
    'averaging': str,
  },
  'per_position': bool,
  'calibrated_on': str,
}
_PROTOCOL = {
  'runs': [_RUN],
  'normalisation': str,
  'smoothing': {'frames': _NUMBER, 'mode': str, 'of': str},
  'label_set': Nullable(str),
  'macro_rule': str,
}
_EVENTS = {
  'detected': int,
  'threshold': _NUMBER,
  'expected_alarms': {
    'events': int,
    'hours': _NUMBER,
    'per_hour': _NUMBER,
    'low': _NUMBER,
    'high': _NUMBER,
  },
  'protocol': {'threshold_rule': str, 'threshold_value': _NUMBER},
}
_SCHEMA = {
  'schema_version': int,
  'data': _DATA,
  'protocol': _PROTOCOL,
  'checkpoint_step': int,
  'seed': int,
  'variant': str,
  'adversarial_weight': _NUMBER,
  'calibration': {'frames': int, 'mean': _NUMBER, 'std': _NUMBER, 'position_mean': [_NUMBER]},
  'metrics': Nullable(_RUN_FIGURES),
  'other_calibration': Nullable({'per_position': bool, 'metrics': Nullable(_RUN_FIGURES)}),
  'parts': Nullable({EVERY_FIELD: _RUN_FIGURES}),
  'baselines': Nullable({EVERY_FIELD: _BASELINE_FIGURES}),
  'scenes': Nullable({EVERY_FIELD: _FIGURES}),
  'rank_regression': Nullable({'weights': {EVERY_FIELD: _NUMBER}, 'r2': _NUMBER}),
  'events': _EVENTS,
  'regions': Nullable({}),
  'seconds': {'forward_passes': _NUMBER},
}

_LABELLED = {
  'metrics': _RUN_FIGURES,
  'other_calibration': Nullable({'metrics': _RUN_FIGURES}),
  'baselines': {
    'frame_difference': _BASELINE_FIGURES,
    'mean_image_distance': _BASELINE_FIGURES,
  },
  'auc_interval': Nullable(
    {
      'low': Nullable(_NUMBER),
      'high': Nullable(_NUMBER),
      'level': float,
      'resamples': int,
      'undefined': int,
    }
  ),
  'events': {
    'true_events': int,
    'true_positives': int,
    'false_alarms': int,
    'false_alarms_per_hour': _NUMBER,
    'median_delay_s': Nullable(_NUMBER),
    'frame_precision': Nullable(_NUMBER),
    'frame_recall': Nullable(_NUMBER),
    'matching_rule': str,
  },
}
"""Further fields that exist if the test videos have labels."""


def validate_metrics(metrics: dict[str, Any], *, source: str = 'metrics.json') -> dict[str, Any]:
  """Check the content of a `metrics.json` and return it.

  Args:
    metrics: the content.
    source: name of the file, for errors.

  Raises:
    UserError: for another version, or naming the first field that is missing or of another type.
  """
  if not isinstance(metrics, Mapping):
    raise UserError(
      f'{source} must hold an object, not {type(metrics).__name__}; evaluate the run again'
    )
  version = metrics.get('schema_version')
  if version != VERSION:
    raise UserError(
      f'{source}: schema_version is {version!r}, this version reads {VERSION}; '
      'evaluate the run again'
    )
  problem = _problem(metrics, _SCHEMA, '')
  if not problem and metrics['data']['label_set'] is not None:
    problem = _problem(metrics, _LABELLED, '')
  if problem:
    raise UserError(f'{source}: {problem}')
  return metrics


def _problem(value: Any, schema: Any, path: str) -> str | None:
  """Return a sentence on the first violation of `schema`, or None."""
  if isinstance(schema, Nullable):
    return None if value is None else _problem(value, schema.schema, path)
  if isinstance(schema, dict):
    return _problem_of_object(value, schema, path)
  if isinstance(schema, list):
    return _problem_of_list(value, schema[0], path)
  is_right = isinstance(value, schema)
  if isinstance(value, bool):
    is_right = schema is bool
  return None if is_right else f'{path} is {value!r}, which is of the wrong type'


def _problem_of_object(value: Any, schema: Mapping[str, Any], path: str) -> str | None:
  if not isinstance(value, Mapping):
    return f'{path} must be an object, it is {value!r}'
  for field in schema:
    if field != EVERY_FIELD and field not in value:
      return f'{_joined(path, field)} is missing'
  for field, item in value.items():
    item_schema = schema.get(field, schema.get(EVERY_FIELD))
    if item_schema is not None:
      problem = _problem(item, item_schema, _joined(path, field))
      if problem:
        return problem
  return None


def _problem_of_list(value: Any, schema: Any, path: str) -> str | None:
  if not isinstance(value, list):
    return f'{path} must be a list, it is {value!r}'
  for index, item in enumerate(value):
    problem = _problem(item, schema, f'{path}[{index}]')
    if problem:
      return problem
  return None


def _joined(path: str, field: str) -> str:
  return f'{path}.{field}' if path else field
