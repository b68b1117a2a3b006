"""What is timed: the same clips whatever the input_pipeline, turns that alternate, figures by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring import timing
from a3dcae_jax.measuring.programs import Setting
from a3dcae_jax.measuring.timed_batches import fed, timed_batches

SETTING = Setting('infer', 'tiny', 3, 'float32')


def first_clips(input_pipeline):
  source = timed_batches(SETTING, input_pipeline)
  take = fed(lambda carry, clips, mean_image: clips + jnp.uint8(carry), SETTING)
  return np.asarray(take(0, next(source.batches), None, *source.frames))


def test_resident_clips_are_those_without_feeding():
  clips = first_clips('none')
  assert clips.shape == (3, 16, 32, 32) and clips.dtype == np.uint8
  np.testing.assert_array_equal(clips, first_clips('device_cached'))
  source = timed_batches(SETTING, 'device_cached')
  assert not np.array_equal(
    next(source.batches)[0], next(source.batches)[0]
  )  # other clips every step


@pytest.mark.slow  # brings TensorFlow
def test_streamed_clips_are_those_without_feeding():
  np.testing.assert_array_equal(first_clips('none'), first_clips('streaming'))


def test_unknown_feeding_is_named():
  with pytest.raises(
    UserError, match="--input_pipeline 'disk': known are none, device_cached, streaming"
  ):
    timed_batches(SETTING, 'disk')


def test_programs_take_turns():
  turns = []
  programs = [
    timing.Program(
      lambda steps=1, name=name: turns.append((name, steps)), name, 1.0, 6e9, None, 2**31, 10, str
    )
    for name in ('none', 'device_cached')
  ]
  rows = timing.measure(programs, SETTING, reps=2, steps=5, warmup=1)
  assert turns == [('none', 1), ('device_cached', 1)] + 2 * [('none', 5), ('device_cached', 5)]
  assert [row['input_pipeline'] for row in rows] == ['none', 'device_cached'] and len(
    rows[0]['times_s']
  ) == 2
  row = rows[0]
  assert row['clips_per_s'] == pytest.approx(3 / row['median_s']) and row[
    'frames_per_s'
  ] == pytest.approx(16 * row['clips_per_s'])
  assert (
    row['flops_per_clip'] == 2e9
    and row['xla_flops_per_clip'] is None
    and row['program_gib'] == 2
    and row['dtype'] == 'float32'
  )
