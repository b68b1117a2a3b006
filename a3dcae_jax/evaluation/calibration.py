"""Statistics of the training videos: mean images, perspective, errors, thresholds.

They are computed once and saved in the run's folder:

    calibration/inputs.npz         mean images and perspective, from before training
    calibration/calibration.json   errors of training videos, from the trained network

Evaluation, sums of runs, export and bundles read these files instead of the training videos.
Calibrations are saved with a SHA-256 of their content, since a damaged one would give other scores.
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_write, object_digest, read_object
from a3dcae_jax.config import fields
from a3dcae_jax.scoring.normalisation import normalise, smooth
from a3dcae_jax.scoring.thresholds import choose_threshold
from a3dcae_jax.serving.arrays import pack_arrays, unpack_arrays

FOLDER = 'calibration'
INPUTS = 'inputs.npz'
_ERRORS = 'calibration.json'
REMADE = 'remove it: it is made again from the training videos'
_QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


@dataclasses.dataclass(frozen=True)
class InputStatistics:
  """Statistics of the training videos that the input of the networks depends on.

  Attributes:
    names: names of the mean images, see `mean_images.mean_image_names`.
    frame_means: float32 [S, H, W], mean images of frames in [0, 1], for the baselines.
    input_means: float32 [S, H, W], mean images of the networks' input, frames or flow.
    row_scale: reference speed of the top and the bottom row, see `perspective`.
    train_sha256: hash of the training frames in the frame cache.
  """

  names: tuple[str, ...]
  frame_means: np.ndarray
  input_means: np.ndarray
  row_scale: tuple[float, float]
  train_sha256: str = ''

  def to_bytes(self) -> bytes:
    """Return the content of `inputs.npz`."""
    return pack_arrays(
      {
        'names': np.asarray(self.names),
        'frame_means': self.frame_means,
        'input_means': self.input_means,
        'row_scale': np.asarray(self.row_scale, np.float64),
        'train_sha256': np.asarray(self.train_sha256),
      }
    )

  @classmethod
  def from_bytes(cls, content: bytes, source: str, height: int, width: int) -> 'InputStatistics':
    """Return the statistics whose `to_bytes` gave `content`.

    Args:
      content: bytes of the file.
      source: name of the file, for errors.
      height: height of the images.
      width: width of the images.

    Raises:
      UserError: if it is not a .npz of plain arrays.
      KeyError: if an array is missing.
      ValueError: if an array has another shape.
    """
    arrays = unpack_arrays(content, source)
    names = arrays['names']
    shape = (len(names), height, width)
    for name, expected in (
      ('names', (len(names),)),
      ('frame_means', shape),
      ('input_means', shape),
      ('row_scale', (2,)),
    ):
      check_array(name, arrays[name], expected)
    top, bottom = arrays['row_scale'].tolist()
    return cls(
      names=tuple(names.tolist()),
      frame_means=arrays['frame_means'],
      input_means=arrays['input_means'],
      row_scale=(top, bottom),
      train_sha256=str(arrays['train_sha256']),
    )

  def save(self, workdir: pathlib.Path) -> None:
    """Write `calibration/inputs.npz`."""
    with atomic_write(pathlib.Path(workdir) / FOLDER / INPUTS, 'wb') as file:
      file.write(self.to_bytes())

  @classmethod
  def load(cls, workdir: pathlib.Path, data: fields.Data) -> 'InputStatistics':
    """Read the file that `save` wrote.

    Args:
      workdir: folder of the run.
      data: the config's `data`, which has the size of the images.

    Raises:
      UserError: if it is missing, damaged, or for frames of another size.
    """
    path = pathlib.Path(workdir) / FOLDER / INPUTS
    if not path.exists():
      raise UserError(f'{path} does not exist: {workdir} is not a whole run')
    with naming_damage(path, f'remove {workdir} and train again'):
      return cls.from_bytes(path.read_bytes(), str(path), data.height, data.width)


@dataclasses.dataclass(frozen=True)
class Calibration:
  """Errors of training videos, by which scores are calibrated and thresholds set.

  Attributes:
    source: the settings that these errors depend on, see `calibrate.calibration_source`.
    videos: 'training videos' or 'held-out videos'.
    stride: stride of the windows; smaller than `eval.stride` if all videos are too short for it.
    position_mean: float32 [T], mean error at each position in the window.
    position_std: float32 [T], standard deviation of the error at each position.
    windows: number of windows.
    first_frames: index of the first frame of each calibrating video.
    num_frames: number of frames of each calibrating video.
    uncalibrated: float64 [N], errors of all frames of these videos, in order.
    per_position: float64 [N], the same errors divided by `position_mean` at their position.
    motion_statistics: float32 [2, T, h] for error=local, see `scoring.local`; else None.
  """

  source: dict[str, Any]
  videos: str
  stride: int
  position_mean: np.ndarray
  position_std: np.ndarray
  windows: int
  first_frames: tuple[int, ...]
  num_frames: tuple[int, ...]
  uncalibrated: np.ndarray
  per_position: np.ndarray
  motion_statistics: np.ndarray | None

  def errors(self, per_position: bool) -> list[np.ndarray]:
    """Return the errors of each video, float64 [N_v]."""
    errors = self.per_position if per_position else self.uncalibrated
    by_video = []
    start = 0
    for length in self.num_frames:
      by_video.append(errors[start : start + length])
      start += length
    return by_video

  def threshold(self, options: fields.Eval, events: fields.Events) -> float:
    """Return the z-score at which events begin, from the training scores alone."""
    return event_threshold(self.errors(options.per_position), options, events)

  def bundle_fields(self, options: fields.Eval, events: fields.Events) -> dict[str, Any]:
    """Return the calibration as the entry of a bundle's `detector.json`."""
    return {
      'videos': self.videos,
      'windows': self.windows,
      'per_position': options.per_position,
      'position_mean': self.position_mean.tolist(),
      'position_std': self.position_std.tolist(),
      'step_frames': options.window_step,
      **score_fields(self.errors(options.per_position), options, events),
    }

  def to_json(self) -> dict[str, Any]:
    """Return all attributes as JSON values; floats keep all their digits."""
    values = {}
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if isinstance(value, np.ndarray):
        value = value.tolist()
      elif isinstance(value, tuple):
        value = list(value)
      values[field.name] = value
    return values

  @classmethod
  def from_json(cls, values: dict[str, Any]) -> 'Calibration':
    """Return the calibration whose `to_json` gave `values`."""
    values = dict(values)
    for name in ('position_mean', 'position_std'):
      values[name] = np.asarray(values[name], np.float32)
    for name in ('first_frames', 'num_frames'):
      values[name] = tuple(values[name])
    for name in ('uncalibrated', 'per_position'):
      values[name] = np.asarray(values[name], np.float64)
    if values['motion_statistics'] is not None:
      values['motion_statistics'] = np.asarray(values['motion_statistics'], np.float32)
    return cls(**values)

  def save(self, workdir: pathlib.Path) -> None:
    """Write `calibration/calibration.json`, with the SHA-256 of its content."""
    values = self.to_json()
    with atomic_write(pathlib.Path(workdir) / FOLDER / _ERRORS) as file:
      json.dump(values | {'sha256': object_digest(values)}, file, allow_nan=False)

  @classmethod
  def load(cls, workdir: pathlib.Path, source: dict[str, Any]) -> 'Calibration | None':
    """Read the file that `save` wrote.

    Returns:
      None if there is no file, or if it has another source.

    Raises:
      UserError: if it is damaged.
    """
    path = pathlib.Path(workdir) / FOLDER / _ERRORS
    if not path.exists():
      return None
    with naming_damage(path, REMADE):
      values = read_object(path)
      check_digest(values.pop('sha256', None), object_digest(values))
      return cls.from_json(values) if values['source'] == source else None


@contextlib.contextmanager
def naming_damage(path: pathlib.Path, remedy: str) -> Iterator[None]:
  """Turn every error of reading a damaged file into a `UserError` with what to do."""
  try:
    yield
  except OSError:  # the disk, not the content of the file
    raise
  except UserError as error:
    raise UserError(f'{error}; {remedy}') from None
  except Exception as error:  # whatever other content makes of the code that expects ours
    reason = f'{type(error).__name__}: {error}'.splitlines()[0]
    raise UserError(f'{path} is damaged ({reason}); {remedy}') from None


def check_digest(saved: Any, found: str) -> None:
  """Raise a `ValueError` unless the SHA-256 in a file is that of its content."""
  if saved != found:
    raise ValueError('its SHA-256 is missing' if saved is None else 'its SHA-256 differs')


def check_array(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
  """Raise a `ValueError` unless an array has a shape and finite numbers."""
  if array.shape != shape:
    raise ValueError(f'{name} is {list(array.shape)}, not {list(shape)}')
  if array.dtype.kind != 'U' and not np.isfinite(array).all():
    raise ValueError(f'{name} has values that are not finite')


def score_fields(
  errors: list[np.ndarray], options: fields.Eval, events: fields.Events
) -> dict[str, Any]:
  """Return how a bundle turns errors into scores, and its threshold.

  Args:
    errors: errors of training videos.
    options: the config's `eval`.
    events: the config's `events`.
  """
  joined = np.concatenate(errors)
  scores = np.concatenate(train_scores(errors, options))
  return {
    'frames': len(joined),
    'mean': float(joined.mean()),
    'std': float(joined.std()),
    'smoothing_frames': options.smoothing_frames,
    'smoothing_mode': options.smoothing_mode,
    'threshold': event_threshold(errors, options, events),
    'threshold_rule': events.threshold_rule,
    'threshold_value': events.threshold_value,
    'score_quantiles': {str(q): float(np.quantile(scores, q)) for q in _QUANTILES},
  }


def train_scores(errors: list[np.ndarray], options: fields.Eval) -> list[np.ndarray]:
  """Return the smoothed z-scores of training videos from their errors."""
  joined = np.concatenate(errors)
  scores = normalise(errors, 'zscore', train_mean=joined.mean(), train_std=joined.std())
  return smooth(scores, options.smoothing_frames, options.smoothing_mode)


def event_threshold(errors: list[np.ndarray], options: fields.Eval, events: fields.Events) -> float:
  """Return the z-score at which events begin, from the errors of training videos."""
  return choose_threshold(
    train_scores(errors, options),
    rule=events.threshold_rule,
    value=events.threshold_value,
    frames_per_s=events.frames_per_s,
  )
