"""Localisation: pixel-level AUC, and the region- and track-based detection criteria.

RBDC and TBDC compare regions. A detected region is an 8-connected component, with at least
`min_area` pixels, of the frame's error map above a threshold, and counts as its bounding box. The
map is first smoothed and reduced by block means (`reduce_map`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

ALPHA = 0.1
"""Share of a track's regions that must be found."""

BETA = 0.1
"""Intersection over union at which two regions match."""

THRESHOLDS = 100
"""Number of thresholds, at quantiles of the maxima of the frames' maps."""

# Neighbours within a frame, none across frames.
_EIGHT = np.zeros((3, 3, 3), bool)
_EIGHT[1] = True

Region = tuple[int, int, int, int, int, int]
"""(track, frame, x1, y1, x2, y2) in pixels; x2 and y2 are exclusive."""


class Curve(NamedTuple):
  """Detection rates from strict to lax thresholds.

  Attributes:
    rate: false positives per frame, [K].
    region: share of the true regions that are found, [K].
    track: share of the true tracks that are found, [K].
  """

  rate: np.ndarray
  region: np.ndarray
  track: np.ndarray


def reduce_map(maps: np.ndarray, step: int, sigma_px: float) -> np.ndarray:
  """Smooth error maps by a Gaussian and reduce them by means of `step` x `step` blocks.

  Args:
    maps: [N, H, W].
    step: size of a block in pixels.
    sigma_px: standard deviation of the Gaussian.

  Returns:
    float32 [N, H / step, W / step].
  """
  smooth = ndimage.gaussian_filter(np.asarray(maps, np.float32), (0, sigma_px, sigma_px))
  count, height, width = smooth.shape
  rows = height // step
  columns = width // step
  trimmed = smooth[:, : rows * step, : columns * step]
  return trimmed.reshape(count, rows, step, columns, step).mean((2, 4))


def regions_of_masks(masks: np.ndarray) -> list[Region]:
  """Return the true regions of one video.

  Each 8-connected component of a mask is a region. If it touches a region of the frame before, it
  belongs to the same track.

  Args:
    masks: [N, H, W].
  """
  labels, _ = ndimage.label(masks > 0, structure=_EIGHT)
  regions = []
  track_of = {}
  next_track = 0
  for component, box in enumerate(ndimage.find_objects(labels), start=1):
    frame = box[0].start
    rows, columns = box[1:]
    touched = np.zeros(0, int)
    if frame > 0:
      inside = labels[frame, rows, columns] == component
      touched = labels[frame - 1, rows, columns][inside]
      touched = touched[touched > 0]
    if len(touched):
      track = track_of[int(np.bincount(touched).argmax())]
    else:
      track = next_track
      next_track += 1
    track_of[component] = track
    regions.append((track, frame, columns.start, rows.start, columns.stop, rows.stop))
  return regions


def detection_curve(
  maps: np.ndarray, truth: Sequence[Region], *, scale: float, min_area: int = 2
) -> Curve:
  """Return region- and track-based detection rates against the rate of false positives.

  A true region is found if a detected region of its frame has an intersection over union of at
  least `BETA` with it. A track is found if at least `ALPHA` of its regions are. A detected region
  is a false positive if it matches no true region. The rate is false positives over all frames.

  Args:
    maps: float [N, h, w], of all test frames.
    truth: the true regions; no two videos share the number of a track.
    scale: pixels of `truth` per pixel of `maps`.
    min_area: pixels of `maps` that a detected region has at least.

  Source: Ramachandra & Jones, Street Scene, WACV 2020, arXiv:1902.05872, sec. 4.
  """
  truth = sorted(truth, key=lambda region: region[1])
  frames = np.asarray([region[1] for region in truth], int)
  boxes = np.asarray([region[2:] for region in truth], float).reshape(-1, 4)
  track_ids, tracks = np.unique([region[0] for region in truth], return_inverse=True)
  sizes = np.bincount(tracks, minlength=len(track_ids))
  rates = []
  region_rates = []
  track_rates = []
  for level in _levels(maps):
    detected_frames, detected = _components(maps >= level, min_area, scale)
    found, false_positives = _match(detected_frames, detected, frames, boxes)
    found_per_track = np.bincount(tracks, found, minlength=len(track_ids))
    is_found = found_per_track / np.maximum(sizes, 1) >= ALPHA
    rates.append(false_positives / len(maps))
    region_rates.append(found.mean() if len(found) else 0.0)
    track_rates.append(is_found.mean() if len(sizes) else 0.0)
  # A laxer threshold can join false regions into one, so the rate does not always rise.
  order = np.argsort(rates, kind='stable')
  return Curve(
    np.asarray(rates)[order],
    np.maximum.accumulate(np.asarray(region_rates)[order]),
    np.maximum.accumulate(np.asarray(track_rates)[order]),
  )


def area_to_one(rate: np.ndarray, detected: np.ndarray, *, end: str) -> float:
  """Return the area under a detection curve for rates from 0 to 1.

  Args:
    rate: false positives per frame, rising, [K].
    detected: share that is found, [K].
    end: continuation of a curve that ends before 1: 'flat' holds its last value, 'point' draws a
      line to (1, 1).
  """
  if end not in ('flat', 'point'):
    raise ValueError(f"end must be 'flat' or 'point', got {end!r}")
  start = 0.0 if rate[0] > 0 else detected[0]
  rate = np.r_[0.0, rate]
  detected = np.r_[start, detected]
  if rate[-1] < 1:
    last = detected[-1] if end == 'flat' else 1.0
    rate = np.r_[rate, 1.0]
    detected = np.r_[detected, last]
  at_one = np.interp(1.0, rate, detected)
  inside = rate < 1
  return float(np.trapezoid(np.r_[detected[inside], at_one], np.r_[rate[inside], 1.0]))


class PixelAuc:
  """Pixel-level ROC area, accumulated frame by frame in a histogram of log errors.

  Attributes:
    counts: float64 [2, BINS], pixels per bin: of normal and of abnormal pixels.
  """

  BINS = 8192
  LOW = -20.0  # natural logarithms of squared errors: from 2e-9
  HIGH = 3.0  # to 20

  def __init__(self) -> None:
    """Start without pixels."""
    self.counts = np.zeros((2, self.BINS))

  def add(self, maps: np.ndarray, masks: np.ndarray) -> None:
    """Count the pixels of squared errors `maps`; `masks` are 0/1 of the same shape."""
    levels = np.log(np.maximum(maps, 1e-12))
    bins = (levels - self.LOW) / (self.HIGH - self.LOW) * self.BINS
    bins = np.clip(bins, 0, self.BINS - 1).astype(int)
    for value in (0, 1):
      self.counts[value] += np.bincount(bins[masks == value], minlength=self.BINS)

  def value(self) -> float | None:
    """Return the AUC in [0, 1], or None where a class is missing; ties in a bin count half."""
    normal, abnormal = self.counts
    if not normal.sum() or not abnormal.sum():
      return None
    below = np.cumsum(normal) - normal / 2
    return float((abnormal * below).sum() / (normal.sum() * abnormal.sum()))


def _levels(maps: np.ndarray) -> list[float]:
  """Return the thresholds, from strict to lax; at the first one nothing is detected."""
  of_maxima = np.quantile(maps.max((1, 2)), np.linspace(1, 0, THRESHOLDS))
  of_pixels = np.quantile(maps, [0.9, 0.75, 0.5])
  levels = np.r_[np.inf, of_maxima, of_pixels]
  return sorted(set(levels.tolist()), reverse=True)


def _components(above: np.ndarray, min_area: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
  """Return the components of a boolean volume [N, h, w].

  Returns:
    Their frames int [K], and their boxes [K, 4] in pixels of the true regions.
  """
  labels, count = ndimage.label(above, structure=_EIGHT)
  areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
  frames = []
  boxes = []
  for (frame, rows, columns), area in zip(ndimage.find_objects(labels), areas, strict=True):
    if area >= min_area:
      frames.append(frame.start)
      boxes.append((columns.start, rows.start, columns.stop, rows.stop))
  return np.asarray(frames, int), scale * np.asarray(boxes, float).reshape(-1, 4)


def _match(
  detected_frames: np.ndarray, detected: np.ndarray, frames: np.ndarray, boxes: np.ndarray
) -> tuple[np.ndarray, int]:
  """Return which true regions are found, bool [K], and the number of false positives."""
  found = np.zeros(len(boxes), bool)
  false_positives = 0
  starts = np.searchsorted(frames, detected_frames, 'left')
  ends = np.searchsorted(frames, detected_frames, 'right')
  for box, start, end in zip(detected, starts, ends, strict=True):
    hits = _intersection_over_union(box, boxes[start:end]) >= BETA
    found[start:end] |= hits
    if not hits.any():
      false_positives += 1
  return found, false_positives


def _intersection_over_union(box: np.ndarray, others: np.ndarray) -> np.ndarray:
  """Compare one box [4] with others [K, 4]."""
  width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
  height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
  shared = np.maximum(width, 0) * np.maximum(height, 0)
  area = (box[2] - box[0]) * (box[3] - box[1])
  other_areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
  return shared / (area + other_areas - shared)
