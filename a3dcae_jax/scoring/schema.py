"""The shape of `metrics.json`, with a version: what may be relied upon, and a check of it."""

from a3dcae_jax.common.errors import UserError

VERSION = 1
_NUMBER, _MAYBE = (int, float), (int, float, type(None))
_FIGURES = {
  'auc': _MAYBE,
  'eer': _MAYBE,
  'ap': _MAYBE,
  'macro_auc': _MAYBE,
  'undefined_videos': int,
  'score_gap': _MAYBE,
}
_ROW = dict.fromkeys(('eq14', 'minmax', 'none'), _FIGURES)

# A dict is a JSON object with at least these fields; a tuple of types is what a field may be. `...` as key: every field.
_SCHEMA = {
  'schema_version': int,
  'data': {
    'name': str,
    'label_set': (str, type(None)),
    'layout': str,
    'sha256': str,
    'videos': int,
    'frames': int,
    'abnormal_frames': (int, type(None)),
  },
  'protocol': {
    'error': str,
    'normalisation': str,
    'smoothing_frames': _NUMBER,
    'smoothing_mode': str,
    'window': int,
    'every_frames': int,
    'lambda': _NUMBER,
    'macro_rule': str,
  },
  'checkpoint_step': int,
  'seed': int,
  'variant': str,
  'train_errors': {'frames': int, 'mean': _NUMBER, 'std': _NUMBER, 'position_mean': list},
  'events': {'detected': int, 'threshold': _NUMBER, 'protocol': dict},
  'seconds': {'forward_passes': _NUMBER, 'before_report': _NUMBER},
}
_LABELLED = {
  'metrics': _ROW | {'train': _FIGURES},
  'by_position': _ROW | {'train': _FIGURES},
  'baselines': {'frame_difference': _ROW, 'mean_image_distance': _ROW},
  'auc_interval': {
    'low': _MAYBE,
    'high': _MAYBE,
    'level': float,
    'resamples': int,
    'undefined': int,
  },
  'events': {
    'true_events': int,
    'true_positives': int,
    'false_alarms': int,
    'false_alarms_per_hour': _NUMBER,
    'median_delay_s': _MAYBE,
    'frame_precision': _MAYBE,
    'frame_recall': _MAYBE,
    'matching_rule': str,
  },
}


def mean_image_of(metrics):
  """What frames were made zero-mean by: the mean image of the 'set', of each 'scene' or 'video'. 'set' where `metrics.json` is older than the choice."""
  return metrics['data'].get('mean_image', 'set')


def describe_windows(metrics):
  """How the test videos were cut, and made zero-mean where the set has several mean images, in words.

  metrics: of `metrics.json`; without `protocol.stride`, which came later, windows have consecutive frames.
  """
  protocol, means = metrics['protocol'], mean_image_of(metrics)
  every, stride = protocol['every_frames'], protocol.get('stride', 1)
  apart = f', {stride} apart' if stride > 1 else ''
  nearer = [
    f'{own} in {name}' for name, own in protocol.get('nearer_strides', {}).items()
  ]  # short videos
  apart += f' ({", ".join(nearer)})' if nearer else ''
  placed = f'one every {every}, averaged' if every else 'back to back'
  return f'windows of {protocol["window"]} frames{apart}, {placed}' + (
    f', less the mean image of each {means}' if means != 'set' else ''
  )


NORMALISED_FRAMES = 'frames normalised to target_rms'  # in `protocol.error` where they are
DIVIDED = ', divided by position'  # how `protocol.error` ends where the run's own errors are


def twin(metrics):
  """(name, figures by normalisation) of what the run would have, had it divided errors by their place in the window or not: the other way round."""
  divided = metrics['protocol']['error'].endswith(DIVIDED)
  return (
    ('not divided by position', metrics['undivided'])
    if divided
    else ('divided by position', metrics['by_position'])
  )


def describe_follows(metrics):
  """What the error follows, in words; '' where nothing is known of it (all errors equal, or `metrics` older than the field)."""
  follows = metrics.get('follows')
  if not follows:
    return ''
  weights = ', '.join(
    f'{name.replace("_", " ")} {weight:.2f}' for name, weight in follows['weights'].items()
  )
  return f'the error follows (rank regression on the baselines): {weights}; R^2 {follows["r2"]:.2f}'


def validate_metrics(metrics, *, source='metrics.json'):
  """Raises a `UserError` naming the first field of `metrics` that is missing or of another type; returns `metrics`."""
  version = metrics.get('schema_version')
  if version != VERSION:
    raise UserError(
      f'{source}: schema_version is {version!r}, this version reads {VERSION}; evaluate the run again'
    )
  _check(metrics, _SCHEMA, source, '')
  if metrics['data']['label_set'] is not None:
    _check(metrics, _LABELLED, source, '')
  return metrics


def _check(value, schema, source, path):
  if not isinstance(schema, dict):
    if not isinstance(value, schema) or isinstance(value, bool):
      raise UserError(f'{source}: {path[1:]} is {value!r}, which is of the wrong type')
    return
  if not isinstance(value, dict):
    raise UserError(f'{source}: {path[1:]} must be an object, it is {value!r}')
  for field, inner in schema.items():
    if field not in value:
      raise UserError(f'{source}: {path[1:]}.{field} is missing'.replace(': .', ': '))
    _check(value[field], inner, source, f'{path}.{field}')
