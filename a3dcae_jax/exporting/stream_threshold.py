"""The threshold of a bundle for running streams, and its expected alarms."""

import dataclasses
from typing import Any

import numpy as np

from a3dcae_jax.config import fields
from a3dcae_jax.evaluation.calibration import train_scores
from a3dcae_jax.scoring.thresholds import choose_threshold, expected_alarms
from a3dcae_jax.serving.stream_events import END_FRAMES, START_FRAMES, count_events

ALARMS_PER_HOUR = 1.0
"""Rate of alarms on normal video where the config has no rule for streams."""


def stream_fields(
  errors: list[np.ndarray], options: fields.Eval, events: fields.Events
) -> dict[str, Any]:
  """Return the field `stream` of `detector.json`.

  A stream is smoothed without later frames, whatever `eval.smoothing_mode` says, and its events are
  those of `serving.stream_events`. So the threshold is found by the same scores and events.

  A quantile of scores would raise an alarm every minute or so, for ever. So the rule 'quantile',
  which is meant for labelled test videos, is replaced by a rate of `ALARMS_PER_HOUR`.

  Args:
    errors: errors of the calibrating videos, one float [N_v] per video.
    options: the config's `eval`.
    events: the config's `events`.
  """
  scores = train_scores(errors, dataclasses.replace(options, smoothing_mode='causal'))
  rule, value = events.threshold_rule, events.threshold_value
  if rule == 'quantile':
    rule, value = 'rate', ALARMS_PER_HOUR
  threshold = choose_threshold(
    scores,
    rule=rule,
    value=value,
    frames_per_s=events.frames_per_s,
    count=count_events,
  )
  return {
    'threshold': threshold,
    'threshold_rule': rule,
    'threshold_value': value,
    'frames_per_s': events.frames_per_s,
    'start_frames': START_FRAMES,
    'end_frames': END_FRAMES,
    'expected': expected_alarms(scores, threshold, events.frames_per_s, count=count_events),
  }
