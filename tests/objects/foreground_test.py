"""The foreground: what moves is found, a change of light or of the camera is not."""

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.objects.boxes import iou
from a3dcae_jax.objects.foreground import ForegroundModel
from tests.objects.footage import SIZE, frame_of, split_of, walking


@pytest.fixture(scope='module')
def model():
  return ForegroundModel.fit(split_of(walking(60), [60]))


def expected(*places):
  return np.asarray([(x, y, x + SIZE[0], y + SIZE[1]) for x, y in places], float)


def assert_found(corners, *places):
  assert len(corners) == len(places)
  assert iou(expected(*places), corners).max(1).min() > 0.5


def test_moving_rectangles_are_found(model):
  corners = model.detect(frame_of([(20, 20), (70, 45)], noise_seed=99))
  assert corners.dtype == np.float32
  assert_found(corners, (20, 20), (70, 45))


def test_two_that_touch_are_split(model):
  assert_found(model.detect(frame_of([(40, 30), (48, 30)])), (40, 30), (48, 30))


def test_an_empty_scene_has_nothing(model):
  stream = model.stream()
  for seed in range(5):
    assert stream.detect(frame_of(noise_seed=seed)).shape == (0, 4)


def flickering(frames, seed):
  """Return frames [N, H, W] in which a corner is full of leaves in the wind."""
  frames = frames.copy()
  coarse = np.random.default_rng(seed).normal(size=(len(frames), 6, 8))
  leaves = 140 + 20 * np.kron(coarse, np.ones((4, 4)))
  frames[:, :24, 88:] = np.clip(leaves, 0, 255)
  return frames


def test_what_always_flickers_is_not_an_object():
  model = ForegroundModel.fit(split_of(flickering(walking(60), 1), [60]))
  frames = flickering(np.stack([frame_of([(20, 45)], noise_seed=99)] * 5), 2)
  for frame in frames:
    assert_found(model.detect(frame), (20, 45))


@pytest.mark.parametrize('light', [{'offset': 20}, {'offset': -30}, {'gain': 0.8}, {'gain': 1.1}])
def test_a_change_of_light_is_not_an_object(model, light):
  assert model.detect(frame_of(**light)).shape == (0, 4)
  assert_found(model.detect(frame_of([(40, 30)], **light)), (40, 30))


@pytest.mark.parametrize('shift', [(0, 1), (2, -3), (-4, 2)])
def test_a_camera_that_moved_a_little_is_not_an_object(model, shift):
  moved = np.roll(frame_of(), shift, (0, 1))
  inner = model.detect(moved)
  edge = np.abs(np.asarray(shift)).max() + 1
  far = (inner[:, 0] >= edge) & (inner[:, 2] <= 120 - edge)
  far &= (inner[:, 1] >= edge) & (inner[:, 3] <= 80 - edge)
  assert not far.any()


def test_the_background_follows_what_stays(model):
  stream = model.stream()
  frames = [frame_of(noise_seed=seed) for seed in range(3)]
  for frame in frames:
    frame[10:30, 80:90] = np.clip(frame[10:30, 80:90].astype(int) + 25, 0, 255)
  found = [len(stream.detect(frames[index % 3])) for index in range(1500)]
  assert found[0] == 1
  assert found[-1] == 0


def test_an_unknown_scene_is_learned_from_its_own_frames(model):
  stream = model.stream('other')
  for index in range(40):
    found = stream.detect(frame_of([(2 * index, 30)], seed=5, noise_seed=index))
  assert iou(expected((78, 30)), found).max() > 0.4  # what it left behind is not yet learned
  assert len(found) <= 3


def test_a_video_without_a_known_scene_takes_the_most_alike(model):
  other = np.stack([frame_of([(5 * step, 30)], seed=5, noise_seed=step) for step in range(20)])
  frames = np.concatenate([walking(60), other])
  both = ForegroundModel.fit(split_of(frames, [60, 20], ['a', 'b']))
  assert set(both.scenes) == {'a', 'b'}
  for seed in (0, 5):
    assert_found(both.detect(frame_of([(40, 30)], seed=seed), 'new'), (40, 30))


def test_a_model_is_the_same_after_its_arrays(model):
  again = ForegroundModel.from_arrays(model.to_arrays())
  frame = frame_of([(20, 20), (70, 45)])
  np.testing.assert_array_equal(again.detect(frame), model.detect(frame))
  assert again.parameters == model.parameters


def test_arrays_of_something_else_are_named(model):
  with pytest.raises(UserError, match='m.npz is not a model of the foreground'):
    ForegroundModel.from_arrays({'x': np.zeros(2)}, 'm.npz')
  arrays = model.to_arrays()
  arrays['header'] = np.asarray(str(arrays['header']).replace('"version": 3', '"version": 0'))
  with pytest.raises(UserError, match='m.npz has version 0'):
    ForegroundModel.from_arrays(arrays, 'm.npz')


def test_a_frame_of_another_size_is_named(model):
  with pytest.raises(UserError, match='the frame is 60x40, the background of scene'):
    model.detect(np.zeros((40, 60), np.uint8))


def test_no_training_video_is_an_error():
  with pytest.raises(UserError, match='needs training videos'):
    ForegroundModel.fit(split_of(np.zeros((0, 80, 120), np.uint8), []))
