"""The error of an object, and of a frame by its worst one (Table VIII).

An object has three measurements: errors of appearance and motion, and speed (`scoring.objects`).

A crop with more contrast or more motion has larger errors, abnormal or not. So the logarithm of an
error first becomes a z-score among training objects whose crops have about the same energy.

Normal measurements also differ from near to far. Speed is divided by a power of the usual height of
an object at its row. Then each measurement becomes a z-score among training objects whose lower
edge is at about the same row. The error of an object is the weighted sum of its z-scores above 0.
The error of a frame is that of its worst object.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError

MEASUREMENTS = ('appearance', 'motion', 'speed')

RAW_MEASUREMENTS = (
  'appearance_error',
  'appearance_energy',
  'motion_error',
  'motion_energy',
  'speed',
)
"""Mean squares over the middle frames of a crop, and its speed in pixels per frame."""

LEAST_ERROR = 1e-9
"""Added to errors before the logarithm, in squared grey levels on [0, 1]."""

LEAST_ENERGY = 0.05
"""Added to energies before the logarithm, as a share of their median over training objects.

Objects that hardly move then count as alike, whatever the noise of their video.
"""

ROW_SIGMA = 0.04
"""Standard deviation of the kernel over heights in the frame, as a share of the frame's height."""

ENERGY_SIGMA = 0.6
"""Standard deviation of the kernel over natural logarithms of energies."""

ROW_PRIOR = 0.1
"""Weight of each training object at all heights, relative to one at the same height.

It decides where training objects are rare.
"""

PERSPECTIVE = 0.75
"""Power of the usual height that divides speeds.

Speed in pixels grows with the size of an object, but what moves by more than a pixel is measured as
too slow. Without it, whoever comes nearer than anybody in training would be too fast.
"""

LEAST_HEIGHT = 0.02
"""Least usual height of an object, as a share of the frame's height."""

_FIT_ROUNDS = 20

GRID = 61
"""Number of positions at which local statistics are kept."""

IN_PROGRAM = 'statistics/'
"""Begins the names of statistics among the arrays of a program."""


class LocalStatistics(NamedTuple):
  """Mean and standard deviation of a value, near each position on a line.

  Attributes:
    positions: float64 [GRID], rising.
    mean: float64 [GRID].
    std: float64 [GRID].
  """

  positions: np.ndarray
  mean: np.ndarray
  std: np.ndarray

  @classmethod
  def fit(
    cls, at: np.ndarray, values: np.ndarray, *, sigma: float, prior: float = 1e-9
  ) -> 'LocalStatistics':
    """Compute the statistics of training objects.

        mean(y) = sum_i w_i(y) v_i,   w_i(y) proportional to exp(-(y - y_i)^2 / 2 sigma^2) + prior

    Args:
      at: [M], positions y_i.
      values: [M], values v_i.
      sigma: standard deviation of the kernel.
      prior: weight of each training object at all positions.
    """
    positions = np.linspace(at.min(), at.max(), GRID)
    weights = np.exp(-0.5 * np.square((positions[:, None] - at) / sigma)) + prior
    weights /= weights.sum(1, keepdims=True)
    centre = values.mean()
    mean = weights @ (values - centre)
    variance = weights @ np.square(values - centre) - np.square(mean)
    smallest = 1e-3 * values.std() + 1e-9
    return cls(positions, mean + centre, np.sqrt(np.maximum(variance, smallest**2)))

  def zscores(self, at: Any, values: Any, xp: Any = np) -> Any:
    """Return (value - mean) / std at each position; beyond the ends, that of the end."""
    mean = xp.interp(at, self.positions, self.mean)
    std = xp.interp(at, self.positions, self.std)
    return (values - mean) / std


class UsualHeight(NamedTuple):
  """Height of an object as a linear function of the row of its lower edge.

  Attributes:
    offset: at the upper edge of the frame, as a share of the frame's height.
    slope: gain from the upper to the lower edge of the frame.
    least: smaller values are replaced by it.
  """

  offset: float
  slope: float
  least: float

  @classmethod
  def fit(cls, edges: np.ndarray) -> 'UsualHeight':
    """Fit the line with the least absolute errors, robust to a few odd boxes.

    Args:
      edges: [M, 2], see `vertical_edges`.
    """
    heights = edges[:, 1] - edges[:, 0]
    terms = np.stack([np.ones(len(edges)), edges[:, 1]], axis=1)
    weights = np.ones(len(edges))
    for _ in range(_FIT_ROUNDS):
      line = np.linalg.lstsq(terms * weights[:, None], heights * weights, rcond=None)[0]
      weights = np.sqrt(1 / np.maximum(np.abs(heights - terms @ line), 1e-3))
    least = max(np.quantile(heights, 0.05), LEAST_HEIGHT)
    return cls(float(line[0]), float(line[1]), float(least))

  def at(self, rows: Any, xp: Any = np) -> Any:
    """Return the usual height at rows, both as shares of the frame's height."""
    return xp.maximum(self.offset + self.slope * rows, self.least)


class ObjectStatistics(NamedTuple):
  """Statistics of training objects.

  Attributes:
    usual_height: of the objects at each row.
    least_energy: float64 [2], added to the energies of appearance and motion.
    by_energy: of the logarithms of appearance and motion errors, by the logarithm of the energy.
    by_height: of the three measurements, by the height of the lower edge.
  """

  usual_height: UsualHeight
  least_energy: np.ndarray
  by_energy: tuple[LocalStatistics, ...]
  by_height: tuple[LocalStatistics, ...]

  @classmethod
  def fit(cls, edges: np.ndarray, raw: np.ndarray) -> 'ObjectStatistics':
    """Compute the statistics of training objects.

    Args:
      edges: [M, 2], see `vertical_edges`.
      raw: [M, 5], `RAW_MEASUREMENTS`.
    """
    edges = np.asarray(edges, np.float64)
    rows = edges[:, 1]
    usual_height = UsualHeight.fit(edges)
    least_energy = LEAST_ENERGY * np.median(np.asarray(raw, np.float64)[:, [1, 3]], axis=0)
    errors, energies, _ = _split_raw(raw, least_energy)
    by_energy = tuple(
      LocalStatistics.fit(energy, error, sigma=ENERGY_SIGMA)
      for energy, error in zip(energies, errors, strict=True)
    )
    by_height = tuple(
      LocalStatistics.fit(rows, values, sigma=ROW_SIGMA, prior=ROW_PRIOR)
      for values in _relative(by_energy, raw, least_energy, usual_height.at(rows))
    )
    return cls(usual_height, least_energy, by_energy, by_height)

  def zscores(self, edges: Any, raw: Any, xp: Any = np) -> Any:
    """Return the `MEASUREMENTS` of objects as z-scores.

    Args:
      edges: [M, 2], see `vertical_edges`.
      raw: [M, 5], `RAW_MEASUREMENTS`.
      xp: `numpy`, or `jax.numpy` in a program.

    Returns:
      [M, 3], float64 by NumPy and float32 by JAX.
    """
    rows = xp.asarray(edges, _dtype(xp))[:, 1]
    usual_height = self.usual_height.at(rows, xp)
    relative = _relative(self.by_energy, raw, self.least_energy, usual_height, xp)
    columns = [
      statistics.zscores(rows, values, xp)
      for statistics, values in zip(self.by_height, relative, strict=True)
    ]
    return xp.stack(columns, axis=1)

  def to_arrays(self) -> dict[str, np.ndarray]:
    """Return the statistics as named arrays, for a file."""
    arrays = {
      'usual_height': np.asarray(self.usual_height),
      'least_energy': np.asarray(self.least_energy),
    }
    for name in ('by_energy', 'by_height'):
      group = getattr(self, name)
      for field in LocalStatistics._fields:
        arrays[f'{name}_{field}'] = np.stack([getattr(each, field) for each in group])
    return arrays

  @classmethod
  def from_arrays(cls, arrays: Mapping[str, np.ndarray], source: str) -> 'ObjectStatistics':
    """Return the statistics that `to_arrays` described.

    Args:
      arrays: what it returned.
      source: name of the file, for errors.

    Raises:
      UserError: if an array is missing or has another shape.
    """
    usual_height = _array(arrays, 'usual_height', (len(UsualHeight._fields),), source)
    _array(arrays, 'least_energy', (2,), source)
    for name, count in (('by_energy', 2), ('by_height', 3)):
      for field in LocalStatistics._fields:
        _array(arrays, f'{name}_{field}', (count, GRID), source)
    return cls.in_program(arrays)._replace(usual_height=UsualHeight(*usual_height.tolist()))

  def program_arrays(self) -> dict[str, np.ndarray]:
    """Return the statistics as float32 arrays of a program, by flat names."""
    arrays = self.to_arrays()
    return {IN_PROGRAM + name: array.astype(np.float32) for name, array in arrays.items()}

  @classmethod
  def in_program(cls, arrays: Mapping[str, Any]) -> 'ObjectStatistics':
    """Return the statistics that `to_arrays` described, of arrays of any kind."""
    groups = []
    for name in ('by_energy', 'by_height'):
      columns = [arrays[f'{name}_{field}'] for field in LocalStatistics._fields]
      groups.append(tuple(LocalStatistics(*rows) for rows in zip(*columns, strict=True)))
    return cls(UsualHeight(*arrays['usual_height']), arrays['least_energy'], *groups)


def _array(arrays, name, shape, source):
  """Return an array of a file after its shape was checked."""
  array = arrays.get(name)
  if array is None or array.shape != shape:
    raise UserError(f'{source}: {name} is missing or not {list(shape)}')
  return array


def _relative(by_energy, raw, least_energy, usual_height, xp=np):
  """Return errors relative to energies, and speeds to sizes: three arrays [M]."""
  errors, energies, speed = _split_raw(raw, least_energy, xp)
  relative = [
    statistics.zscores(energy, error, xp)
    for statistics, energy, error in zip(by_energy, energies, errors, strict=True)
  ]
  return [*relative, speed / usual_height**PERSPECTIVE]


def _split_raw(raw, least_energy, xp=np):
  """Return logarithms of errors [2, M] and of energies [2, M], and speeds [M]."""
  columns = xp.asarray(raw, _dtype(xp)).T
  errors = xp.log(columns[0:3:2] + LEAST_ERROR)
  energies = xp.log(columns[1:4:2] + xp.reshape(least_energy, (2, 1)) + LEAST_ERROR)
  return errors, energies, columns[4]


def _dtype(xp: Any) -> Any:
  return np.float64 if xp is np else np.float32


def vertical_edges(corners: np.ndarray, height: int) -> np.ndarray:
  """Return upper and lower edges as shares of the height of the frame, [M, 2].

  Args:
    corners: float32 [M, 4], x1, y1, x2, y2 in pixels.
    height: height of a frame in pixels.
  """
  return (corners[:, 1::2] / height).astype(np.float32)


def object_errors(zscores: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
  """Return the weighted sum of the z-scores above 0: [M, K] -> [M]."""
  return np.maximum(zscores, 0) @ np.asarray(weights, np.float64)


def worst_objects(errors: np.ndarray, frame: np.ndarray, num_frames: int) -> np.ndarray:
  """Return the error of each frame: that of its worst object, 0 without objects.

  Errors of objects are at least 0, so a frame without objects has the least error of all.

  Args:
    errors: [M], errors of objects.
    frame: int [M], their frames.
    num_frames: N.

  Returns:
    float64 [N].
  """
  worst = np.zeros(num_frames)
  np.maximum.at(worst, frame, errors)
  return worst


def fill_between(errors: np.ndarray, step: int) -> np.ndarray:
  """Interpolate the errors of a video between the frames whose objects are scored.

  Frames 0, step, 2 step, ... are scored. The last frames have the error of the last scored one.

  Args:
    errors: [N]; only those of the scored frames are read.
    step: frames between two scored ones; 1: all are scored.

  Returns:
    float64 [N].
  """
  frames = np.arange(len(errors))
  scored = frames[::step]
  return np.interp(frames, scored, errors[scored]) if len(frames) else np.zeros(0)
