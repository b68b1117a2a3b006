"""A bundle scores a video as evaluation does, without importing it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3dcae_jax.data.frame_cache import CachedVideo
from a3dcae_jax.data.windows import test_windows as windows_of
from a3dcae_jax.objects import clips
from a3dcae_jax.scoring import normalisation
from a3dcae_jax.scoring.assemble import frame_vector
from a3dcae_jax.serving import video
from a3dcae_jax.serving.artefact import export_program
from a3dcae_jax.serving.bundle import load_bundle, write_bundle

WINDOW = 8
SHAPE = (4, 6)
MEAN = np.full(SHAPE, 0.25, np.float32)
WEIGHTS = {'scale': np.float32([3.0])}


def program(weights, mean_image, clips):
  """Errors depend on the position in the window, like those of a network."""
  pixels = clips.astype(jnp.float32) / 255 - mean_image
  positions = 1 + jnp.arange(WINDOW, dtype=jnp.float32).reshape(1, -1, 1, 1)
  maps = jnp.square(pixels) * weights['scale'] * positions
  return maps.mean((2, 3)), maps


@pytest.fixture(scope='module')
def exported():
  return {'uint8': export_program(program, program, WEIGHTS, MEAN, window=WINDOW, dtype='uint8')}


def calibration_of(**changes):
  return {
    'per_position': True,
    'position_mean': np.linspace(0.5, 2, WINDOW).tolist(),
    'mean': 0.7,
    'std': 0.3,
    'step_frames': 4,
    'smoothing_frames': 2.5,
    'smoothing_mode': 'centred',
    'threshold': 1.5,
  } | changes


def evaluated(frames, calibration, stride):
  """The score of each frame, by the functions of the evaluation."""
  whole = CachedVideo('a', 0, len(frames), '')
  windows = windows_of([whole], window=WINDOW, step=calibration['step_frames'], stride=stride)
  errors, _ = jax.jit(program)(WEIGHTS, MEAN, frames[windows.rows])
  if calibration['per_position']:
    errors = np.asarray(errors) / np.asarray(calibration['position_mean'])
  by_frame = frame_vector(errors, windows.rows, windows.keep, len(frames))
  scores = normalisation.normalise(
    [by_frame], 'zscore', train_mean=calibration['mean'], train_std=calibration['std']
  )
  return normalisation.smooth(
    scores, calibration['smoothing_frames'], calibration['smoothing_mode']
  )[0]


@pytest.mark.parametrize(
  'num_frames, stride, changes',
  [
    (101, 3, {}),
    (101, 3, {'smoothing_mode': 'causal'}),
    (101, 3, {'step_frames': 0}),
    (101, 1, {'step_frames': 0, 'smoothing_frames': 0.0, 'per_position': False}),
    (19, 3, {}),  # too short for the stride
    (8, 1, {'smoothing_frames': 9.0}),  # shorter than the Gaussian
  ],
)
def test_scores_of_a_video_are_those_of_the_evaluation(
  tmp_path, rng, exported, num_frames, stride, changes
):
  calibration = calibration_of(**changes)
  write_bundle(
    tmp_path / 'b',
    models=exported,
    weights=WEIGHTS,
    mean_image=MEAN,
    window=WINDOW,
    stride=stride,
    details={'calibration': calibration},
  )
  frames = rng.integers(0, 256, (num_frames, *SHAPE), dtype=np.uint8)
  scores = load_bundle(tmp_path / 'b').score_video(frames)
  expected = evaluated(frames, calibration, stride)
  assert scores.shape == (num_frames,)
  assert scores.dtype == np.float64
  np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6)


@given(
  num_frames=st.integers(4, 60),
  window=st.integers(1, 4),
  step=st.integers(0, 4),
  stride=st.integers(1, 5),
)
def test_windows_are_those_of_the_evaluation(num_frames, window, step, stride):
  step = min(step, window)
  expected = windows_of(
    [CachedVideo('a', 0, num_frames, '')], window=window, step=step, stride=stride
  )
  rows, keep = video.cut_windows(num_frames, window=window, step=step, stride=stride)
  np.testing.assert_array_equal(rows, expected.rows)
  np.testing.assert_array_equal(keep, expected.keep)


@given(num_frames=st.integers(1, 30), window=st.integers(1, 9))
def test_clips_of_objects_are_those_of_the_evaluation(num_frames, window):
  frame = np.arange(num_frames, dtype=np.int32)
  low = np.zeros_like(frame)
  high = low + np.int32(num_frames - 1)
  rows = video.object_rows(frame, num_frames, window=window)
  expected = clips.object_rows(frame, low, high, window=window)
  assert rows.dtype == expected.dtype
  np.testing.assert_array_equal(rows, expected)


@given(
  num_frames=st.integers(1, 40),
  sigma_frames=st.floats(0.1, 12),
  mode=st.sampled_from(['centred', 'causal']),
)
def test_smoothing_is_that_of_the_evaluation(num_frames, sigma_frames, mode):
  scores = np.random.default_rng(num_frames).standard_normal(num_frames)
  expected = normalisation.smooth([scores], sigma_frames, mode)[0]
  got = video.smooth(scores, sigma_frames, mode)
  np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
