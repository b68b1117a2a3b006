"""Pixel AUC, RBDC and TBDC, computed while the windows of a run are scored."""

from collections.abc import Callable
from typing import Any

import numpy as np

from a3dcae_jax.data.frame_cache import Split
from a3dcae_jax.data.windows import TestWindows
from a3dcae_jax.objects.clips import ObjectTable
from a3dcae_jax.scoring.assemble import MeanMaps
from a3dcae_jax.scoring.regions import (
  PixelAuc,
  area_to_one,
  box_detection_curve,
  detection_curve,
  reduce_map,
  regions_of_masks,
)

SIGMA_PX = 2.0  # standard deviation of the Gaussian that smooths error maps
BLOCK_PX = 4  # side of the blocks whose means replace the smoothed maps, in pixels
MIN_AREA = 2  # smallest region, in reduced pixels
_RULE = (
  f'error maps smoothed by {SIGMA_PX} px, reduced {BLOCK_PX}x{BLOCK_PX}, '
  f'8-connected components of at least {MIN_AREA}, bounding boxes'
)


class Localiser:
  """Collects error maps window by window, and computes pixel metrics.

  The map of a frame is the mean over the windows that keep the frame, just as its error is. Videos
  without pixel masks are left out: of UCSD Ped1, for instance, only ten clips have masks.
  """

  def __init__(self, split: Split, windows: TestWindows, scale: float | np.ndarray = 1.0) -> None:
    """Prepare the sums for all windows.

    Args:
      split: the test split, with masks.
      windows: all windows that will be scored.
      scale: divisor of the maps: a number, or [T] with one for each position in the window.
    """
    self._split = split
    self._rows = windows.rows
    self._scale = np.reshape(scale, (-1, 1, 1))
    self._pixels = PixelAuc()
    # Index of a frame among the frames of videos with masks; -1 for the others.
    self._videos, self._masked_index = _masked_frames(split)
    self._keep = windows.keep & (self._masked_index[self._rows] >= 0)
    self._times = np.bincount(self._rows[self._keep], minlength=len(split.frames))
    self._means = MeanMaps(self._times)
    height, width = split.frames.shape[1:]
    masked_frames = int((self._masked_index >= 0).sum())
    self._reduced = np.zeros((masked_frames, height // BLOCK_PX, width // BLOCK_PX), np.float32)
    self._seen = np.zeros(masked_frames, bool)

  def add(self, start: int, maps: np.ndarray) -> None:
    """Add the maps [b, T, H, W] of windows start to start + b."""
    for index, window_maps in enumerate(maps, start=start):
      keep = self._keep[index]
      if keep.any():
        scaled = (window_maps / self._scale)[keep]
        self._count(*self._means.add(self._rows[index][keep], scaled))

  def join(self, gather: Callable[[np.ndarray], np.ndarray]) -> None:
    """Join the maps that several processes have added.

    Each process has added a contiguous share of the windows.

    Args:
      gather: function array -> the arrays of all processes, [processes, ...].
    """
    self._pixels.counts = gather(self._pixels.counts).sum(0)
    for reduced, seen in zip(gather(self._reduced), gather(self._seen), strict=True):
      self._reduced[seen] = reduced[seen]
    # The remaining frames have windows in the shares of two processes.
    most = int(gather(np.asarray(len(self._means))).max())
    waiting = self._means.waiting(most, self._split.frames.shape[1:])
    gathered = [gather(part) for part in waiting]
    self._means = MeanMaps(self._times)
    for rows, sums, seen in zip(*gathered, strict=True):
      held = rows >= 0
      self._count(*self._means.add(rows[held], sums[held], seen[held]))

  def metrics(self) -> dict[str, Any]:
    """Return pixel AUC, RBDC and TBDC as JSON values.

    RBDC and TBDC are computed with both ends of the curve, see `scoring.regions.area_to_one`.
    """
    truth, source = _true_regions(self._split, self._videos, self._masked_index)
    found = _metrics(
      self._split, self._videos, len(self._reduced), self._pixels.value(), truth, source
    )
    found['rule'] = _RULE + _left_out(self._split, self._videos)
    if truth:
      curve = detection_curve(self._reduced, truth, scale=BLOCK_PX, min_area=MIN_AREA)
      found |= _areas(curve)
    return found

  def _count(self, rows, maps):
    """Count the complete maps [k, H, W] of frames `rows`."""
    if len(rows):
      index = self._masked_index[rows]
      self._pixels.add(maps, np.asarray(self._split.masks[rows]))
      self._reduced[index] = reduce_map(maps, BLOCK_PX, SIGMA_PX)
      self._seen[index] = True


class ObjectLocaliser:
  """Metrics of localisation from objects: their boxes are the regions.

  Videos without pixel masks are left out, as in `Localiser`.
  """

  def __init__(self, split: Split, table: ObjectTable, errors: np.ndarray) -> None:
    """Keep the objects.

    Args:
      split: the test split, with masks.
      table: its objects.
      errors: [M], their errors.
    """
    self._split = split
    self._table = table
    self._errors = errors
    self._videos, self._masked_index = _masked_frames(split)

  def metrics(self) -> dict[str, Any]:
    """Return pixel AUC, RBDC and TBDC as JSON values; see `Localiser.metrics`."""
    truth, source = _true_regions(self._split, self._videos, self._masked_index)
    frames = self._masked_index[self._table.frame]
    masked = frames >= 0
    num_frames = int((self._masked_index >= 0).sum())
    curve = box_detection_curve(
      frames[masked], self._table.corners[masked], self._errors[masked], num_frames, truth
    )
    rule = 'boxes of objects with their errors'
    return _metrics(self._split, self._videos, num_frames, self._pixel_auc(), truth, source) | {
      'rule': rule + _left_out(self._split, self._videos),
      **(_areas(curve) if truth else {}),
    }

  def _pixel_auc(self):
    """Return the pixel AUC; a pixel has the largest error of its objects."""
    pixels = PixelAuc()
    # Only the order of errors counts; they must stay within the range of the histogram.
    errors = self._errors * (10 / max(self._errors.max(initial=0), 1e-12))
    for video in self._videos:
      for row in range(video.first, video.first + video.num_frames):
        painted = paint_objects(self._split.frames.shape[1:], self._table, errors, row)
        pixels.add(painted[None], np.asarray(self._split.masks[row])[None])
    return pixels.value()


def paint_objects(
  shape: tuple[int, int], table: ObjectTable, errors: np.ndarray, frame: int
) -> np.ndarray:
  """Return a map of a frame: at each pixel the largest error of its objects.

  Args:
    shape: (H, W).
    table: objects, ordered by frame.
    errors: [M], their errors, at least 0.
    frame: index of the frame in the split.
  """
  painted = np.zeros(shape, np.float32)
  low, high = np.searchsorted(table.frame, [frame, frame + 1])
  for corners, error in zip(table.corners[low:high], errors[low:high], strict=True):
    x1, y1 = np.floor(corners[:2]).astype(int)
    x2, y2 = np.ceil(corners[2:]).astype(int)
    part = painted[max(y1, 0) : y2, max(x1, 0) : x2]
    np.maximum(part, error, out=part)
  return painted


def _masked_frames(split):
  """Return the videos with masks, and the index of each frame among theirs.

  The index is int [N]; frames of other videos have -1.
  """
  videos = [video for video in split.videos if video.has_masks]
  index = np.full(len(split.frames), -1)
  inside = np.concatenate(
    [np.arange(video.first, video.first + video.num_frames) for video in videos]
  )
  index[inside] = np.arange(len(inside))
  return videos, index


def _true_regions(split, videos, masked_index):
  """Return the true regions of some videos and a text on their source.

  A region is (track, frame, x1, y1, x2, y2).
  """
  regions = []
  next_track = 0
  given = split.tracks
  for video in videos:
    if given:
      of_video = given.get(video.name, ())
    else:
      masks = split.masks[video.first : video.first + video.num_frames]
      of_video = regions_of_masks(np.asarray(masks))
    first_index = int(masked_index[video.first])
    for track, frame, *box in of_video:
      regions.append((track + next_track, frame + first_index, *box))
    next_track += 1 + max((region[0] for region in of_video), default=-1)
  return regions, 'tracks' if given else 'components of the pixel masks, linked where they touch'


def _metrics(split, videos, num_frames, pixel_auc, truth, source):
  """Return the fields of the metrics that do not depend on how regions are detected."""
  return {
    'videos': [video.name for video in videos],
    'of_videos': len(split.videos),
    'frames': num_frames,
    'pixel_auc': pixel_auc,
    'true_regions': len(truth),
    'tracks': len({region[0] for region in truth}),
    'truth': source,
  }


def _left_out(split, videos):
  """Return the words for the rule where some videos have no masks."""
  if len(videos) == len(split.videos):
    return ''
  return f'; over the {len(videos)} of {len(split.videos)} videos that have masks'


def _areas(curve):
  """Return the areas under the curves, for both ways to end them."""
  areas = {}
  for name, rates in (('rbdc', curve.region), ('tbdc', curve.track)):
    areas[name] = {end: area_to_one(curve.rate, rates, end=end) for end in ('flat', 'point')}
  return areas
