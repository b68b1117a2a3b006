"""People cut out of footage from a fixed camera, and laid over other frames: what made abnormal motion is made of."""

import numpy as np
from scipy import ndimage

CONTRAST = 25  # grey levels from the mean image that make a mover
RIM_PX = 2  # cut out around it, so that opacity can fall to zero


def moving_blobs(frame, mean):
  """[(box, mask bool), ...] of what differs from the mean image and may be a person.

  Args: frame, mean: float [H, W], 0 .. 255. Returns: boxes as pairs of slices; masks of the boxes' sizes.
  """
  blobs, _ = ndimage.label(ndimage.gaussian_filter(np.abs(frame - mean), 1.0) > CONTRAST)
  found = []
  for index, box in enumerate(ndimage.find_objects(blobs), start=1):
    if _upright(blobs[box] == index, len(frame)):
      box = tuple(
        slice(max(side.start - RIM_PX, 0), min(side.stop + RIM_PX, size))
        for side, size in zip(box, frame.shape, strict=True)
      )
      found.append((box, blobs[box] == index))
  return found


def opacity_of(mask):
  """A blob's mask with a soft rim: bool [h, w] -> float32 [h, w] in [0, 1]."""
  return ndimage.gaussian_filter(ndimage.binary_dilation(mask).astype(np.float32), 0.7)


def paste(frame, sprite, opacity, top, left):
  """Lays the sprite over `frame` in place, at fractions of a pixel; returns whether at least a third of it is inside.

  A sprite of which less is inside leaves the frame as it was.
  """
  inside = [
    max(min(start + size, limit) - max(start, 0), 0)
    for start, size, limit in zip((top, left), sprite.shape, frame.shape, strict=True)
  ]
  if inside[0] * inside[1] < sprite.size / 3:
    return False
  (y, part_y), (x, part_x) = (divmod(value, 1) for value in (top, left))
  if part_y or part_x:  # a moving thing that jumps from pixel to pixel would be found by its jerks
    sprite, opacity, y, x = (
      _shift(sprite, part_y, part_x, 'edge'),
      _shift(opacity, part_y, part_x, 'constant'),
      y - 1,
      x - 1,
    )
  y, x, (height, width) = int(y), int(x), frame.shape
  y0, y1, x0, x1 = (
    max(y, 0),
    min(y + len(sprite), height),
    max(x, 0),
    min(x + sprite.shape[1], width),
  )
  part = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
  under = frame[y0:y1, x0:x1].astype(np.float32)
  frame[y0:y1, x0:x1] = np.clip(
    under + np.clip(opacity[part], 0, 1) * (sprite[part] - under), 0, 255
  ).round()
  return True


def _shift(image, dy, dx, mode):
  """An image moved by parts of a pixel, one pixel larger on every side."""
  return ndimage.shift(np.pad(image, 1, mode=mode), (dy, dx), order=3, mode='nearest')


def _upright(blob, height):
  """Whether a blob may be a person: taller than wide, 1/12 to 1/3 of the frame's height, and filling its box."""
  return (
    height / 12 < blob.shape[0] < height / 3
    and blob.shape[1] < blob.shape[0]
    and blob.mean() > 0.45
  )
