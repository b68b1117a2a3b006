"""Persistence of the maxima of a score curve: how far each one stands out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError


class Pairs(NamedTuple):
  """Maxima of a curve with their persistence, in order of position.

  Attributes:
    position: int64 [K].
    persistence: float64 [K]; that of the global maximum is max - min.
  """

  position: np.ndarray
  persistence: np.ndarray


def maxima(values: np.ndarray) -> Pairs:
  """Return the local maxima and their persistence.

  This is 0-dimensional persistence. Going down from the highest value, each local maximum starts a
  component. Where two components meet, at a minimum, the one with the lower maximum ends: the
  persistence of that maximum is its height above the meeting point. The component of the global
  maximum never ends; its persistence is max - min.

  A plateau counts as one maximum, at its first sample. An end of the curve counts as a maximum if
  the curve falls away from it. A constant curve has one maximum of persistence 0.

  The time is O(N) to find the maxima and O(K) to pair K of them.

  Args:
    values: float [N], N >= 1.

  Raises:
    UserError: if the curve is empty or not finite.

  Source: Edelsbrunner, Letscher & Zomorodian 2002; Kozlov & Weinkauf, Persistence1D; used in Sun
  et al. 2021, sec. III-D.
  """
  values = np.asarray(values, np.float64)
  if not len(values):
    raise UserError('persistence: the score curve is empty')
  wrong = np.flatnonzero(~np.isfinite(values))
  if len(wrong):
    raise UserError(f'persistence: score {wrong[0]} is not finite')
  is_new = np.diff(values) != 0
  starts = np.flatnonzero(np.append(True, is_new))  # first sample of each plateau
  heights = values[starts]
  steps = np.diff(heights)
  rises = np.append(True, steps > 0)
  falls = np.append(steps < 0, True)
  peaks = np.flatnonzero(rises & falls)
  peak_heights = heights[peaks]
  # Each segment starts with a peak, so its minimum is the valley before the next peak. The last
  # segment has no next peak.
  valleys = np.minimum.reduceat(heights, peaks)[:-1]
  persistence = np.asarray(_pair(peak_heights.tolist(), valleys.tolist()))
  persistence[peak_heights.argmax()] = heights.max() - heights.min()
  return Pairs(starts[peaks], persistence)


def _pair(peaks: Sequence[float], valleys: Sequence[float]) -> list[float]:
  """Return the persistence of each peak; the highest one has an infinite one.

  One pass from left to right, with a stack of the peaks that no higher peak has enclosed yet.
  Their heights fall from the bottom of the stack to its top. `deepest[i]` is the lowest valley
  between entry i of the stack and the entry below it.
  """
  result = [np.inf] * len(peaks)
  stack = []
  deepest = []
  for index, height in enumerate(peaks):
    valley = valleys[index - 1] if index else np.inf
    while stack and peaks[stack[-1]] < height:
      lower = stack.pop()
      below = deepest.pop()
      # There is a higher peak on its right, and on its left unless it was the bottom of the stack.
      # So it ends at the higher one of the two valleys.
      meeting = max(valley, below) if stack else valley
      result[lower] = peaks[lower] - meeting
      valley = min(valley, below)
    stack.append(index)
    deepest.append(valley)
  # The remaining peaks have no higher peak on their right: they end at the valley on their left.
  while len(stack) > 1:
    lower = stack.pop()
    result[lower] = peaks[lower] - deepest.pop()
  return result
