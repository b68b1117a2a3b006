"""Boxes: selection, joining, overlap, suppression, moving boxes that a detector missed."""

from types import SimpleNamespace

import numpy as np
import pytest

from a3dcae_jax.objects.boxes import (
  iou,
  join_boxes,
  make_boxes,
  no_boxes,
  select_boxes,
  suppress,
)

SQUARE = [0, 0, 10, 10]


def options(**changes):
  values = {'min_score': 0.0, 'classes': (), 'min_size_px': 0, 'max_per_frame': 100}
  return SimpleNamespace(**(values | changes))


def boxes_of(frames, scores, labels=None):
  count = len(frames)
  return make_boxes(frames, [SQUARE] * count, scores, labels or [0] * count)


@pytest.mark.parametrize(
  'changes, kept',
  [
    ({}, [0.5, 0.9, 0.5, 0.2]),
    ({'min_score': 0.5}, [0.5, 0.9, 0.5]),
    ({'classes': (2,)}, [0.2]),
    ({'max_per_frame': 2}, [0.5, 0.9, 0.2]),
    ({'max_per_frame': 1}, [0.9, 0.2]),
    ({'min_size_px': 10}, [0.5, 0.9, 0.5, 0.2]),
    ({'min_size_px': 11}, []),
  ],
)
def test_boxes_are_selected(changes, kept):
  boxes = boxes_of([3, 3, 3, 4], [0.5, 0.9, 0.5, 0.2], [0, 1, 0, 2])
  selected = select_boxes(boxes, options(**changes))
  np.testing.assert_allclose(selected.score, kept)


def test_of_equal_scores_the_first_are_kept():
  boxes = boxes_of([0, 0, 0], [0.5, 0.5, 0.5], [7, 8, 9])
  assert select_boxes(boxes, options(max_per_frame=2)).label.tolist() == [7, 8]


def test_selecting_from_no_boxes_gives_none():
  assert select_boxes(no_boxes(), options()).corners.shape == (0, 4)


def test_joined_boxes_are_in_the_order_of_frames():
  joined = join_boxes([boxes_of([2, 5], [0.1, 0.2]), boxes_of([1, 2], [0.3, 0.4])])
  assert joined.frame.tolist() == [1, 2, 2, 5]
  np.testing.assert_allclose(joined.score, [0.3, 0.1, 0.4, 0.2])
  assert join_boxes([]).frame.dtype == np.int32


def test_iou_of_shifted_squares():
  second = np.asarray([SQUARE, [5, 0, 15, 10], [10, 0, 20, 10], [3, 3, 3, 3]])
  np.testing.assert_allclose(iou(np.asarray([SQUARE]), second), [[1, 1 / 3, 0, 0]])


def test_suppression_keeps_the_best_of_overlapping_boxes():
  corners = np.asarray([[1, 0, 11, 10], SQUARE, [30, 0, 40, 10]], float)
  assert suppress(corners, np.asarray([0.5, 0.8, 0.6])).tolist() == [1, 2]
  assert suppress(corners[:0], np.zeros(0)).size == 0
