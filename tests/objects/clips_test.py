"""Clips of objects: which frames they have."""

import numpy as np

from a3dcae_jax.data.frame_cache import CachedVideo, Split
from a3dcae_jax.objects.boxes import Boxes
from a3dcae_jax.objects.clips import object_rows, object_table, scored_objects, spread_objects


def example():
  videos = (CachedVideo('a', 0, 5, ''), CachedVideo('b', 5, 20, ''))
  split = Split(np.zeros((25, 4, 6), np.uint8), videos)
  frame = np.asarray([0, 4, 5, 12, 24], np.int32)
  corners = np.tile(np.float32([1, 0, 3, 2]), (5, 1))
  boxes = Boxes(frame, corners, np.ones(5, np.float32), np.zeros(5, np.int32))
  return object_table(boxes, split), split


def test_clips_have_their_frame_in_the_middle_and_stay_in_their_video():
  table, _ = example()
  rows = object_rows(table.frame, table.low, table.high, window=8)
  assert rows[0].tolist() == [0, 0, 0, 0, 0, 1, 2, 3]
  assert rows[1].tolist() == [0, 1, 2, 3, 4, 4, 4, 4]
  assert rows[2].tolist() == [5, 5, 5, 5, 5, 6, 7, 8]
  assert rows[3].tolist() == list(range(8, 16))
  assert rows[4].tolist() == [20, 21, 22, 23, 24, 24, 24, 24]


def test_an_odd_window_is_symmetric():
  table = example()[0].take([3])
  rows = object_rows(table.frame, table.low, table.high, window=7)
  assert rows[0].tolist() == list(range(9, 16))


def test_every_frame_has_the_objects_of_the_nearest_scored_one():
  table, split = example()
  scored = scored_objects(table, 4)  # of a: 0 and 4, of b: 5, 9, 13, 17, 21
  assert scored.frame.tolist() == [0, 4, 5]
  spread, index = spread_objects(scored, split, 4)
  assert spread.frame.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
  assert index.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
  assert (spread.high[index == 2] == 24).all()


def test_with_every_frame_scored_objects_stay_as_they_are():
  table, split = example()
  assert scored_objects(table, 1).frame.tolist() == table.frame.tolist()
  spread, index = spread_objects(table, split, 1)
  assert spread.frame.tolist() == table.frame.tolist()
  assert index.tolist() == [0, 1, 2, 3, 4]
