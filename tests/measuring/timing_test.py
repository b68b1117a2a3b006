"""Timing: clips of the input pipelines, programs in turns, figures."""

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring import timing
from a3dcae_jax.measuring.programs import Setting
from a3dcae_jax.measuring.timed_batches import timed_batches, with_batches

SETTING = Setting('infer', 'tiny', 3, 'float32')


def first_clips(input_pipeline):
  """The first clips that a program gets from an input pipeline."""
  source = timed_batches(SETTING, input_pipeline)
  take = with_batches(lambda carry, clips, mean_image: clips + jnp.uint8(carry), SETTING)
  return np.asarray(take(0, next(source.batches), None, *source.frames))


def test_cached_clips_equal_those_without_an_input_pipeline():
  clips = first_clips('none')
  assert clips.shape == (3, 16, 32, 32)
  assert clips.dtype == np.uint8
  np.testing.assert_array_equal(clips, first_clips('device_cached'))


def test_each_step_takes_other_clips():
  batches = timed_batches(SETTING, 'device_cached').batches
  assert not np.array_equal(next(batches)[0], next(batches)[0])


@pytest.mark.slow  # imports TensorFlow
def test_streamed_clips_equal_those_without_an_input_pipeline():
  np.testing.assert_array_equal(first_clips('none'), first_clips('streaming'))


def test_unknown_input_pipelines_are_named():
  with pytest.raises(UserError, match="'disk': known are none, device_cached, streaming"):
    timed_batches(SETTING, 'disk')


def fake_program(name, turns):
  """A program that only records its turns, (name, steps)."""
  return timing.Program(
    run=lambda steps=1: turns.append((name, steps)),
    input_pipeline=name,
    compile_s=1.0,
    flops=6e9,
    xla_flops=None,
    num_bytes=2**31,
    parameters=10,
    text=str,
  )


def test_programs_take_turns():
  turns = []
  programs = [fake_program(name, turns) for name in ('none', 'device_cached')]
  rows = timing.measure(programs, SETTING, reps=2, steps=5, warmup=1)
  assert turns[:2] == [('none', 1), ('device_cached', 1)]
  assert turns[2:] == 2 * [('none', 5), ('device_cached', 5)]
  assert [row['input_pipeline'] for row in rows] == ['none', 'device_cached']
  assert [len(row['times_s']) for row in rows] == [2, 2]


def test_figures_by_hand():
  (row,) = timing.measure([fake_program('none', [])], SETTING, reps=2)
  assert row['clips_per_s'] == pytest.approx(3 / row['median_s'])
  assert row['frames_per_s'] == pytest.approx(16 * row['clips_per_s'])
  assert row['flops_per_clip'] == 2e9
  assert row['xla_flops_per_clip'] is None
  assert row['program_gib'] == 2
  assert row['dtype'] == 'float32'
  assert row['of_first_pipeline'] == 1


def test_a_table_has_reference_columns_only_beside_a_reference():
  (row,) = timing.measure([fake_program('none', [])], SETTING, reps=2)
  row['share_of_matrix_rate'] = 0.5
  assert 'reference' not in timing.figures_table([row])
  beside = {**row, 'peer': {'clips_per_s': 2.0}, 'ratio': 1.25}
  text = timing.figures_table([row, beside])
  assert 'reference' in text
  assert text.splitlines()[-1].endswith('2.00   1.25')
