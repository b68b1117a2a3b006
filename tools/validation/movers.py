"""Subtle pseudo-anomalies: movers that differ only a little from walkers.

They are cut from the videos themselves and move along the path of a walker:

    skater   a person who does not move the legs, at 1.8 to 2.8 times the walker's speed
    cyclist  two copies of the person, one behind the other, at 2.2 to 3.5 times the speed
    cart     four copies of the person, enlarged, at 1.7 to 2.6 times the speed
    pram     a cart at a walker's speed: only its looks are abnormal
    walker   a person with moving legs at the walker's speed. It is *normal*: a score that reacts
             to it reacts to the pasting

Further types are made only if they are named:

    slow_skater   a skater at 1.2 to 1.7 times the speed, which is harder to tell from a walker
    slow_cyclist  a cyclist at 1.3 to 2.0 times the speed
    runner        a person with moving legs, at 2.0 to 3.0 times the speed
    passer        a person with moving legs, 1.6 to 2.4 times as large and lower in the frame than
                  everybody else: somebody who walks or runs past near the camera

All of them cross the scene on a straight line through the position that they were cut from. Some
are in the scene when the video begins.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from a3dcae_jax.common.errors import UserError
from tools.validation.sprites import Box, moving_blobs, opacity_of, paste


class MoverType(NamedTuple):
  """A type of mover. Pairs are ranges, (least, most).

  Attributes:
    speed: speed relative to the walker.
    scale: size relative to the walker.
    copies: number of copies of the walker, side by side.
    legs: whether the legs move.
    near: whether it is near the camera, with its head at the walker's head and its feet below.
    normal: whether it is an unchanged walker, so that no frame is abnormal.
  """

  speed: tuple[float, float]
  scale: tuple[float, float]
  copies: int = 1
  legs: bool = False
  near: bool = False
  normal: bool = False


DEFAULT_TYPES = {
  'skater': MoverType((1.8, 2.8), (0.95, 1.15)),
  'cyclist': MoverType((2.2, 3.5), (0.95, 1.2), copies=2),
  'cart': MoverType((1.7, 2.6), (1.2, 1.6), copies=4),
  'pram': MoverType((0.9, 1.1), (1.2, 1.6), copies=4),
  'walker': MoverType((1.0, 1.0), (1.0, 1.0), legs=True, normal=True),
}
TYPES = DEFAULT_TYPES | {
  'slow_skater': MoverType((1.2, 1.7), (0.95, 1.15)),
  'slow_cyclist': MoverType((1.3, 2.0), (0.95, 1.2), copies=2),
  'runner': MoverType((2.0, 3.0), (0.95, 1.15), legs=True),
  # People near the camera cross the frame faster.
  'passer': MoverType((1.5, 3.5), (1.6, 2.4), legs=True, near=True),
}
CONTRAST_CHANGE = (0.8, 1.2)  # contrast of a mover around its mean, relative to the walker
COPY_DISTANCE = 0.6  # distance between copies, in widths
TRACK_FRAMES = 10  # frames over which speed is measured and legs are copied
MASK_CONTRAST = 12  # difference of a walker from the mean image, in grey levels
SLOWEST = 0.0015  # plausible speed of a walker, in frame widths per frame
FASTEST = 0.012
MIN_CORRELATION = 0.6  # of two patches of one walker, TRACK_FRAMES apart
TRIES = 400  # frames that are searched for a walker


class Walker(NamedTuple):
  """A walking person, cut out over K frames.

  Attributes:
    pixels: float32 [K, h, w], in grey levels.
    opacity: float32 [K, h, w], in [0, 1].
    top: row of the first row of `pixels` in the first frame.
    left: column of the first column.
    speed_y: vertical speed in pixels per frame.
    speed_x: horizontal speed in pixels per frame.
  """

  pixels: np.ndarray
  opacity: np.ndarray
  top: int
  left: int
  speed_y: float
  speed_x: float


def make_mover(
  frames: np.ndarray, mean: np.ndarray, kind: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
  """Make a copy of a video with one mover in it.

  Args:
    frames: uint8 [N, H, W].
    mean: the mean image, float [H, W], in grey levels.
    kind: a name in `TYPES`.
    rng: random numbers.

  Returns:
    (frames uint8 [N, H, W], labels uint8 [N]). A label is 1 if at least a third of the mover is in
    the frame; for a 'walker' all labels are 0.

  Raises:
    UserError: if no walker is found.
  """
  mover_type = TYPES[kind]
  walker = find_walker(frames, mean, rng)
  speed = rng.uniform(*mover_type.speed)
  scale = rng.uniform(*mover_type.scale)
  pixels = walker.pixels
  opacity = walker.opacity
  if not mover_type.normal:
    contrast = rng.uniform(*CONTRAST_CHANGE)
    pixels, opacity = _changed(walker, mover_type, scale, contrast)

  _, height, width = pixels.shape
  _, _, frame_width = frames.shape
  top = walker.top  # the row that it was cut out from
  if not mover_type.near:
    top += walker.pixels.shape[1] - height  # its feet are where the walker's are
  speed_y = speed * walker.speed_y
  speed_x = speed * walker.speed_x
  crossing = (frame_width + width) / abs(speed_x)  # frames from edge to edge
  start = rng.uniform(-0.2 * crossing, 0.5 * len(frames))  # the frame in which it enters
  edge = -width if speed_x > 0 else frame_width

  copy = frames.copy()
  labels = np.zeros(len(frames), np.uint8)
  for index, frame in enumerate(copy):
    x = edge + speed_x * (index - start)
    y = top + speed_y * (x - walker.left) / speed_x
    phase = _to_and_fro(int(index * speed), len(pixels))
    labels[index] = paste(frame, pixels[phase], opacity[phase], y, x)

  if mover_type.normal:
    labels[:] = 0
  return copy, labels


def find_walker(
  frames: np.ndarray, mean: np.ndarray, rng: np.random.Generator, tries: int = TRIES
) -> Walker:
  """Find a random walker in a video.

  A walker is a moving blob with the shape of a person that is found again `TRACK_FRAMES` later, at
  a plausible speed.

  Raises:
    UserError: if there is none in `tries` random frames.
  """
  for _ in range(tries):
    index = rng.integers(len(frames) - TRACK_FRAMES)
    blobs = moving_blobs(frames[index].astype(np.float32), mean)
    if not blobs:
      continue
    box, mask = blobs[rng.integers(len(blobs))]
    track = frames[index : index + TRACK_FRAMES + 1]
    speed = _measure_speed(track, box, mask)
    if speed is None:
      continue
    boxes = [_moved(box, speed, count, frames.shape[1:]) for count in range(TRACK_FRAMES)]
    if all(boxes):
      return _cut_out(track, mean, boxes, mask, speed)
  raise UserError('no walking person was found in the held-out videos')


def _cut_out(
  track: np.ndarray,
  mean: np.ndarray,
  boxes: list[Box],
  mask: np.ndarray,
  speed: tuple[float, float],
) -> Walker:
  """Cut a walker out of its frames.

  Args:
    track: uint8 [n, H, W], from the frame in which the walker was found.
    mean: the mean image, float [H, W], in grey levels.
    boxes: boxes of the walker in the first frames of the track.
    mask: mask of the walker in the first frame.
    speed: (y, x), in pixels per frame.
  """
  pixels = []
  opacity = []
  for index, box in enumerate(boxes):
    image = track[index][box].astype(np.float32)
    difference = ndimage.gaussian_filter(np.abs(image - mean[box]), 0.7)
    image_mask = difference > MASK_CONTRAST
    if index == 0:
      image_mask |= mask
    pixels.append(image)
    opacity.append(opacity_of(image_mask))
  rows, columns = boxes[0]
  return Walker(np.stack(pixels), np.stack(opacity), rows.start, columns.start, *speed)


def _changed(
  walker: Walker, mover_type: MoverType, scale: float, contrast: float
) -> tuple[np.ndarray, np.ndarray]:
  """Resize a walker, put copies of it side by side and change its contrast.

  Returns:
    (pixels, opacity), float [K, h, w]; K is 1 if the legs do not move.
  """
  count = len(walker.pixels) if mover_type.legs else 1
  opacity = walker.opacity[:count]
  weighted = walker.pixels[:count] * opacity
  opacity = _resized(opacity, scale, mover_type.copies)
  weighted = _resized(weighted, scale, mover_type.copies)

  pixels = weighted / np.maximum(opacity, 1e-3)
  middle = np.average(pixels, weights=opacity)
  return middle + (pixels - middle) * contrast, opacity


def _resized(images: np.ndarray, scale: float, copies: int) -> np.ndarray:
  """Resize images [K, h, w] and put copies of each side by side."""
  resized = [ndimage.zoom(image, scale, order=1) for image in images]
  return np.stack([_side_by_side(image, copies) for image in resized])


def _side_by_side(image: np.ndarray, copies: int) -> np.ndarray:
  """Put copies of an image [h, w] side by side; overlaps take the larger value."""
  height, width = image.shape
  step = max(int(COPY_DISTANCE * width), 1)
  row = np.zeros((height, width + step * (copies - 1)), image.dtype)
  for copy in range(copies):
    part = row[:, copy * step : copy * step + width]
    np.maximum(part, image, out=part)
  return row


def _measure_speed(track: np.ndarray, box: Box, mask: np.ndarray) -> tuple[float, float] | None:
  """Measure a blob's speed by correlation with the frame `TRACK_FRAMES` later.

  Args:
    track: uint8 [TRACK_FRAMES + 1, H, W].
    box: box of the blob in the first frame.
    mask: mask of the blob.

  Returns:
    (y, x) in pixels per frame; None if the blob is lost, too slow or too fast.
  """
  _, height, width = track.shape
  patch = track[0][box].astype(np.float32)[mask]
  later = track[TRACK_FRAMES].astype(np.float32)
  reach = int(FASTEST * width * TRACK_FRAMES) + 1

  best = MIN_CORRELATION
  speed = None
  for down in range(-2, 3):
    for right in range(-reach, reach + 1):
      shifted = _shifted(box, down, right, (height, width))
      if shifted is None:
        continue
      correlation = _correlation(patch, later[shifted][mask])
      if correlation > best:
        best = correlation
        speed = (down / TRACK_FRAMES, right / TRACK_FRAMES)

  if speed is None:
    return None
  is_plausible = SLOWEST * width <= abs(speed[1]) <= FASTEST * width
  return speed if is_plausible else None


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
  a = a - a.mean()
  b = b - b.mean()
  product = (a * a).sum() * (b * b).sum()
  return (a * b).sum() / np.sqrt(max(product, 1e-9))


def _moved(box: Box, speed: tuple[float, float], frames: int, shape: tuple[int, int]) -> Box | None:
  """Return the box after some frames, or None if it has left the image."""
  down = int(round(speed[0] * frames))
  right = int(round(speed[1] * frames))
  return _shifted(box, down, right, shape)


def _shifted(box: Box, down: int, right: int, shape: tuple[int, int]) -> Box | None:
  """Return the box shifted by whole pixels, or None if it leaves the image."""
  rows, columns = box
  height, width = shape
  moved_rows = slice(rows.start + down, rows.stop + down)
  moved_columns = slice(columns.start + right, columns.stop + right)
  if moved_rows.start < 0 or moved_rows.stop > height:
    return None
  if moved_columns.start < 0 or moved_columns.stop > width:
    return None
  return moved_rows, moved_columns


def _to_and_fro(index: int, count: int) -> int:
  """Return term `index` of 0, 1, ..., count - 1, count - 2, ..., 0, 1, ...

  Legs in this order swing without a jump.
  """
  if count == 1:
    return 0
  index %= 2 * count - 2
  return min(index, 2 * count - 2 - index)
