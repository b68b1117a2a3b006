"""Movers that are only a little stranger than walkers, for validation: cut from the footage itself and moved along a walker's own path.

    skater   a person who keeps still, at 1.8 to 2.8 times the speed that they walked with
    cyclist  twice the person, one behind the other, at 2.2 to 3.5 times it
    cart     four times the person, enlarged, at 1.7 to 2.6 times it
    pram     the cart at a walker's speed: only its looks are abnormal
    walker   a person with moving legs, at the speed that they walked with: *normal*, so that pasting alone betrays nothing

and, where they are asked for by name,

    slow_skater, slow_cyclist   as above, at 1.2 to 1.7 and 1.3 to 2.0 times it: what the others are too easy to tell apart by
    runner                      a person with moving legs, at 2.0 to 3.0 times it
    passer                      a person with moving legs, 1.6 to 2.4 times as large, below everybody else: somebody who walks or runs by near the camera

All of them cross the scene along a straight line through the place that they were cut from, and some are inside when the video begins.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from a3dcae_jax.common.errors import UserError
from tools.validation.sprites import moving_blobs, opacity_of, paste


class Kind(NamedTuple):
  """What a mover is drawn from: `faster` than the walker and `larger`, both (least, most); `copies` of it side by side; `legs`: do they move;
  `near` the camera: its head where the walker's is, its feet below; `normal`: the walker as it was, and no frame of it is abnormal.
  """

  faster: tuple
  larger: tuple
  copies: int = 1
  legs: bool = False
  near: bool = False
  normal: bool = False


USUAL = {  # made where no kind is named
  'skater': Kind((1.8, 2.8), (0.95, 1.15)),
  'cyclist': Kind((2.2, 3.5), (0.95, 1.2), copies=2),
  'cart': Kind((1.7, 2.6), (1.2, 1.6), copies=4),
  'pram': Kind((0.9, 1.1), (1.2, 1.6), copies=4),
  'walker': Kind((1.0, 1.0), (1.0, 1.0), legs=True, normal=True),
}
KINDS = USUAL | {
  'slow_skater': Kind((1.2, 1.7), (0.95, 1.15)),
  'slow_cyclist': Kind((1.3, 2.0), (0.95, 1.2), copies=2),
  'runner': Kind((2.0, 3.0), (0.95, 1.15), legs=True),
  'passer': Kind(
    (1.5, 3.5), (1.6, 2.4), legs=True, near=True
  ),  # who is nearer crosses the frame faster
}
CONTRAST_CHANGE = (0.8, 1.2)  # of the mover, around its own mean
COPY_DISTANCE = 0.6  # of copies side by side, in widths
TRACK_FRAMES = 10  # a walker's speed is measured, and its legs are copied, over so many frames
SLOWEST, FASTEST = 0.0015, 0.012  # walkers' speeds that are believed, in frame widths a frame
UNIFORM_ROWS = 0.6  # correlation that makes a patch the same walker, TRACK_FRAMES later


class Walker(NamedTuple):
  """Someone seen walking: `pixels`, `opacity` float32 [K, h, w] over the frames of the track, `top_left` (y, x) and `velocity` in px a frame."""

  pixels: np.ndarray
  opacity: np.ndarray
  top_left: tuple
  velocity: tuple


def make_rider(frames, mean, kind, rng):
  """(frames, labels) of a copy of a video with one mover of `kind` in it.

  Args: frames: uint8 [N, H, W]. mean: mean image [H, W], 0 .. 255. rng: `numpy.random.Generator`.
  Returns: uint8 [N, H, W]; uint8 [N], 1 where a third of the mover or more is inside, always 0 for a 'walker'.
  Raises: UserError if nobody is found walking.
  """
  walker, what = find_walker(frames, mean, rng), KINDS[kind]
  faster, size = rng.uniform(*what.faster), rng.uniform(*what.larger)
  pixels, opacity = walker.pixels, walker.opacity
  if not what.normal:
    pixels, opacity = _another(pixels, opacity, what, size, rng.uniform(*CONTRAST_CHANGE))
  feet = walker.top_left[0] + (pixels if what.near else walker.pixels).shape[1]
  speed_y, speed_x = (faster * v for v in walker.velocity)
  width, cut_x = frames.shape[2], walker.top_left[1]
  crossing = (width + pixels.shape[2]) / abs(speed_x)  # frames from edge to edge
  start = rng.uniform(
    -0.2 * crossing, 0.5 * len(frames)
  )  # when it comes in; before the video, for some
  edge = -pixels.shape[2] if speed_x > 0 else width
  made, labels = frames.copy(), np.zeros(len(frames), np.uint8)
  for index in range(len(frames)):
    x = edge + speed_x * (index - start)
    y = feet - pixels.shape[1] + speed_y * (x - cut_x) / speed_x
    phase = _there_and_back(int(index * faster), len(pixels))
    labels[index] = paste(made[index], pixels[phase], opacity[phase], y, x)
  return made, labels * np.uint8(not what.normal)


def find_walker(frames, mean, rng, tries=400):
  """A random `Walker` of a video: a moving blob of a person's shape that is found again `TRACK_FRAMES` later, at a believable speed."""
  for _ in range(tries):
    index = rng.integers(len(frames) - TRACK_FRAMES)
    blobs = moving_blobs(frames[index].astype(np.float32), mean)
    if not blobs:
      continue
    box, mask = blobs[rng.integers(len(blobs))]
    velocity = _track(frames, index, box, mask)
    if velocity is None:
      continue
    boxes = [_moved(box, velocity, k, frames.shape[1:]) for k in range(TRACK_FRAMES)]
    if all(boxes):
      pixels = np.stack([frames[index + k][b] for k, b in enumerate(boxes)]).astype(np.float32)
      masks = np.stack(
        [
          ndimage.gaussian_filter(np.abs(p - mean[b]), 0.7) > 12
          for p, b in zip(pixels, boxes, strict=True)
        ]
      )
      masks[0] |= mask
      return Walker(
        pixels, np.stack([opacity_of(m) for m in masks]), (box[0].start, box[1].start), velocity
      )
  raise UserError('nobody was found walking in the held-out videos')


def _another(pixels, opacity, what, size, contrast):
  """(pixels, opacity) [K, h, w] of a walker resized, with copies of itself beside it and another contrast; K is 1 where legs do not move."""
  shown = slice(None) if what.legs else slice(1)
  pixels, opacity = (
    np.stack([_abreast(ndimage.zoom(image, size, order=1), what.copies) for image in images[shown]])
    for images in (pixels * opacity, opacity)
  )
  pixels = pixels / np.maximum(opacity, 1e-3)
  middle = np.average(pixels, weights=opacity)
  return middle + (pixels - middle) * contrast, opacity


def _abreast(image, copies):
  """`copies` of an image [h, w] side by side, the larger value where they overlap."""
  step = max(int(COPY_DISTANCE * image.shape[1]), 1)
  wide = np.zeros((image.shape[0], image.shape[1] + step * (copies - 1)), image.dtype)
  for copy in range(copies):
    part = wide[:, copy * step : copy * step + image.shape[1]]
    np.maximum(part, image, out=part)
  return wide


def _track(frames, index, box, mask):
  """(vy, vx) in px a frame by the best correlation of the blob's patch `TRACK_FRAMES` later; None if it is lost, too slow or too fast."""
  patch = frames[index][box].astype(np.float32)[mask]
  later, (height, width) = frames[index + TRACK_FRAMES].astype(np.float32), frames.shape[1:]
  reach, best = int(FASTEST * width * TRACK_FRAMES) + 1, (UNIFORM_ROWS, None)
  for dy in range(-2, 3):
    for dx in range(-reach, reach + 1):
      moved = _shifted(box, dy, dx, (height, width))
      if moved:
        best = max(
          best,
          (_correlation(patch, later[moved][mask]), (dy / TRACK_FRAMES, dx / TRACK_FRAMES)),
          key=lambda item: item[0],
        )
  velocity = best[1]
  return velocity if velocity and SLOWEST * width <= abs(velocity[1]) <= FASTEST * width else None


def _correlation(a, b):
  a, b = a - a.mean(), b - b.mean()
  return (a * b).sum() / np.sqrt(max((a * a).sum() * (b * b).sum(), 1e-9))


def _moved(box, velocity, frames, shape):
  return _shifted(box, *(int(round(v * frames)) for v in velocity), shape)


def _shifted(box, dy, dx, shape):
  """The box moved by whole pixels, or None where it leaves the frame."""
  rows, columns = (
    slice(box[0].start + dy, box[0].stop + dy),
    slice(box[1].start + dx, box[1].stop + dx),
  )
  inside = (
    rows.start >= 0 and columns.start >= 0 and rows.stop <= shape[0] and columns.stop <= shape[1]
  )
  return (rows, columns) if inside else None


def _there_and_back(index, count):
  """0, 1 .. count - 1, count - 2 .. 0, 1 ..: legs that swing without a jump."""
  if count == 1:
    return 0
  index %= 2 * count - 2
  return min(index, 2 * count - 2 - index)
