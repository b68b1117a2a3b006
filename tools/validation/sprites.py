"""People cut out of videos of a fixed camera, and pasted into other frames."""

import numpy as np
from scipy import ndimage

BLOB_CONTRAST = 25  # difference of a blob from the mean image, in grey levels
RIM_PX = 2  # rim around a blob, in which its opacity falls to zero

Box = tuple[slice, slice]


def moving_blobs(frame: np.ndarray, mean: np.ndarray) -> list[tuple[Box, np.ndarray]]:
  """Find the regions that differ from the mean image and have the shape of a person.

  Args:
    frame: float [H, W], in grey levels.
    mean: the mean image, float [H, W], in grey levels.

  Returns:
    (box, mask) of each blob; the mask is bool, of the size of its box.
  """
  difference = ndimage.gaussian_filter(np.abs(frame - mean), 1.0)
  blobs, _ = ndimage.label(difference > BLOB_CONTRAST)

  found = []
  for index, box in enumerate(ndimage.find_objects(blobs), start=1):
    if _has_shape_of_person(blobs[box] == index, len(frame)):
      wide_box = _with_rim(box, frame.shape)
      found.append((wide_box, blobs[wide_box] == index))
  return found


def _has_shape_of_person(blob: np.ndarray, frame_height: int) -> bool:
  """Return whether a blob is upright, of a plausible height, and fills its box."""
  height, width = blob.shape
  has_height = frame_height / 12 < height < frame_height / 3
  return has_height and width < height and blob.mean() > 0.45


def _with_rim(box: Box, shape: tuple[int, int]) -> Box:
  """Return a box with a rim, as far as it is inside an image."""
  rows, columns = box
  height, width = shape
  return (
    slice(max(rows.start - RIM_PX, 0), min(rows.stop + RIM_PX, height)),
    slice(max(columns.start - RIM_PX, 0), min(columns.stop + RIM_PX, width)),
  )


def opacity_of(mask: np.ndarray) -> np.ndarray:
  """Return a mask with a soft rim: bool [h, w] -> float32 [h, w] in [0, 1]."""
  dilated = ndimage.binary_dilation(mask).astype(np.float32)
  return ndimage.gaussian_filter(dilated, 0.7)


def paste(
  frame: np.ndarray, sprite: np.ndarray, opacity: np.ndarray, top: float, left: float
) -> bool:
  """Paste a sprite into a frame, at a position in fractions of a pixel.

  The frame is changed in place. A sprite is not pasted if less than a third of it is inside.

  Args:
    frame: uint8 [H, W].
    sprite: float [h, w], in grey levels.
    opacity: float [h, w], in [0, 1].
    top: row of the sprite's first row.
    left: column of the sprite's first column.

  Returns:
    Whether the sprite was pasted.
  """
  inside_rows = _overlap(top, sprite.shape[0], frame.shape[0])
  inside_columns = _overlap(left, sprite.shape[1], frame.shape[1])
  if inside_rows * inside_columns < sprite.size / 3:
    return False

  y, part_y = divmod(top, 1)
  x, part_x = divmod(left, 1)
  if part_y or part_x:  # jumps from pixel to pixel would betray the sprite
    sprite = _shift(sprite, part_y, part_x, 'edge')
    opacity = _shift(opacity, part_y, part_x, 'constant')
    y -= 1
    x -= 1

  _blend(frame, sprite, opacity, int(y), int(x))
  return True


def _overlap(start: float, size: int, limit: int) -> float:
  """Return how much of [start, start + size) is inside [0, limit)."""
  return max(min(start + size, limit) - max(start, 0), 0)


def _shift(image: np.ndarray, down: float, right: float, mode: str) -> np.ndarray:
  """Shift an image by fractions of a pixel; one pixel is added on every side."""
  padded = np.pad(image, 1, mode=mode)
  return ndimage.shift(padded, (down, right), order=3, mode='nearest')


def _blend(frame: np.ndarray, sprite: np.ndarray, opacity: np.ndarray, y: int, x: int) -> None:
  """Blend the part of a sprite that is inside the frame into it."""
  height, width = sprite.shape
  top = max(y, 0)
  left = max(x, 0)
  bottom = min(y + height, frame.shape[0])
  right = min(x + width, frame.shape[1])
  inside = np.s_[top:bottom, left:right]
  part = np.s_[top - y : bottom - y, left - x : right - x]

  under = frame[inside].astype(np.float32)
  alpha = np.clip(opacity[part], 0, 1)
  blended = under + alpha * (sprite[part] - under)
  frame[inside] = np.clip(blended, 0, 255).round()
