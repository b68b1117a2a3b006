"""The protocol as data: which runs are comparable, and its description in words."""

import pytest

from a3dcae_jax.scoring.protocol import comparison_key, describe
from tests.scoring.example import example_metrics

SECOND_RUN = {
  **example_metrics()['protocol']['runs'][0],
  'input': {'kind': 'flow', 'target_rms': 0.0, 'perspective': 'auto', 'mean_image': 'set'},
}


def key(changes=None):
  return comparison_key(example_metrics(changes))


@pytest.mark.parametrize(
  'field, value',
  [
    ('data.name', 'avenue'),
    ('data.label_set', 'hasan'),
    ('data.sha256', 'abcdefghik'),
    ('protocol.label_set', 'hasan'),
    ('protocol.smoothing.mode', 'causal'),
    ('protocol.smoothing.frames', 0.0),
    ('protocol.runs.0.error.kind', 'local'),
    ('protocol.runs.0.error.network_weight', 0.25),
    ('protocol.runs.0.error.masked_frames', {'period': 8, 'length': 3}),
    ('protocol.runs.0.input.kind', 'flow'),
    ('protocol.runs.0.input.target_rms', 0.02),
    ('protocol.runs.0.input.perspective', 'auto'),
    ('protocol.runs.0.input.mean_image', 'video'),
    ('protocol.runs.0.windows.frames', 8),
    ('protocol.runs.0.windows.step_frames', 4),
    ('protocol.runs.0.windows.stride', 3),
    ('protocol.runs.0.windows.shorter_strides', {'01': 2}),
    ('protocol.runs.0.windows.averaging', 'mean'),
    ('protocol.runs.0.per_position', True),
    ('protocol.runs.0.calibrated_on', 'held-out videos'),
    ('protocol.runs', [*example_metrics()['protocol']['runs'], SECOND_RUN]),
  ],
)
def test_runs_that_differ_in_the_protocol_are_not_comparable(field, value):
  assert key({field: value}) != key()


@pytest.mark.parametrize(
  'field, value',
  [
    ('protocol.normalisation', 'psnr'),
    ('protocol.macro_rule', 'other'),
    ('seed', 1),
    ('checkpoint_step', 7),
    ('variant', 'best'),
    ('adversarial_weight', 0.0),
    ('data.layout', 'other'),
  ],
)
def test_runs_that_differ_in_anything_else_are_comparable(field, value):
  assert key({field: value}) == key()


def test_the_order_of_fields_does_not_count():
  smoothing = {'of': 'scores', 'mode': 'centred', 'frames': 5}
  assert key({'protocol.smoothing': smoothing}) == key()
  assert hash(key()) == hash(key({'protocol.smoothing': smoothing}))


def test_the_paper_in_words():
  assert describe(example_metrics()) == (
    'mean squared error (Eq. 13) of frames; windows of 16 frames, back to back; '
    'without per-position calibration; scores smoothed over 5 frames (centred)'
  )


@pytest.mark.parametrize(
  'changes, words',
  [
    ({'error.kind': 'local', 'error.network_weight': 0.25}, 'local error (network weight 0.25)'),
    ({'error.masked_frames': {'period': 8, 'length': 3}}, '3 of every 8 frames masked'),
    ({'input.kind': 'flow', 'input.perspective': 'auto'}, 'flow with perspective normalisation'),
    ({'input.target_rms': 0.02}, 'frames normalised to RMS 0.02'),
    ({'input.mean_image': 'video'}, 'minus the mean image of each video'),
    ({'windows.stride': 3, 'windows.shorter_strides': {'01': 2}}, 'stride 3 (2 in 01)'),
    ({'windows.step_frames': 4, 'windows.averaging': 'mean'}, 'one every 4 frames, averaged'),
    ({'per_position': True}, 'with per-position calibration'),
    ({'calibrated_on': 'held-out videos'}, 'calibrated on held-out videos'),
  ],
)
def test_each_choice_is_named(changes, words):
  paths = {f'protocol.runs.0.{field}': value for field, value in changes.items()}
  assert words in describe(example_metrics(paths))
  assert words not in describe(example_metrics())


def test_a_sum_names_all_its_runs():
  runs = [*example_metrics()['protocol']['runs'], SECOND_RUN]
  words = describe(example_metrics({'protocol.runs': runs}))
  assert words.startswith('sum of (')
  assert ' of frames;' in words
  assert ' of optical flow ' in words


def test_no_smoothing_is_named():
  assert describe(example_metrics({'protocol.smoothing.frames': 0.0})).endswith('no smoothing')
