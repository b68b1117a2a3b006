"""Where, not only when: pixel-level AUC, and the region- and track-based detection criteria (RBDC, TBDC).

Regions are made from the error map like this: each squared-error map is smoothed and reduced by block means (`reduce_map`); at a threshold,
8-connected components of at least `min_area` reduced pixels are the detected regions, each by its bounding box.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

ALPHA = BETA = 0.1  # share of a track's regions; intersection over union
_EIGHT = np.zeros((3, 3, 3), bool)
_EIGHT[1] = True  # neighbours within a frame, none across frames


class Curve(NamedTuple):
  """Detection rates against false positives a frame, from strict to lax thresholds: rate, region, track, each [K]."""

  rate: np.ndarray
  region: np.ndarray
  track: np.ndarray


def reduce_map(maps, step, sigma_px=2.0):
  """Smooths error maps [N, H, W] by a Gaussian and takes means of `step` x `step` blocks: float32 [N, H / step, W / step]."""
  smooth = ndimage.gaussian_filter(np.asarray(maps, np.float32), (0, sigma_px, sigma_px))
  count, height, width = smooth.shape
  trimmed = smooth[:, : height // step * step, : width // step * step]
  return trimmed.reshape(count, height // step, step, width // step, step).mean((2, 4))


def regions_of_masks(masks):
  """True regions [(track, frame, x1, y1, x2, y2), ...] from one video's masks [N, H, W].

  Each 8-connected component is a region; one that touches a region of the frame before carries its track on.
  """
  labels, _ = ndimage.label(masks > 0, structure=_EIGHT)
  regions, tracks, next_track = [], {}, 0
  for component, box in enumerate(ndimage.find_objects(labels), start=1):
    frame, rows, columns = box[0].start, box[1], box[2]
    inside = labels[frame, rows, columns] == component
    before = labels[frame - 1, rows, columns][inside] if frame else np.zeros(0, int)
    before = before[before > 0]
    track = tracks[int(np.bincount(before).argmax())] if len(before) else next_track
    next_track += not len(before)
    tracks[component] = track
    regions.append((track, frame, columns.start, rows.start, columns.stop, rows.stop))
  return regions


def detection_curve(maps, truth, *, scale, min_area=2, thresholds=100, alpha=ALPHA, beta=BETA):
  """RBDR and TBDR against the rate of false positives.

  A true region is found if some detected one has intersection over union >= `beta` with it; a track if >= `alpha` of its regions
  are; a detected region is a false positive if it reaches `beta` with no true region of its frame; the rate is false
  positives over all frames.

  Args:
    maps: float [N, h, w] of all test frames. truth: [(track, frame, x1, y1, x2, y2), ...], tracks told apart over all videos.
    scale: pixels of `truth` per pixel of `maps`. thresholds: how many, at quantiles of the frames' maxima.

  Source: Ramachandra & Jones, Street Scene, WACV 2020, arXiv:1902.05872, sec. 4.
  """
  truth = sorted(truth, key=lambda region: region[1])
  frames = np.asarray([region[1] for region in truth], int)
  boxes = np.asarray([region[2:] for region in truth], float).reshape(-1, 4)
  track_ids, tracks = np.unique([region[0] for region in truth], return_inverse=True)
  sizes = np.bincount(tracks, minlength=len(track_ids))
  levels = np.quantile(maps.max((1, 2)), np.linspace(1, 0, thresholds))
  levels = np.r_[np.inf, levels, np.quantile(maps, [0.9, 0.75, 0.5])]
  points = []
  for level in sorted(set(levels.tolist()), reverse=True):
    at, detected = _components(maps >= level, min_area, scale)
    found, false = _match(at, detected, frames, boxes, beta)
    shares = np.bincount(tracks, found, minlength=len(track_ids)) / np.maximum(sizes, 1)
    points.append(
      (
        false / len(maps),
        found.mean() if len(found) else 0.0,
        (shares >= alpha).mean() if len(sizes) else 0.0,
      )
    )
  rate, region, track = (np.asarray(column) for column in zip(*points, strict=True))
  order = np.argsort(
    rate, kind='stable'
  )  # a laxer threshold can melt false regions together: rates may fall again
  return Curve(
    rate[order], np.maximum.accumulate(region[order]), np.maximum.accumulate(track[order])
  )


def area_to_one(rate, detected, *, end):
  """Area under a detection curve for rates 0 .. 1.

  Args: end: what follows if the curve ends before 1: 'flat' holds its last value, 'point' draws a line to (1, 1).
  """
  if end not in ('flat', 'point'):
    raise ValueError(f"end must be 'flat' or 'point', got {end!r}")
  rate, detected = np.r_[0.0, rate], np.r_[0.0 if rate[0] > 0 else detected[0], detected]
  if rate[-1] < 1:
    rate, detected = np.r_[rate, 1.0], np.r_[detected, detected[-1] if end == 'flat' else 1.0]
  at_one = np.interp(1.0, rate, detected)
  inside = rate < 1
  return float(np.trapezoid(np.r_[detected[inside], at_one], np.r_[rate[inside], 1.0]))


class PixelAuc:
  """Pixel-level ROC area, accumulated frame by frame in a histogram of the logarithm of the error."""

  BINS, LOW, HIGH = 8192, -20.0, 3.0  # natural logarithms of squared errors: 2e-9 to 20

  def __init__(self):
    self.counts = np.zeros((2, self.BINS))

  def add(self, maps, masks):
    """maps: squared errors, masks: 0/1, of equal shape."""
    level = np.log(np.maximum(maps, 1e-12))
    bins = np.clip(
      (level - self.LOW) / (self.HIGH - self.LOW) * self.BINS, 0, self.BINS - 1
    ).astype(int)
    for value in (0, 1):
      self.counts[value] += np.bincount(bins[masks == value], minlength=self.BINS)

  def value(self):
    """AUC in [0, 1] (ties within a bin count half), or None where one class is missing."""
    normal, abnormal = self.counts
    if not normal.sum() or not abnormal.sum():
      return None
    below = np.cumsum(normal) - normal / 2
    return float((abnormal * below).sum() / (normal.sum() * abnormal.sum()))


def _components(above, min_area, scale):
  """(frame [K], box [K, 4]) of the components of a boolean volume [N, h, w], boxes in true pixels."""
  labels, count = ndimage.label(above, structure=_EIGHT)
  if not count:
    return np.zeros(0, int), np.zeros((0, 4))
  keep = np.bincount(labels.ravel(), minlength=count + 1)[1:] >= min_area
  found = [box for box, large in zip(ndimage.find_objects(labels), keep, strict=True) if large]
  frames = np.asarray([box[0].start for box in found], int)
  return frames, scale * np.asarray(
    [(b[2].start, b[1].start, b[2].stop, b[1].stop) for b in found], float
  ).reshape(-1, 4)


def _match(at, detected, frames, boxes, beta):
  """(found bool [true regions], number of false positives)."""
  found, false = np.zeros(len(boxes), bool), 0
  starts, ends = np.searchsorted(frames, at, 'left'), np.searchsorted(frames, at, 'right')
  for box, start, end in zip(detected, starts, ends, strict=True):
    hits = _overlap(box, boxes[start:end]) >= beta
    found[start:end] |= hits
    false += not hits.any()
  return found, false


def _overlap(box, others):
  """Intersection over union of one box with [K, 4] others."""
  width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
  height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
  shared = np.maximum(width, 0) * np.maximum(height, 0)
  area = (box[2] - box[0]) * (box[3] - box[1])
  return shared / (area + (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1]) - shared)
