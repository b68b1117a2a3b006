"""Persistence of the extrema of a score curve (0-dimensional): how deep one has to go from a peak before a higher one is reached."""

from typing import NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError


class Pairs(NamedTuple):
  """Maxima of a curve with their persistence, in order of position; the global maximum's is `max - min`.

  position: int64 [K]. persistence: float64 [K].
  """

  position: np.ndarray
  persistence: np.ndarray


def maxima(values):
  """Local maxima and their persistence.

  Going down from the highest value, every local maximum starts a component; where two meet, at a minimum, the one with the lower
  maximum ends there: its persistence is its height above that meeting point. The highest never ends: it gets max - min. A
  plateau counts as one maximum, at its first sample; the ends of the curve count as maxima where the curve falls away from
  them. A constant curve has one maximum of persistence 0.

  Args: values: float [N], N >= 1.
  Returns: `Pairs`. O(N) to find extrema, O(K) to pair K of them.
  Raises: UserError for an empty curve or one that is not finite.
  Source: Edelsbrunner, Letscher & Zomorodian 2002; Kozlov & Weinkauf, Persistence1D; used in Sun et al. 2021, sec. III-D.
  """
  values = np.asarray(values, np.float64)
  if not len(values):
    raise UserError('persistence: the score curve is empty')
  if not np.isfinite(values).all():
    raise UserError(f'persistence: score {np.flatnonzero(~np.isfinite(values))[0]} is not finite')
  starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])  # first sample of each plateau
  heights = values[starts]
  rises, falls = np.r_[True, heights[1:] > heights[:-1]], np.r_[heights[1:] < heights[:-1], True]
  peak = np.flatnonzero(rises & falls)
  valleys = (
    np.minimum.reduceat(heights, peak)[:-1] if len(peak) > 1 else np.empty(0)
  )  # the minimum between neighbouring peaks
  persistence = _pair(heights[peak].tolist(), valleys.tolist())
  persistence[int(np.argmax(heights[peak]))] = heights.max() - heights.min()
  return Pairs(starts[peak], np.asarray(persistence))


def minima(values):
  """Local minima and their persistence: the maxima of the curve turned over."""
  return maxima(-np.asarray(values, np.float64))


def _pair(peaks, valleys):
  """Persistence of each peak but the highest (left infinite), in one pass with a stack of peaks whose lower side is open.

  The stack's peaks fall from bottom to top; `deepest[i]` is the lowest valley between stack entry i and the one below it.
  """
  result, stack, deepest = [np.inf] * len(peaks), [], []
  for index, height in enumerate(peaks):
    valley = valleys[index - 1] if index else np.inf
    while stack and peaks[stack[-1]] < height:
      lower, below = stack.pop(), deepest.pop()
      # It is enclosed by something higher on both sides (or by the curve's end on the left): the higher valley is where it ends.
      meets = max(valley, below) if stack else valley
      result[lower] = peaks[lower] - meets
      valley = min(valley, below)
    stack.append(index)
    deepest.append(valley)
  while (
    len(stack) > 1
  ):  # nothing higher to the right: they end at the valley towards the higher one on the left
    lower, below = stack.pop(), deepest.pop()
    result[lower] = peaks[lower] - below
  return result
