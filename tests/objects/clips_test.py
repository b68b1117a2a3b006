"""Clips of objects: which frames they have."""

import numpy as np

from a3dcae_jax.data.frame_cache import CachedVideo, Split
from a3dcae_jax.objects.boxes import Boxes
from a3dcae_jax.objects.clips import object_rows, object_table


def example():
  videos = (CachedVideo('a', 0, 5, ''), CachedVideo('b', 5, 20, ''))
  split = Split(np.zeros((25, 4, 6), np.uint8), videos)
  frame = np.asarray([0, 4, 5, 12, 24], np.int32)
  corners = np.tile(np.float32([1, 0, 3, 2]), (5, 1))
  boxes = Boxes(frame, corners, np.ones(5, np.float32), np.zeros(5, np.int32))
  return object_table(boxes, split)


def test_clips_have_their_frame_in_the_middle_and_stay_in_their_video():
  table = example()
  rows = object_rows(table.frame, table.low, table.high, window=8)
  assert rows[0].tolist() == [0, 0, 0, 0, 0, 1, 2, 3]
  assert rows[1].tolist() == [0, 1, 2, 3, 4, 4, 4, 4]
  assert rows[2].tolist() == [5, 5, 5, 5, 5, 6, 7, 8]
  assert rows[3].tolist() == list(range(8, 16))
  assert rows[4].tolist() == [20, 21, 22, 23, 24, 24, 24, 24]


def test_an_odd_window_is_symmetric():
  table = example().take([3])
  rows = object_rows(table.frame, table.low, table.high, window=7)
  assert rows[0].tolist() == list(range(9, 16))
