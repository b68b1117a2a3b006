"""From a mask of changed pixels to boxes, cut where objects touch."""

import numpy as np
from scipy import ndimage

_GRID_PX = 8
_MAX_COMPONENTS = 2000
_SIZE_SPREAD = 0.2  # of the logarithm of a size
# Where the line of the horizon may be, in heights of the frame below its upper edge. Not in the
# frame: groups in a crowd look as if they grew from a line in the frame.
_HORIZONS = (-8.0, -3.0, -1.5, -1.0, -0.7, -0.5, -0.3, -0.2, -0.1, 0.0)
_MAX_WIDTH = 1.4  # usual widths of a single object
_MAX_HEIGHT = 1.4
_MAX_ALIKE = 1.8  # usual heights of a single object of the usual shape
_UNLIKE_SHAPE = 1.5  # ratio of its shape to the usual one, or the inverse
_LEAST_PART = 0.6  # usual sizes
_UNEVEN_COST = 0.5  # of a cut that leaves other than whole usual sizes
_LONG_COST = 0.3  # of a cut along the shorter excess
_MIN_AREA = 0.2  # of the usual width times the usual height
_MIN_SIDE = 0.25  # of the usual width or height
_EIGHT = np.ones((3, 3), bool)

Box = tuple[int, int, int, int]


def close_gaps(mask: np.ndarray, rows: int, columns: int) -> np.ndarray:
  """Return a mask [H, W] whose gaps of up to twice so many pixels are closed."""
  padded = np.pad(mask, ((rows, rows), (columns, columns)))
  grown = _any_near(_any_near(padded, rows, 0), columns, 1)
  shrunk = ~_any_near(_any_near(~grown, rows, 0), columns, 1)
  return shrunk[rows : rows + mask.shape[0], columns : columns + mask.shape[1]]


def components(
  mask: np.ndarray, strong: np.ndarray, min_area: int
) -> list[tuple[tuple[slice, slice], np.ndarray]]:
  """Return the components of a mask: their position in the frame and their pixels.

  Args:
    mask: bool [H, W].
    strong: bool [H, W].
    min_area: components have at least so many pixels, and a quarter as many strong ones.
  """
  labels, count = ndimage.label(mask, structure=_EIGHT)
  areas = np.bincount(labels.ravel(), minlength=count + 1)
  strong_areas = np.bincount(labels[strong], minlength=count + 1)
  found = []
  for label, place in enumerate(ndimage.find_objects(labels), start=1):
    if areas[label] >= min_area and 4 * strong_areas[label] >= min_area:
      found.append((place, labels[place] == label))
  return found


def usual_sizes(boxes: np.ndarray, areas: np.ndarray, height: int) -> np.ndarray:
  """Return the usual width and height of an object at each row of its lower edge.

  Groups make components of any size, single objects make many of one size, seen in perspective: it
  grows with the distance of the lower edge from the horizon. So the most frequent size in units of
  that distance is usual, for the horizon at which it is the most frequent. Large components count
  more, since objects also break into pieces.

  Args:
    boxes: int [M, 4], x1, y1, x2, y2 of components of many frames.
    areas: int [M], their numbers of pixels.
    height: of the frames.

  Returns:
    float32 [G, 2], widths and heights for every 8th row.
  """
  rows = np.arange(0, height + _GRID_PX, _GRID_PX)
  if not len(boxes):
    return np.full((len(rows), 2), height / 8, np.float32)
  chosen = slice(None, None, 1 + len(boxes) // _MAX_COMPONENTS)
  boxes, areas = boxes[chosen], areas[chosen]
  sizes = np.log(boxes[:, 2:] - boxes[:, :2])
  weights = np.sqrt(areas).astype(np.float32)
  most = -1.0
  for horizon in _HORIZONS:
    relative = (sizes - np.log(boxes[:, 3:] - horizon * height)).astype(np.float32)
    far2 = ((relative[:, None] - relative[None]) ** 2).sum(2)
    alike = np.exp(-0.5 * far2 / _SIZE_SPREAD**2) * weights
    density = alike.sum(1)
    peak = int(np.argmax(density))
    if density[peak] > most:
      most = density[peak]
      scale = np.exp(alike[peak] @ relative / most)
      usual = (rows - horizon * height)[:, None] * scale
  return np.maximum(usual, 2).astype(np.float32)


def size_at(usual: np.ndarray, row: float) -> tuple[float, float]:
  """Return the usual (width, height) of an object with its lower edge at a row."""
  place = np.clip(row / _GRID_PX, 0, len(usual) - 1)
  low = min(int(place), len(usual) - 2)
  width, height = usual[low] + (place - low) * (usual[low + 1] - usual[low])
  return float(width), float(height)


def split_component(place: tuple[slice, slice], pixels: np.ndarray, usual: np.ndarray) -> list[Box]:
  """Return the boxes of a component: several where it is too large for one.

  It is cut where it is thinnest, again and again. Parts that are too small are left out. A part of
  about the usual shape stays whole up to a larger size: it is one object nearer to the camera than
  most, or the usual size is wrong at this row.

  Args:
    place: of the component in the frame.
    pixels: bool [h, w], the component.
    usual: see `usual_sizes`.
  """
  boxes = []
  waiting = [(place[1].start, place[0].start, pixels)]
  while waiting:
    left, top, part = _tight(*waiting.pop())
    if not part.size:
      continue
    box = (left, top, left + part.shape[1], top + part.shape[0])
    width, height = size_at(usual, box[3])
    cut = _best_cut(part, width, height)
    if cut is None:
      if _is_large_enough(part, width, height):
        boxes.append(box)
      continue
    axis, at = cut
    if axis == 0:
      waiting += [(left, top, part[:at]), (left, top + at, part[at:])]
    else:
      waiting += [(left, top, part[:, :at]), (left + at, top, part[:, at:])]
  return boxes


def _best_cut(part: np.ndarray, width: float, height: float) -> tuple[int, int] | None:
  """Return (axis, place) of the best cut of a part, None if it is not too large."""
  rows, columns = part.shape
  shape = (rows / height) / (columns / width)
  if rows < _MAX_ALIKE * height and 1 / _UNLIKE_SHAPE < shape < _UNLIKE_SHAPE:
    return None
  best = None
  least = np.inf
  for axis, usual, across, limit in (
    (0, height, width, _MAX_HEIGHT),
    (1, width, height, _MAX_WIDTH),
  ):
    size = part.shape[axis]
    first = max(1, int(_LEAST_PART * usual))
    places = np.arange(first, size - first + 1)
    if size <= max(limit * usual, 4) or not places.size:
      continue
    counts = part.sum(1 - axis)
    thin = np.minimum(counts[places - 1], counts[places]) / across
    uneven = np.minimum(_uneven(places / usual), _uneven((size - places) / usual))
    cost = thin + _UNEVEN_COST * uneven - _LONG_COST * (size / (limit * usual) - 1)
    if cost.min() < least:
      least = cost.min()
      best = axis, int(places[np.argmin(cost)])
  return best


def _uneven(sizes: np.ndarray) -> np.ndarray:
  """Return the distance of sizes from whole numbers of at least 1."""
  return np.abs(sizes - np.maximum(np.rint(sizes), 1))


def _is_large_enough(part: np.ndarray, width: float, height: float) -> bool:
  if part.sum() < _MIN_AREA * width * height:
    return False
  return part.shape[1] >= _MIN_SIDE * width and part.shape[0] >= _MIN_SIDE * height


def _tight(left: int, top: int, part: np.ndarray) -> tuple[int, int, np.ndarray]:
  """Return a part without empty rows and columns around it."""
  rows = np.flatnonzero(part.any(1))
  columns = np.flatnonzero(part.any(0))
  if not rows.size:
    return left, top, part[:0, :0]
  inner = part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
  return left + int(columns[0]), top + int(rows[0]), inner


def _any_near(mask: np.ndarray, reach: int, axis: int) -> np.ndarray:
  """Return where a pixel within reach along an axis is set."""
  out = mask.copy()
  for step in range(1, reach + 1):
    ahead = [slice(None), slice(None)]
    behind = [slice(None), slice(None)]
    ahead[axis] = slice(step, None)
    behind[axis] = slice(None, -step)
    out[tuple(behind)] |= mask[tuple(ahead)]
    out[tuple(ahead)] |= mask[tuple(behind)]
  return out
