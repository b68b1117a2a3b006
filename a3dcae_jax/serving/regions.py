"""The region of a frame where its error is largest."""

import numpy as np

_SHARE = 0.5  # of the largest error, which the squares of a region reach


def strongest_region(heat: np.ndarray) -> tuple[int, int, int, int]:
  """Return the region around the square of the largest error.

  It has the squares that touch each other, also at a corner, and have at least half of that error.

  Args:
    heat: [h, w], error of each square.

  Returns:
    First column and row, and those behind the last ones.
  """
  is_high = heat >= _SHARE * heat.max()
  height, width = heat.shape
  first = np.unravel_index(np.argmax(heat), heat.shape)
  region = {(int(first[0]), int(first[1]))}
  waiting = list(region)
  while waiting:
    row, column = waiting.pop()
    for other_row in range(max(row - 1, 0), min(row + 2, height)):
      for other_column in range(max(column - 1, 0), min(column + 2, width)):
        place = (other_row, other_column)
        if is_high[place] and place not in region:
          region.add(place)
          waiting.append(place)
  rows, columns = zip(*region, strict=True)
  return min(columns), min(rows), max(columns) + 1, max(rows) + 1
