"""Where the errors are: pixel AUC, RBDC and TBDC of a run, gathered while its windows are scored."""

import numpy as np

from a3dcae_jax.scoring.assemble import MeanMaps
from a3dcae_jax.scoring.regions import (
  PixelAuc,
  area_to_one,
  detection_curve,
  reduce_map,
  regions_of_masks,
)

STEP, SIGMA_PX, MIN_AREA = (
  4,
  2.0,
  2,
)  # maps are smoothed by 2 px and reduced 4 x 4; a region has at least 2 reduced pixels


class Localiser:
  """Takes error maps window by window (`add`), then gives `metrics()`. Where windows overlap, a frame's map is the mean of theirs,
  as its error is.

  Videos without pixel masks are left out: of UCSD Ped1 the authors drew ten clips' masks.
  """

  def __init__(self, split, windows, scale=1.0):
    """scale: what maps are divided by, a number or [T] by their place in the window."""
    self._split, self._rows, self._scale, self._pixels = (
      split,
      windows.rows,
      np.reshape(scale, (-1, 1, 1)),
      PixelAuc(),
    )
    self._videos = [video for video in split.videos if video.has_masks]
    self._place = np.full(len(split.frames), -1)  # a frame's place among those with masks
    inside = np.concatenate(
      [np.arange(video.first, video.first + video.num_frames) for video in self._videos]
    )
    self._place[inside] = np.arange(len(inside))
    self._keep = windows.keep & (self._place[self._rows] >= 0)
    self._times = np.bincount(self._rows[self._keep], minlength=len(split.frames))
    self._means = MeanMaps(self._times)
    height, width = split.frames.shape[1:]
    self._reduced = np.zeros((len(inside), height // STEP, width // STEP), np.float32)
    self._seen = np.zeros(len(inside), bool)

  def add(self, start, maps):
    """maps: [b, T, H, W] of windows start .. start + b."""
    for index, window_maps in enumerate(maps, start=start):
      keep = self._keep[index]
      if keep.any():
        self._take(*self._means.add(self._rows[index][keep], (window_maps / self._scale)[keep]))

  def join(self, gather):
    """Puts together what several processes have added, each a run of windows, in order; `gather`: array -> [processes, ...]."""
    self._pixels.counts = gather(self._pixels.counts).sum(0)
    for reduced, seen in zip(gather(self._reduced), gather(self._seen), strict=True):
      self._reduced[seen] = reduced[seen]
    most = int(gather(np.asarray(len(self._means))).max())
    parts = [gather(part) for part in self._means.waiting(most, self._split.frames.shape[1:])]
    self._means = MeanMaps(self._times)
    for rows, sums, seen in zip(*parts, strict=True):  # frames whose windows were shared out
      held = rows >= 0
      self._take(*self._means.add(rows[held], sums[held], seen[held]))

  def _take(self, rows, maps):
    """Counts complete maps [k, H, W] of frames `rows`."""
    if len(rows):
      self._pixels.add(maps, np.asarray(self._split.masks[rows]))
      self._reduced[self._place[rows]] = reduce_map(maps, STEP, SIGMA_PX)
      self._seen[self._place[rows]] = True

  def metrics(self):
    """Dict for JSON: pixel AUC; RBDC and TBDC with either end of the curve; how regions were made."""
    truth, source = self._truth()
    result = {
      'videos': [video.name for video in self._videos],
      'of_videos': len(self._split.videos),
      'frames': len(self._reduced),
      'pixel_auc': self._pixels.value(),
      'true_regions': len(truth),
      'tracks': len({region[0] for region in truth}),
      'truth': source,
      'rule': f'error maps smoothed by {SIGMA_PX} px, reduced {STEP}x{STEP}, 8-connected components of at least {MIN_AREA}, bounding boxes',
    }
    if len(self._videos) < len(self._split.videos):
      result['rule'] += (
        f'; over the {len(self._videos)} of {len(self._split.videos)} videos that have masks'
      )
    if truth:
      curve = detection_curve(self._reduced, truth, scale=STEP, min_area=MIN_AREA)
      for name, rates in (('rbdc', curve.region), ('tbdc', curve.track)):
        result[name] = {end: area_to_one(curve.rate, rates, end=end) for end in ('flat', 'point')}
    return result

  def _truth(self):
    """([(track, frame, x1, y1, x2, y2), ...] with frames and tracks counted over all videos, where they come from)."""
    regions, tracks = [], 0
    given = self._split.tracks
    for video in self._videos:
      of_video = (
        given.get(video.name, ())
        if given
        else regions_of_masks(
          np.asarray(self._split.masks[video.first : video.first + video.num_frames])
        )
      )
      regions += [
        (track + tracks, frame + int(self._place[video.first]), *box)
        for track, frame, *box in of_video
      ]
      tracks += 1 + max((region[0] for region in of_video), default=-1)
    return regions, 'tracks' if given else 'components of the pixel masks, linked where they touch'
