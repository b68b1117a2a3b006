"""Pixel AUC, RBDC and TBDC, computed while the windows of a run are scored."""

from collections.abc import Callable
from typing import Any

import numpy as np

from a3dcae_jax.data.frame_cache import Split
from a3dcae_jax.data.windows import TestWindows
from a3dcae_jax.scoring.assemble import MeanMaps
from a3dcae_jax.scoring.regions import (
  PixelAuc,
  area_to_one,
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
    self._videos = [video for video in split.videos if video.has_masks]
    inside = np.concatenate(
      [np.arange(video.first, video.first + video.num_frames) for video in self._videos]
    )
    # Index of a frame among the frames of videos with masks; -1 for the others.
    self._masked_index = np.full(len(split.frames), -1)
    self._masked_index[inside] = np.arange(len(inside))
    self._keep = windows.keep & (self._masked_index[self._rows] >= 0)
    self._times = np.bincount(self._rows[self._keep], minlength=len(split.frames))
    self._means = MeanMaps(self._times)
    height, width = split.frames.shape[1:]
    self._reduced = np.zeros((len(inside), height // BLOCK_PX, width // BLOCK_PX), np.float32)
    self._seen = np.zeros(len(inside), bool)

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
    truth, source = self._true_regions()
    result = {
      'videos': [video.name for video in self._videos],
      'of_videos': len(self._split.videos),
      'frames': len(self._reduced),
      'pixel_auc': self._pixels.value(),
      'true_regions': len(truth),
      'tracks': len({region[0] for region in truth}),
      'truth': source,
      'rule': _RULE,
    }
    if len(self._videos) < len(self._split.videos):
      result['rule'] += (
        f'; over the {len(self._videos)} of {len(self._split.videos)} videos that have masks'
      )
    if truth:
      curve = detection_curve(self._reduced, truth, scale=BLOCK_PX, min_area=MIN_AREA)
      for name, rates in (('rbdc', curve.region), ('tbdc', curve.track)):
        result[name] = {end: area_to_one(curve.rate, rates, end=end) for end in ('flat', 'point')}
    return result

  def _count(self, rows, maps):
    """Count the complete maps [k, H, W] of frames `rows`."""
    if len(rows):
      index = self._masked_index[rows]
      self._pixels.add(maps, np.asarray(self._split.masks[rows]))
      self._reduced[index] = reduce_map(maps, BLOCK_PX, SIGMA_PX)
      self._seen[index] = True

  def _true_regions(self):
    """Return the true regions of all videos, and the name of their source.

    A region is (track, frame, x1, y1, x2, y2).
    """
    regions = []
    next_track = 0
    given = self._split.tracks
    for video in self._videos:
      if given:
        of_video = given.get(video.name, ())
      else:
        masks = self._split.masks[video.first : video.first + video.num_frames]
        of_video = regions_of_masks(np.asarray(masks))
      first_index = int(self._masked_index[video.first])
      for track, frame, *box in of_video:
        regions.append((track + next_track, frame + first_index, *box))
      next_track += 1 + max((region[0] for region in of_video), default=-1)
    return regions, 'tracks' if given else 'components of the pixel masks, linked where they touch'
