"""A small `metrics.json` for tests."""

import copy

from a3dcae_jax.scoring.normalisation import NORMALISATIONS, UNCALIBRATED

FIGURES = {
  'auc': 0.9,
  'eer': 0.1,
  'ap': 0.8,
  'macro_auc': None,
  'undefined_videos': 2,
  'score_gap': 0.2,
}
OTHER_FIGURES = FIGURES | {'auc': 0.7, 'eer': 0.3}
BASELINE_FIGURES = FIGURES | {'auc': 0.6, 'eer': 0.4}

_METRICS = {
  'schema_version': 3,
  'data': {
    'name': 'ucsd_ped2',
    'label_set': 'official',
    'layout': 'l',
    'sha256': 'abcdefghij',
    'videos': 2,
    'frames': 40,
    'abnormal_frames': 1,
  },
  'protocol': {
    'runs': [
      {
        'objects': None,
        'error': {'kind': 'eq13', 'network_weight': None, 'masked_frames': None},
        'input': {
          'kind': 'frames',
          'target_rms': 0.0,
          'perspective': 'none',
          'mean_image': 'set',
        },
        'windows': {
          'frames': 16,
          'step_frames': 0,
          'stride': 1,
          'shorter_strides': {},
          'averaging': 'none',
        },
        'per_position': False,
        'calibrated_on': 'training videos',
      }
    ],
    'normalisation': 'eq14',
    'smoothing': {'frames': 5.0, 'mode': 'centred', 'of': 'scores'},
    'label_set': 'official',
    'macro_rule': 'mean over videos that have both classes',
  },
  'checkpoint_step': 3,
  'seed': 0,
  'variant': 'small',
  'adversarial_weight': 1e-5,
  'calibration': {'frames': 1, 'mean': 0.1, 'std': 0.1, 'position_mean': [0.1, 0.2]},
  'metrics': dict.fromkeys(NORMALISATIONS, FIGURES),
  'parts': None,
  'other_calibration': {
    'per_position': True,
    'metrics': dict.fromkeys(NORMALISATIONS, OTHER_FIGURES),
  },
  'baselines': {
    'frame_difference': dict.fromkeys(UNCALIBRATED, BASELINE_FIGURES),
    'mean_image_distance': dict.fromkeys(UNCALIBRATED, BASELINE_FIGURES),
  },
  'auc_interval': {'low': 0.85, 'high': 0.95, 'level': 0.95, 'resamples': 1000, 'undefined': 1},
  'scenes': None,
  'rank_regression': {
    'weights': {'frame_difference': 0.581, 'mean_image_distance': -0.4},
    'r2': 0.73,
  },
  'events': {
    'detected': 3,
    'threshold': 1.0,
    'expected_alarms': {'events': 0, 'hours': 0.5, 'per_hour': 0.0, 'low': 0.0, 'high': 7.38},
    'protocol': {
      'scores': 'zscore',
      'threshold_rule': 'quantile',
      'threshold_value': 0.999,
      'persistence': 1.0,
      'window_frames': 20,
      'merge_frames': 50,
    },
    'true_events': 2,
    'true_positives': 1,
    'false_alarms': 1,
    'false_alarms_per_hour': 12.0,
    'median_delay_s': None,
    'frame_precision': None,
    'frame_recall': 0.25,
    'matching_rule': 'a rule',
  },
  'regions': None,
  'seconds': {'forward_passes': 0.1, 'before_report': 0.2},
}


def example_metrics(changes=None):
  """Return the metrics with changed fields, 'protocol.runs.0.per_position' -> value."""
  metrics = copy.deepcopy(_METRICS)
  for path, value in (changes or {}).items():
    *parents, last = [int(key) if key.isdigit() else key for key in path.split('.')]
    at = metrics
    for parent in parents:
      at = at[parent]
    at[last] = value
  return metrics


def unlabelled_metrics():
  """Return the metrics of a run whose test videos have no labels."""
  return example_metrics(
    {
      'data.label_set': None,
      'data.abnormal_frames': None,
      'protocol.label_set': None,
      'metrics': None,
      'other_calibration.metrics': None,
      'baselines': None,
      'auc_interval': None,
      'events': {
        'detected': 3,
        'threshold': 1.0,
        'expected_alarms': {'events': 0, 'hours': 0.5, 'per_hour': 0.0, 'low': 0.0, 'high': 7.38},
        'protocol': {'threshold_rule': 'quantile', 'threshold_value': 0.999},
      },
    }
  )
