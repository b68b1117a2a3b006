"""What is normal for objects: measurements of the training videos.

They are computed once from the trained network and saved in the run's folder:

    calibration/objects.npz   measurements of training objects, with the settings they depend on

Statistics by row, errors of training frames and thresholds all follow from them.
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from a3dcae_jax.common.files import atomic_write
from a3dcae_jax.evaluation.calibration import FOLDER, REMADE, check_digest, naming_damage
from a3dcae_jax.serving.arrays import arrays_digest, pack_arrays, unpack_arrays
from a3dcae_jax.serving.object_statistics import ObjectStatistics, object_errors, worst_objects

_FILE = 'objects.npz'


@dataclasses.dataclass(frozen=True)
class ObjectCalibration:
  """Measurements of training objects.

  Attributes:
    source: the settings that they depend on.
    videos: 'training videos' or 'held-out videos'.
    frame: int32 [M], frame of each object, in the calibrating videos one after another.
    bottoms: float32 [M], lower edge of each object as a share of the frame's height.
    measurements: float32 [M, 5], see `serving.object_statistics.RAW_MEASUREMENTS`.
    num_frames: number of frames of each calibrating video.
  """

  source: dict[str, Any]
  videos: str
  frame: np.ndarray
  bottoms: np.ndarray
  measurements: np.ndarray
  num_frames: tuple[int, ...]

  def statistics(self) -> ObjectStatistics:
    """Return the statistics of the training objects."""
    return ObjectStatistics.fit(self.bottoms, self.measurements)

  def errors(self, weights: tuple[float, ...]) -> list[np.ndarray]:
    """Return the errors of the frames of each calibrating video, float64 [N_v].

    Args:
      weights: the config's `eval.object_weights`.
    """
    zscores = self.statistics().zscores(self.bottoms, self.measurements)
    total = sum(self.num_frames)
    errors = worst_objects(object_errors(zscores, weights), self.frame, total)
    return np.split(errors, np.cumsum(self.num_frames)[:-1])

  def save(self, workdir: pathlib.Path) -> None:
    """Write `calibration/objects.npz`, with the SHA-256 of its content."""
    arrays = {
      'source': np.asarray(json.dumps(self.source)),
      'videos': np.asarray(self.videos),
      'frame': self.frame,
      'bottoms': self.bottoms,
      'measurements': self.measurements,
      'num_frames': np.asarray(self.num_frames),
    }
    content = pack_arrays(arrays | {'sha256': np.asarray(arrays_digest(arrays))})
    with atomic_write(pathlib.Path(workdir) / FOLDER / _FILE, 'wb') as file:
      file.write(content)

  @classmethod
  def load(cls, workdir: pathlib.Path, source: dict[str, Any]) -> 'ObjectCalibration | None':
    """Read the file that `save` wrote.

    Returns:
      None if there is no file, or if it has another source.

    Raises:
      UserError: if it is damaged.
    """
    path = pathlib.Path(workdir) / FOLDER / _FILE
    if not path.exists():
      return None
    with naming_damage(path, REMADE):
      arrays = unpack_arrays(path.read_bytes(), str(path))
      saved = str(arrays['sha256']) if 'sha256' in arrays else None
      check_digest(saved, arrays_digest(arrays))
      if json.loads(str(arrays['source'])) != source:
        return None
      return cls(
        source=source,
        videos=str(arrays['videos']),
        frame=arrays['frame'],
        bottoms=arrays['bottoms'],
        measurements=arrays['measurements'],
        num_frames=tuple(arrays['num_frames'].tolist()),
      )
