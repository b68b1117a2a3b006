"""The threshold for streams is found by the scores and events of streams."""

import dataclasses

import numpy as np

from a3dcae_jax.config.fields import Eval, Events
from a3dcae_jax.exporting.stream_threshold import stream_fields
from a3dcae_jax.serving.stream_events import count_events
from a3dcae_jax.serving.video import smooth

OPTIONS = Eval(smoothing_frames=3.0, smoothing_mode='centred')
PER_HOUR = 30


def normal_errors(seed, hours=1.0):
  """Return the errors of a normal video whose content changes within a second."""
  rng = np.random.default_rng(seed)
  noise = rng.standard_normal(int(hours * 3600 * 25))
  return smooth(noise, 6.0, 'causal') + 0.1 * rng.standard_normal(len(noise)) + 5


def test_new_normal_video_gives_the_rate_of_alarms_that_was_asked_for():
  events = Events(threshold_rule='rate', threshold_value=PER_HOUR, frames_per_s=25.0)
  train = normal_errors(0)
  fields = stream_fields([train], OPTIONS, events)
  expected = fields['expected']
  assert PER_HOUR / 2 < expected['per_hour'] <= PER_HOUR
  assert expected['low'] < PER_HOUR < expected['high'] * 1.2
  new = (normal_errors(1) - train.mean()) / train.std()
  alarms = count_events(smooth(new, 3.0, 'causal'), fields['threshold'])
  assert expected['low'] * 0.7 < alarms < expected['high'] * 1.3


def test_smoothing_is_causal_whatever_the_evaluation_does():
  events = Events(threshold_rule='rate', threshold_value=200.0)
  errors = [normal_errors(2, 0.01), normal_errors(3, 0.02)]
  centred = stream_fields(errors, OPTIONS, events)
  causal = stream_fields(errors, dataclasses.replace(OPTIONS, smoothing_mode='causal'), events)
  assert centred == causal
  joined = np.concatenate(errors)
  scores = [smooth((video - joined.mean()) / joined.std(), 3.0, 'causal') for video in errors]
  alarms = sum(count_events(video, centred['threshold']) for video in scores)
  assert 0 < alarms == centred['expected']['events'] <= 200 * 0.03


def test_a_quantile_is_replaced_by_one_alarm_per_hour():
  errors = [normal_errors(4, 0.02)]
  quantile = stream_fields(errors, OPTIONS, Events(threshold_rule='quantile', threshold_value=0.9))
  rate = stream_fields(errors, OPTIONS, Events(threshold_rule='rate', threshold_value=1.0))
  assert quantile == rate
  assert quantile['expected']['events'] == 0  # the video lasts for 72 s
  fixed = stream_fields(errors, OPTIONS, Events(threshold_rule='fixed', threshold_value=2.5))
  assert fixed['threshold'] == 2.5
