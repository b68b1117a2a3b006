"""Boxes of one split of a frame cache, and which of them are used."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

MIN_SCORE = 0.1  # boxes with a lower score are not kept
NMS_IOU = 0.45
MOVING_LABEL = -1


class Boxes(NamedTuple):
  """Boxes of the frames of a split, in the order of their frames.

  Attributes:
    frame: int32 [M], index of the frame in the split, ascending.
    corners: float32 [M, 4], x1, y1, x2, y2 in pixels of the cached frames; x2, y2 are exclusive.
    score: float32 [M], in [0, 1].
    label: int32 [M], class of the detector; -1: something that moves.
  """

  frame: np.ndarray
  corners: np.ndarray
  score: np.ndarray
  label: np.ndarray

  def take(self, chosen: np.ndarray | slice) -> 'Boxes':
    """Return some of the boxes, by indices or by a mask."""
    return Boxes(*(column[chosen] for column in self))


Found = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Boxes of a frame, best first: float32 [M, 4] corners in pixels, float32 [M] scores, int32 [M]
classes."""


class SelectOptions(Protocol):
  """Settings of `select_boxes`.

  Attributes:
    min_score: boxes with a lower score are left out.
    classes: classes to keep; empty: all.
    min_size_px: shortest side, in pixels of the cached frames.
    max_per_frame: so many boxes of a frame are kept, those with the highest scores.
  """

  min_score: float
  classes: Sequence[int]
  min_size_px: float
  max_per_frame: int


def make_boxes(frame: object, corners: object, score: object, label: object) -> Boxes:
  """Return boxes with the types of `Boxes`, from anything like arrays."""
  return Boxes(
    np.asarray(frame, np.int32).reshape(-1),
    np.asarray(corners, np.float32).reshape(-1, 4),
    np.asarray(score, np.float32).reshape(-1),
    np.asarray(label, np.int32).reshape(-1),
  )


def no_boxes() -> Boxes:
  """Return no boxes."""
  return make_boxes([], [], [], [])


def join_boxes(parts: Sequence[Boxes]) -> Boxes:
  """Return the boxes of several parts, in the order of their frames.

  Boxes of one frame stay in the order of the parts.
  """
  parts = [no_boxes(), *parts]
  joined = Boxes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
  return joined.take(np.argsort(joined.frame, kind='stable'))


def select_boxes(boxes: Boxes, options: SelectOptions) -> Boxes:
  """Return the boxes that are used, in their order.

  Args:
    boxes: of a split.
    options: see `SelectOptions`.
  """
  keep = boxes.score >= np.float32(options.min_score)
  if options.classes:
    keep &= np.isin(boxes.label, np.asarray(options.classes, np.int32))
  keep &= (boxes.corners[:, 2:] - boxes.corners[:, :2]).min(
    1, initial=np.inf
  ) >= options.min_size_px
  kept = boxes.take(keep)
  order = np.lexsort((-kept.score, kept.frame))  # stable: ties stay in their order
  rank = np.empty(len(order), int)
  rank[order] = np.arange(len(order)) - np.searchsorted(kept.frame, kept.frame[order])
  return kept.take(rank < options.max_per_frame)


def area(corners: np.ndarray) -> np.ndarray:
  """Return the areas of boxes [M, 4], at least 0."""
  return np.prod(np.maximum(corners[:, 2:] - corners[:, :2], 0), axis=1)


def intersection(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """Return the area that each of M boxes shares with each of K, [M, K]."""
  upper = np.maximum(first[:, None, :2], second[None, :, :2])
  lower = np.minimum(first[:, None, 2:], second[None, :, 2:])
  return np.prod(np.maximum(lower - upper, 0), axis=2)


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """Return intersection over union of each of M boxes with each of K, [M, K]."""
  shared = intersection(first, second)
  union = area(first)[:, None] + area(second)[None] - shared
  return shared / np.maximum(union, 1e-9)


def suppress(corners: np.ndarray, score: np.ndarray, limit: float = NMS_IOU) -> np.ndarray:
  """Return the indices of boxes that no better box overlaps, best first.

  Args:
    corners: float [M, 4].
    score: float [M].
    limit: a box is left out if its IoU with a better one that is kept is at least this.
  """
  order = np.argsort(-score, kind='stable')
  kept = []
  while order.size:
    best, order = order[0], order[1:]
    kept.append(best)
    order = order[iou(corners[best : best + 1], corners[order])[0] < limit]
  return np.asarray(kept, int)
