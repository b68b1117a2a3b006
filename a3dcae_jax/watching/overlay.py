"""A video of what the detector sees: picture, heat map, boxes and score."""

import pathlib
from collections import deque
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from a3dcae_jax.data.video_file import converted
from a3dcae_jax.serving.stream import FrameScore
from a3dcae_jax.watching.recorder import ClipWriter, Picture, image_of

_STRIP_PX = 64
_SHOWN = 250  # scores in the strip
_HEAT = (255, 32, 0)
_LINE = (80, 200, 255)
_BACKGROUND = (16, 16, 20)


class OverlayWriter:
  """Writes the overlay of one source.

  Args:
    path: the file.
    error_scale: mean and deviation of the training errors, by which heat is coloured.
    is_live: whether the file must be readable while it is written, and is given up if the encoder
      is too slow; otherwise the encoder is waited for.
  """

  def __init__(self, path: pathlib.Path, error_scale: tuple[float, float], is_live: bool) -> None:
    self._writer = ClipWriter(path, waits=not is_live, grows=is_live)
    self._scale = error_scale
    self._scores: deque[float] = deque(maxlen=_SHOWN)

  def add(self, scored: FrameScore, picture: Picture | None, threshold: float) -> None:
    """Take the score of a frame, its picture if it has one, and the threshold."""
    import av

    self._scores.append(scored.score)
    if picture is None:
      return
    image = draw(image_of(picture), scored, list(self._scores), threshold, self._scale)
    frame = converted(av.VideoFrame.from_image(image), format='yuv420p')
    self._writer.add(Picture(picture.frame, picture.time_s, frame))

  @property
  def has_failed(self) -> bool:
    """Whether the file could not be written."""
    return self._writer.has_failed

  def close(self) -> None:
    """Finish the file."""
    self._writer.end()
    self._writer.join()


def draw(
  image: Any,
  scored: FrameScore,
  scores: list[float],
  threshold: float,
  error_scale: tuple[float, float],
) -> Image.Image:
  """Return a picture with heat or boxes, above a strip with the last scores.

  Args:
    image: the picture.
    scored: score of its frame.
    scores: the last scores.
    threshold: of the detector.
    error_scale: mean and deviation of the training errors.
  """
  width, height = image.width, image.height
  image = draw_marks(image, scored, scored.score >= threshold, error_scale)
  page = Image.new('RGB', (width, height + _STRIP_PX), _BACKGROUND)
  page.paste(image, (0, 0))
  canvas = ImageDraw.Draw(page)
  _draw_strip(canvas, scores, threshold, (width, height))
  return page


def draw_marks(
  image: Any, scored: FrameScore, is_abnormal: bool, error_scale: tuple[float, float]
) -> Image.Image:
  """Return a picture with heat or the boxes of objects.

  Args:
    image: the picture; it may be drawn on.
    scored: score of its frame.
    is_abnormal: whether to draw a box around the strongest region.
    error_scale: mean and deviation of the training errors.
  """
  width, height = image.width, image.height
  mean, std = error_scale
  if scored.heat is not None:
    level = np.clip((scored.heat - mean) / (8 * std), 0, 1)
    alpha = Image.fromarray((160 * level).astype(np.uint8)).resize((width, height), Image.BILINEAR)
    image = Image.composite(Image.new('RGB', image.size, _HEAT), image, alpha)
  canvas = ImageDraw.Draw(image)
  if scored.objects is not None:
    for *corners, _ in scored.objects.tolist():
      canvas.rectangle(_pixels(corners, width, height), outline=_LINE)
  if is_abnormal and scored.box:
    canvas.rectangle(_pixels(scored.box, width, height), outline=_HEAT, width=2)
  return image


def _draw_strip(canvas, scores, threshold, size):
  width, top = size
  high = max([2 * threshold, *scores, 1.0])
  low = min([0.0, *scores])

  def row(score):
    return top + _STRIP_PX - 4 - (_STRIP_PX - 8) * (score - low) / (high - low)

  canvas.line([(0, row(threshold)), (width, row(threshold))], fill=_HEAT)
  points = [(width * i / _SHOWN, row(score)) for i, score in enumerate(scores)]
  if len(points) > 1:
    canvas.line(points, fill=_LINE, width=2)
  canvas.text((4, top + 2), f'{scores[-1]:.1f}', fill=(255, 255, 255))


def _pixels(box, width, height):
  x1, y1, x2, y2 = box
  return [round(x1 * width), round(y1 * height), round(x2 * width), round(y2 * height)]
