"""Localisation: pixel-level AUC, region- and track-based detection criteria.

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

# Neighbours within a frame; frames are not connected.
_EIGHT = np.zeros((3, 3, 3), bool)
_EIGHT[1] = True

Region = tuple[int, int, int, int, int, int]
"""(track, frame, x1, y1, x2, y2) in pixels; x2 and y2 are exclusive."""


class Curve(NamedTuple):
  """Detection rates from the highest threshold to the lowest.

  Attributes:
    rate: false positives per frame, [K].
    region: share of the true regions that are found, [K].
    track: share of the true tracks that are found, [K].
  """

  rate: np.ndarray
  region: np.ndarray
  track: np.ndarray


def reduce_map(maps: np.ndarray, step: int, sigma_px: float) -> np.ndarray:
  """Smooth error maps by a Gaussian and reduce them by block means.

  Args:
    maps: [N, H, W].
    step: height and width of a block in pixels.
    sigma_px: standard deviation of the Gaussian.

  Returns:
    float32 [N, H / step, W / step].
  """
  maps = np.asarray(maps, np.float32)
  smooth = ndimage.gaussian_filter(maps, (0, sigma_px, sigma_px))
  count, height, width = smooth.shape
  rows = height // step
  columns = width // step
  trimmed = smooth[:, : rows * step, : columns * step]
  blocks = trimmed.reshape(count, rows, step, columns, step)
  return blocks.mean((2, 4))


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
  boxes = ndimage.find_objects(labels)
  for component, (frames, rows, columns) in enumerate(boxes, start=1):
    frame = frames.start
    before = _component_before(labels, component, (frame, rows, columns))
    if before:
      track = track_of[before]
    else:
      track = next_track
      next_track += 1
    track_of[component] = track
    regions.append((track, frame, columns.start, rows.start, columns.stop, rows.stop))
  return regions


def _component_before(labels: np.ndarray, component: int, box: tuple[int, slice, slice]) -> int:
  """Return the component of the frame before that touches this one most, or 0."""
  frame, rows, columns = box
  if frame == 0:
    return 0
  inside = labels[frame, rows, columns] == component
  before = labels[frame - 1, rows, columns][inside]
  touched = before[before > 0]
  if not len(touched):
    return 0
  return int(np.bincount(touched).argmax())


def detection_curve(
  maps: np.ndarray, truth: Sequence[Region], *, scale: float, min_area: int = 2
) -> Curve:
  """Return RBDC and TBDC: detection rates against false positives per frame.

  A true region is found if a detected region of its frame has an intersection over union of at
  least `BETA` with it. A track is found if at least `ALPHA` of its regions are. A detected region
  is a false positive if it matches no true region. The rate is false positives over all frames.

  Args:
    maps: float [N, h, w], of all test frames.
    truth: the true regions; no two videos share the number of a track.
    scale: pixels of `truth` per pixel of `maps`.
    min_area: pixels of `maps` that a detected region must have.

  Source: Ramachandra & Jones, Street Scene, WACV 2020, arXiv:1902.05872, sec. 4.
  """
  return _curve(
    _levels(maps), lambda level: _components(maps >= level, min_area, scale), len(maps), truth
  )


def box_detection_curve(
  frames: np.ndarray,
  boxes: np.ndarray,
  errors: np.ndarray,
  num_frames: int,
  truth: Sequence[Region],
) -> Curve:
  """Return RBDC and TBDC of boxes, by the rules of `detection_curve`.

  Args:
    frames: int [M], frame of each box.
    boxes: [M, 4], x1, y1, x2, y2.
    errors: [M]; a box is detected at a threshold that its error reaches.
    num_frames: number of test frames, N.
    truth: the true regions.
  """
  levels = np.quantile(errors, np.linspace(1, 0, THRESHOLDS)) if len(errors) else []

  def detected(level: float) -> tuple[np.ndarray, np.ndarray]:
    chosen = errors >= level
    return frames[chosen], boxes[chosen]

  return _curve(sorted({np.inf, *levels}, reverse=True), detected, num_frames, truth)


def _curve(levels, detected, num_frames, truth):
  """Return the curve over thresholds.

  Args:
    levels: thresholds, highest first.
    detected: threshold -> (frames [K], boxes [K, 4]) of the detected regions.
    num_frames: number of test frames.
    truth: the true regions.
  """
  table = np.asarray(truth, float).reshape(-1, 6)
  table = table[np.argsort(table[:, 1], kind='stable')]
  frames = table[:, 1].astype(int)
  boxes = table[:, 2:]
  _, tracks = np.unique(table[:, 0], return_inverse=True)
  points = []
  for level in levels:
    found, false_positives = _match(*detected(level), frames, boxes)
    found_tracks = _found_tracks(found, tracks)
    rate = false_positives / num_frames
    points.append((rate, _share(found), _share(found_tracks)))
  rates, region_rates, track_rates = np.asarray(points).T
  # A lower threshold can join false regions into one, so the rate does not always rise.
  order = np.argsort(rates, kind='stable')
  return Curve(
    rate=rates[order],
    region=np.maximum.accumulate(region_rates[order]),
    track=np.maximum.accumulate(track_rates[order]),
  )


def area_to_one(rate: np.ndarray, detected: np.ndarray, *, end: str) -> float:
  """Return the area under a detection curve for rates from 0 to 1.

  Args:
    rate: false positives per frame, rising, [K].
    detected: share that is found, [K].
    end: continuation of a curve that ends before 1: 'flat' keeps its last value, 'point' draws a
      line to (1, 1).
  """
  if end not in ('flat', 'point'):
    raise ValueError(f"end must be 'flat' or 'point', got {end!r}")
  start = 0.0 if rate[0] > 0 else detected[0]
  rate = np.append(0.0, rate)
  detected = np.append(start, detected)
  if rate[-1] < 1:
    last = 1.0 if end == 'point' else detected[-1]
    rate = np.append(rate, 1.0)
    detected = np.append(detected, last)
  at_one = np.interp(1.0, rate, detected)
  inside = rate < 1
  rate = np.append(rate[inside], 1.0)
  detected = np.append(detected[inside], at_one)
  return float(np.trapezoid(detected, rate))


class PixelAuc:
  """Pixel-level ROC area, accumulated frame by frame in a histogram of log errors.

  Attributes:
    counts: float64 [2, BINS], number of normal and of abnormal pixels per bin.
  """

  BINS = 8192
  LOW = -20.0  # natural logarithm of the smallest squared error, 2e-9
  HIGH = 3.0  # natural logarithm of the largest, 20

  def __init__(self) -> None:
    """Start without pixels."""
    self.counts = np.zeros((2, self.BINS))

  def add(self, maps: np.ndarray, masks: np.ndarray) -> None:
    """Count the pixels of squared errors `maps`; `masks` are 0/1 of the same shape."""
    levels = np.log(np.maximum(maps, 1e-12))
    span = self.HIGH - self.LOW
    bins = (levels - self.LOW) / span * self.BINS
    last = self.BINS - 1
    bins = np.clip(bins, 0, last).astype(int)
    for value in (0, 1):
      chosen = bins[masks == value]
      self.counts[value] += np.bincount(chosen, minlength=self.BINS)

  def value(self) -> float | None:
    """Return the AUC, or None if a class is missing; ties count half."""
    normal, abnormal = self.counts
    pairs = normal.sum() * abnormal.sum()
    if not pairs:
      return None
    below = np.cumsum(normal) - normal / 2
    correct = (abnormal * below).sum()
    return float(correct / pairs)


def _levels(maps: np.ndarray) -> list[float]:
  """Return the thresholds, highest first; at the highest nothing is detected."""
  maxima = maps.max((1, 2))
  of_maxima = np.quantile(maxima, np.linspace(1, 0, THRESHOLDS))
  of_pixels = np.quantile(maps, [0.9, 0.75, 0.5])
  levels = {np.inf, *of_maxima.tolist(), *of_pixels.tolist()}
  return sorted(levels, reverse=True)


def _share(found: np.ndarray) -> float:
  """Return the share that is found; 0 if there is nothing to find."""
  return found.mean() if len(found) else 0.0


def _found_tracks(found: np.ndarray, tracks: np.ndarray) -> np.ndarray:
  """Return which tracks are found.

  Args:
    found: bool [K], of the true regions.
    tracks: int [K], their tracks, numbered from 0.
  """
  sizes = np.bincount(tracks)
  found_sizes = np.bincount(tracks, found)
  return found_sizes / sizes >= ALPHA


def _components(above: np.ndarray, min_area: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
  """Return the components of a boolean volume [N, h, w].

  Returns:
    Their frames int [K], and their boxes [K, 4] in pixels of the true regions.
  """
  labels, count = ndimage.label(above, structure=_EIGHT)
  areas = np.bincount(labels.ravel(), minlength=count + 1)
  frames = []
  boxes = []
  slices = ndimage.find_objects(labels)
  for component, (frame, rows, columns) in enumerate(slices, start=1):
    if areas[component] >= min_area:
      box = (columns.start, rows.start, columns.stop, rows.stop)
      frames.append(frame.start)
      boxes.append(box)
  boxes = np.asarray(boxes, float).reshape(-1, 4)
  return np.asarray(frames, int), scale * boxes


def _match(
  detected_frames: np.ndarray, detected: np.ndarray, frames: np.ndarray, boxes: np.ndarray
) -> tuple[np.ndarray, int]:
  """Return which regions are found, bool [K], and the number of false positives."""
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
  x1, y1, x2, y2 = box
  other_x1, other_y1, other_x2, other_y2 = others.T
  left = np.maximum(x1, other_x1)
  right = np.minimum(x2, other_x2)
  top = np.maximum(y1, other_y1)
  bottom = np.minimum(y2, other_y2)
  width = np.maximum(right - left, 0)
  height = np.maximum(bottom - top, 0)
  shared = width * height
  area = (x2 - x1) * (y2 - y1)
  other_areas = (other_x2 - other_x1) * (other_y2 - other_y1)
  return shared / (area + other_areas - shared)
