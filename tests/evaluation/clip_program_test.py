"""Programs on clips give the same results on any number of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.evaluation import clip_program
from a3dcae_jax.evaluation.clip_program import ClipProgram


def program(arrays, frames, rows, shift):
  clips = frames[rows].astype(jnp.float32)
  return clips.mean((1, 2, 3)) * arrays['scale'] + shift, clips[:, 0, 0, 0] > 100


@pytest.mark.parametrize('is_resident', [True, False])
@pytest.mark.parametrize('devices', [1, 2, 3])
@pytest.mark.parametrize('count', [0, 1, 7])
def test_all_devices_share_the_clips(monkeypatch, use_devices, rng, count, devices, is_resident):
  use_devices(devices)
  monkeypatch.setattr(clip_program, 'fits_on_device', lambda num_bytes: is_resident)
  frames = rng.integers(0, 256, (20, 4, 6), dtype=np.uint8)
  rows = rng.integers(0, 20, (count, 3)).astype(np.int32)
  shift = rng.random(count).astype(np.float32)
  arrays = {'scale': np.float32(2)}
  mean, is_bright = ClipProgram(program).results(arrays, frames, rows, shift, batch_size=2)
  np.testing.assert_allclose(mean, 2 * frames[rows].mean((1, 2, 3)) + shift, rtol=1e-6)
  np.testing.assert_array_equal(is_bright, frames[rows][:, 0, 0, 0] > 100)
  assert mean.dtype == np.float32 and is_bright.dtype == bool


@pytest.mark.parametrize('is_resident', [True, False])
@pytest.mark.parametrize('devices', [1, 2])
def test_nothing_is_compiled_twice(monkeypatch, use_devices, rng, devices, is_resident):
  use_devices(devices)
  monkeypatch.setattr(clip_program, 'fits_on_device', lambda num_bytes: is_resident)
  frames = rng.integers(0, 256, (20, 4, 6), dtype=np.uint8)
  arrays = {'scale': np.float32(2)}
  shapes = {'scale': jax.ShapeDtypeStruct((), np.float32)}
  rows, shift = np.zeros((7, 3), np.int32), np.zeros(7, np.float32)
  clips = ClipProgram(program)
  compiled = []
  monitored = '/jax/core/compile/backend_compile_duration'

  def listen(name, *_, **__):
    if name == monitored:
      compiled.append(name)

  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    clips.compile(shapes, frames, (rows[:1], shift[:1]), 2)
    assert len(compiled) == 1
    clips.results(arrays, frames, rows, shift, batch_size=2)
    assert len(compiled) == 1
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)
