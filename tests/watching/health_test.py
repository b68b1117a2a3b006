"""Faults of a camera by its frames alone."""

import zlib

import numpy as np
import pytest

from a3dcae_jax.serving.images import prepared
from a3dcae_jax.watching.health import (
  AFTER_S,
  FROZEN_FRAMES,
  HealthMonitor,
  why_not_compared,
)
from tests.watching.toy import SHAPE, camera, mean_image

RATE = 25


def told(frames, monitor=None, start_s=0.0, sizes=None):
  """Return the kinds that start, and in which frame."""
  monitor = monitor or HealthMonitor(mean_image()[None])
  found = []
  for index, frame in enumerate(frames):
    size = sizes[index] if sizes else (96, 64)
    small = prepared(frame, *SHAPE)
    for fault in monitor.add(small, size, zlib.crc32(frame), start_s + index / RATE):
      found.append((index, fault.kind, fault.is_start))
  return found


def noise(level, count, spread=2):
  rng = np.random.default_rng(3)
  return [
    rng.integers(level - spread, level + spread, (64, 96)).astype(np.uint8) for _ in range(count)
  ]


def test_a_sound_camera_has_no_fault_by_day_and_by_night():
  frames = list(camera(300, bright=range(50, 200)))
  assert told(frames) == []
  rng = np.random.default_rng(2)
  night = [
    np.clip(frame * 0.25 + rng.normal(0, 3, frame.shape), 0, 255).astype(np.uint8)
    for frame in camera(300)
  ]
  assert told(night) == []


@pytest.mark.parametrize(
  'kind, frames',
  [
    ('black', noise(16, 400, 4)),
    ('covered', noise(90, 400)),
    ('moved', [np.roll(frame, 30, 1) for frame in camera(400)]),
  ],
)
def test_a_fault_is_told_once_it_lasts_and_when_it_ends(kind, frames):
  normal = list(camera(60))
  found = told([*normal, *frames, *normal])
  assert [each[1:] for each in found] == [(kind, True), (kind, False)]
  started = (found[0][0] - 60) / RATE
  assert AFTER_S[kind] - 0.3 <= started <= AFTER_S[kind] + 0.3
  short = frames[: int(AFTER_S[kind] * RATE * 0.7)]
  assert told([*normal, *short, *normal]) == []


def test_a_repeated_frame_is_frozen_by_time_or_by_number():
  (frame,) = camera(1)
  found = told([frame] * 200)
  assert found == [(FROZEN_FRAMES, 'frozen', True)]
  monitor = HealthMonitor(mean_image()[None])
  slow = [
    (index, fault.kind)
    for index in range(10)
    for fault in monitor.add(prepared(frame, *SHAPE), (96, 64), 7, float(index))
  ]
  assert slow == [(5, 'frozen')]


def test_another_size_is_told_each_time():
  frames = list(camera(6))
  sizes = [(96, 64)] * 3 + [(48, 32)] * 3
  assert told(frames, sizes=sizes) == [(3, 'size', True)]


def test_without_mean_images_scenes_are_not_compared():
  assert told(noise(90, 400), HealthMonitor(None)) == []
  assert 'has no mean image' in why_not_compared(None)
  assert why_not_compared(mean_image()[None]) == ''


def test_a_plain_wall_with_people_is_not_compared():
  wall = np.full((64, 96), 120, np.uint8)
  frames = [wall.copy() for _ in range(480)]
  for index, frame in enumerate(frames):
    for place in (index, index + 48):
      frame[20:36, place % 96 : place % 96 + 6] = 20
  mean = np.mean([prepared(frame, *SHAPE) for frame in frames], 0)
  assert told(frames, HealthMonitor(mean[None] / 255)) == []
  scenes = np.stack([mean / 255, mean_image()])  # of two cameras
  assert told(frames, HealthMonitor(scenes)) == []
  assert 'has hardly any detail' in why_not_compared(scenes)
