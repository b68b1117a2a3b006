"""Pictures of objects for the report: frames with boxes, and the worst objects."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from a3dcae_jax.data.frame_cache import Split, videos_of
from a3dcae_jax.evaluation.localisation import paint_objects
from a3dcae_jax.evaluation.object_scorer import ObjectScorer
from a3dcae_jax.evaluation.report_data import NUM_STRIPS, Frame, Pictures
from a3dcae_jax.objects.clips import ObjectTable, object_rows
from a3dcae_jax.report.contents import Strip
from a3dcae_jax.serving.object_statistics import MEASUREMENTS

_WORST_APART_FRAMES = 25  # the gallery shows one object of a video within this many frames


@dataclasses.dataclass(frozen=True)
class ObjectReport(Pictures):
  """Pictures of the objects of the test split.

  Attributes:
    scorer: reconstructs objects.
    split: the test split.
    table: its objects.
    errors: [M], their errors.
    zscores: [M, 3], their measurements as z-scores.
  """

  scorer: ObjectScorer
  split: Split
  table: ObjectTable
  errors: np.ndarray
  zscores: np.ndarray

  def strip(self, frame: Frame, score: float) -> Strip:
    """Return a frame with its boxes, and the errors of its objects."""
    video, index = frame
    entry = self.split.videos[video]
    row = entry.first + index
    picture = np.asarray(self.split.frames[row]) / np.float32(255)
    low, high = np.searchsorted(self.table.frame, [row, row + 1])
    errors = self.errors[low:high]
    for corners in self.table.corners[low:high][np.argsort(errors)]:
      _draw_box(picture, corners, 0.6)
    caption = f'video {entry.name}, frame {index}, score {score:.3g}, {high - low} objects'
    if high > low:
      worst = low + int(errors.argmax())
      _draw_box(picture, self.table.corners[worst], 1.0)
      caption += f'; the worst: {self._describe(worst)}'
    painted = paint_objects(picture.shape, self.table, self.errors, row)
    return Strip(caption, picture, None, painted)

  def more_strips(self) -> dict[str, tuple[Strip, ...]]:
    """Return the objects with the largest errors, apart in time; none for a bundle."""
    strips = [self._object_strip(index) for index in self._worst_objects()]
    strips = [strip for strip in strips if strip is not None]
    return {'Most abnormal objects': tuple(strips)} if strips else {}

  def _worst_objects(self):
    chosen = []
    for index in np.argsort(-self.errors, kind='stable'):
      distances = [abs(int(self.table.frame[index]) - int(self.table.frame[i])) for i in chosen]
      if min(distances, default=_WORST_APART_FRAMES) >= _WORST_APART_FRAMES:
        chosen.append(int(index))
      if len(chosen) == NUM_STRIPS:
        break
    return chosen

  def _object_strip(self, index):
    objects = self.table.take([index])
    window = self.scorer.window
    rows = object_rows(objects.frame, objects.low, objects.high, window=window)
    clip = jnp.asarray(self.split.frames[rows[0]])
    own_rows = np.arange(window, dtype=np.int32)[None]
    shown = self.scorer.pictures(clip, own_rows, objects.corners)
    if shown is None:
      return None
    middle = window // 2
    crop = np.asarray(shown.crops)[0, middle]
    real = np.asarray(shown.real)[0, middle, :, :, 0]
    recon = np.asarray(shown.recon)[0, middle, :, :, 0]
    brightness = crop.mean() - real.mean()
    video = self.split.videos[videos_of(self.split, objects.frame)[0]]
    caption = (
      f'video {video.name}, frame {int(objects.frame[0]) - video.first}: {self._describe(index)}'
    )
    return Strip(caption, crop, recon + brightness, np.square(real - recon))

  def _describe(self, index):
    parts = []
    for name, value in zip(MEASUREMENTS, self.zscores[index], strict=True):
      parts.append(f'{name} {value:.1f}')
    return f'error {self.errors[index]:.1f} ({", ".join(parts)})'


def _draw_box(picture, corners, value):
  """Draw the outline of a box into a picture [H, W]."""
  height, width = picture.shape
  x1, y1, x2, y2 = np.round(corners).astype(int)
  left, right = np.clip([x1, x2 - 1], 0, width - 1)
  top, bottom = np.clip([y1, y2 - 1], 0, height - 1)
  picture[top, left : right + 1] = value
  picture[bottom, left : right + 1] = value
  picture[top : bottom + 1, left] = value
  picture[top : bottom + 1, right] = value
