"""The protocol of an evaluation: comparing it and describing it in words.

Figures are comparable only if they come from the same frames and labels and were computed in the
same way. `metrics.json` has all of this in its fields `data` and `protocol` (see `schema`).
"""

from collections.abc import Hashable, Mapping
from typing import Any

FREE_FIELDS = ('normalisation', 'macro_rule')
"""Fields of the protocol that may differ within a table, since it has all normalisations."""


def comparison_key(metrics: Mapping[str, Any]) -> Hashable:
  """Return a key that is equal for runs that may stand in one table.

  It consists of the data set, its label set, the hash of frames and labels, and the whole protocol
  except `FREE_FIELDS`.
  """
  data = metrics['data']
  protocol = dict(metrics['protocol'])
  for field in FREE_FIELDS:
    protocol.pop(field, None)
  return data['name'], data['label_set'], data['sha256'], _frozen(protocol)


def describe(metrics: Mapping[str, Any]) -> str:
  """Describe the protocol in one line."""
  protocol = metrics['protocol']
  runs = [_describe_run(run) for run in protocol['runs']]
  if len(runs) == 1:
    errors = runs[0]
  else:
    errors = 'sum of ' + ' and '.join(f'({run})' for run in runs)
  return f'{errors}; {_describe_smoothing(protocol["smoothing"])}'


def calibrated_words(per_position: bool) -> str:
  """Return 'with per-position calibration' or 'without per-position calibration'."""
  return f'{"with" if per_position else "without"} per-position calibration'


def _describe_run(run: Mapping[str, Any]) -> str:
  if run['objects']:
    parts = _describe_objects(run)
  else:
    parts = [
      f'{_describe_error(run["error"])} {_describe_input(run["input"])}',
      _describe_windows(run['windows']),
      calibrated_words(run['per_position']),
    ]
  if run['calibrated_on'] != 'training videos':
    parts.append(f'calibrated on {run["calibrated_on"]}')
  return '; '.join(parts)


def _describe_objects(run: Mapping[str, Any]) -> list[str]:
  objects = run['objects']
  weights = [f'{name} {weight:g}' for name, weight in objects['weights'].items() if weight]
  size = objects['crop_px']
  step = run['windows']['step_frames']
  frames = 'each frame' if step == 1 else f'every {step}th frame, interpolated between them'
  return [
    f'worst object of {frames} ({" + ".join(weights)}, each as a z-score above 0)',
    f'boxes by {objects["detector"]}',
    f'clips of {run["windows"]["frames"]} frames at {size}x{size}',
  ]


def _describe_error(error: Mapping[str, Any]) -> str:
  if error['kind'] == 'local':
    words = f'local error (network weight {error["network_weight"]:g})'
  else:
    words = 'mean squared error (Eq. 13)'
  masked = error['masked_frames']
  if masked:
    words += f', {masked["length"]} of every {masked["period"]} frames masked,'
  return words


def _describe_input(given: Mapping[str, Any]) -> str:
  words = 'of optical flow' if given['kind'] == 'flow' else 'of frames'
  if given['perspective'] != 'none':
    words += ' with perspective normalisation'
  if given['target_rms']:
    words += f' normalised to RMS {given["target_rms"]:g}'
  if given['mean_image'] != 'set':
    words += f' minus the mean image of each {given["mean_image"]}'
  return words


def _describe_windows(windows: Mapping[str, Any]) -> str:
  words = f'windows of {windows["frames"]} frames'
  if windows['stride'] > 1:
    words += f', stride {windows["stride"]}'
  shorter = windows['shorter_strides']
  if shorter:
    named = [f'{stride} in {video}' for video, stride in shorter.items()]
    words += f' ({", ".join(named)})'
  if windows['averaging'] == 'none':
    return f'{words}, back to back'
  return f'{words}, one every {windows["step_frames"]} frames, averaged'


def _describe_smoothing(smoothing: Mapping[str, Any]) -> str:
  if not smoothing['frames']:
    return 'no smoothing'
  return f'{smoothing["of"]} smoothed over {smoothing["frames"]:g} frames ({smoothing["mode"]})'


def _frozen(value: Any) -> Hashable:
  """Return a JSON value as nested tuples; the order of fields does not count."""
  if isinstance(value, Mapping):
    return tuple((name, _frozen(value[name])) for name in sorted(value))
  if isinstance(value, (list, tuple)):
    return tuple(_frozen(item) for item in value)
  return value
