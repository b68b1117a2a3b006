"""What is normal for objects: measurements of the training videos.

They are computed once from the trained network and saved in the run's folder:

    calibration/objects.npz   measurements of training objects, with the settings they depend on

Statistics by row, errors of training frames and thresholds all follow from them.
"""

import dataclasses
import functools
import json
import pathlib
from typing import Any

import numpy as np

from a3dcae_jax.common.files import atomic_write
from a3dcae_jax.config import fields
from a3dcae_jax.evaluation.calibration import (
  FOLDER,
  REMADE,
  check_digest,
  naming_damage,
  score_fields,
)
from a3dcae_jax.serving.arrays import arrays_digest, pack_arrays, unpack_arrays
from a3dcae_jax.serving.object_statistics import (
  MEASUREMENTS,
  ObjectStatistics,
  fill_between,
  object_errors,
  worst_objects,
)

OBJECTS = 'objects.npz'
_FOLDS = 8


@dataclasses.dataclass(frozen=True)
class ObjectCalibration:
  """Measurements of training objects.

  Attributes:
    source: the settings that they depend on.
    videos: 'training videos' or 'held-out videos'.
    frame: int32 [M], frame of each object, in the calibrating videos one after another.
    edges: float32 [M, 2], see `serving.object_statistics.vertical_edges`.
    measurements: float32 [M, 5], see `serving.object_statistics.RAW_MEASUREMENTS`.
    num_frames: number of frames of each calibrating video.
  """

  source: dict[str, Any]
  videos: str
  frame: np.ndarray
  edges: np.ndarray
  measurements: np.ndarray
  num_frames: tuple[int, ...]

  @property
  def step(self) -> int:
    """Frames from one whose objects were measured to the next."""
    return self.source['step']

  def statistics(self) -> ObjectStatistics:
    """Return the statistics of the training objects."""
    return ObjectStatistics.fit(self.edges, self.measurements)

  def errors(self, weights: tuple[float, ...]) -> list[np.ndarray]:
    """Return the errors of the frames of each calibrating video, float64 [N_v].

    They are cross-fitted: an object is compared with the objects of other videos, as a test object
    is. Else they would be too small, and thresholds too low.

    Args:
      weights: the config's `eval.object_weights`.
    """
    total = sum(self.num_frames)
    errors = worst_objects(object_errors(self._zscores, weights), self.frame, total)
    by_video = np.split(errors, np.cumsum(self.num_frames)[:-1])
    return [fill_between(video, self.step) for video in by_video]

  @functools.cached_property
  def _zscores(self) -> np.ndarray:
    """The z-scores of the objects by the statistics of the other folds, [M, 3]."""
    fold = _folds(self.num_frames)[self.frame]
    zscores = np.zeros((len(fold), len(MEASUREMENTS)))
    for number in np.unique(fold):
      inside = fold == number
      others = inside if inside.all() else ~inside
      statistics = ObjectStatistics.fit(self.edges[others], self.measurements[others])
      zscores[inside] = statistics.zscores(self.edges[inside], self.measurements[inside])
    return zscores

  def bundle_fields(self, options: fields.Eval, events: fields.Events) -> dict[str, Any]:
    """Return the calibration as the entry of a bundle's `detector.json`."""
    weights = options.object_weights
    return {
      'videos': self.videos,
      'objects': len(self.frame),
      'step_frames': self.step,
      'weights': dict(zip(MEASUREMENTS, weights, strict=True)),
      **score_fields(self.errors(weights), options, events),
    }

  def to_bytes(self) -> bytes:
    """Return the content of `objects.npz`, with its SHA-256."""
    arrays = {
      'source': np.asarray(json.dumps(self.source)),
      'videos': np.asarray(self.videos),
      'frame': self.frame,
      'edges': self.edges,
      'measurements': self.measurements,
      'num_frames': np.asarray(self.num_frames),
    }
    return pack_arrays(arrays | {'sha256': np.asarray(arrays_digest(arrays))})

  @classmethod
  def from_bytes(cls, content: bytes, source: str) -> 'ObjectCalibration':
    """Return the calibration whose `to_bytes` gave `content`.

    Args:
      content: bytes of the file.
      source: name of the file, for errors.

    Raises:
      UserError: if it is not a .npz of plain arrays.
      KeyError: if an array is missing.
      ValueError: if its SHA-256 is another one.
    """
    arrays = unpack_arrays(content, source)
    saved = str(arrays['sha256']) if 'sha256' in arrays else None
    check_digest(saved, arrays_digest(arrays))
    return cls(
      source=json.loads(str(arrays['source'])),
      videos=str(arrays['videos']),
      frame=arrays['frame'],
      edges=arrays['edges'],
      measurements=arrays['measurements'],
      num_frames=tuple(arrays['num_frames'].tolist()),
    )

  def save(self, workdir: pathlib.Path) -> None:
    """Write `calibration/objects.npz`."""
    with atomic_write(pathlib.Path(workdir) / FOLDER / OBJECTS, 'wb') as file:
      file.write(self.to_bytes())

  @classmethod
  def load(cls, workdir: pathlib.Path, source: dict[str, Any]) -> 'ObjectCalibration | None':
    """Read the file that `save` wrote.

    Returns:
      None if there is no file, or if it has another source.

    Raises:
      UserError: if it is damaged.
    """
    path = pathlib.Path(workdir) / FOLDER / OBJECTS
    if not path.exists():
      return None
    with naming_damage(path, REMADE):
      saved = cls.from_bytes(path.read_bytes(), str(path))
    return saved if saved.source == source else None


def _folds(num_frames: tuple[int, ...]) -> np.ndarray:
  """Return the fold of each frame.

  A fold has whole videos. If there are few videos, the frames are cut into equal parts.
  """
  count = len(num_frames)
  if count >= _FOLDS // 2:
    return np.repeat(np.arange(count) * _FOLDS // max(count, _FOLDS), num_frames)
  total = sum(num_frames)
  return np.arange(total) * _FOLDS // max(total, 1)
