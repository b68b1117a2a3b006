"""The bundle of a detector that scores frames by their worst object.

BUNDLE/
  model.stablehlo   frames uint8 [N, H, W], rows int32 [B, T], corners float32 [B, 4] ->
                    measurements float32 [B, 5]; `jax.export`, any N and B, for cpu, cuda and tpu
  weights.npz       the arrays that the program reads, by flat names
  statistics.npz    statistics of training objects by energy and height
  detector.json     as in a bundle of frames, with the weights of the measurements

If a network finds the boxes:
  detection.stablehlo  frames uint8 [N, H, W], rows int32 [B, T] -> corners, valid, errors, worst,
                       zscores
  detector.npz         the weights of the detector

Otherwise boxes are given to it.
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.serving import manifest as manifests
from a3dcae_jax.serving.arrays import pack_arrays, unpack_arrays
from a3dcae_jax.serving.folder import (
  WEIGHTS,
  Program,
  arguments_of,
  check_weights,
  compiled,
  open_program,
  read_weights,
  write_folder,
)
from a3dcae_jax.serving.object_statistics import (
  MEASUREMENTS,
  RAW_MEASUREMENTS,
  ObjectStatistics,
  fill_between,
  object_errors,
  vertical_edges,
  worst_objects,
)
from a3dcae_jax.serving.video import object_rows, smooth

MODEL = 'model.stablehlo'
STATISTICS = 'statistics.npz'
DETECTION = 'detection.stablehlo'
DETECTOR = 'detector.npz'
_BATCH_SIZE = 64  # objects of a video per batch
_CORNERS = 4
_DETECTION_RESULTS = 5


class Detection(NamedTuple):
  """What a bundle needs to find boxes by itself.

  Attributes:
    model: finds the objects of clips and computes their errors.
    arrays: of the detector, by the names of the program.
  """

  model: export.Exported
  arrays: Mapping[str, np.ndarray]


def write_object_bundle(
  folder: pathlib.Path | str,
  *,
  model: export.Exported,
  weights: Mapping[str, np.ndarray],
  statistics: ObjectStatistics,
  details: Mapping[str, Any],
  extra_files: Mapping[str, bytes] | None = None,
  detection: Detection | None = None,
) -> None:
  """Write a bundle that scores objects, see `folder.write_folder`.

  Args:
    folder: folder of the bundle.
    model: the program.
    weights: arrays that the program reads.
    statistics: of the training objects.
    details: further fields of `detector.json`. One of them is `calibration`, which `ObjectBundle`
      reads.
    extra_files: name -> content.
    detection: finds the boxes; None if they are given.
  """
  frames, rows, _ = _arguments(model, pathlib.Path(folder) / MODEL)
  _, height, width = frames.shape
  _, window = rows.shape
  manifest = {
    'kind': manifests.OBJECTS,
    'input': {
      'window_frames': window,
      'height_px': height,
      'width_px': width,
      'axes': 'NHW',
      'channels': 'grey',
      'models': {'uint8': MODEL},
      'ranges': {'uint8': [0, 255]},
      'rows': 'int32 [B, T]',
      'corners': 'float32 [B, 4]: x1, y1, x2, y2 in pixels; x2 and y2 are exclusive',
    },
    'output': {'measurements': 'float32 [B, 5]', 'columns': list(RAW_MEASUREMENTS)},
    **details,
  }
  models = {MODEL: model}
  files = {**(extra_files or {}), STATISTICS: pack_arrays(statistics.to_arrays())}
  if detection:
    models[DETECTION] = detection.model
    files[DETECTOR] = pack_arrays(detection.arrays)
  write_folder(folder, manifest, models=models, weights=weights, files=files)


def open_object_bundle(
  folder: pathlib.Path, manifest: dict[str, Any], files: Mapping[str, bytes]
) -> 'ObjectBundle':
  """Return a bundle from its manifest and files; `bundle.load_bundle` calls this.

  Raises:
    UserError: if the files disagree on the shape of frames or weights.
  """
  manifests.check_listed(folder, files, [MODEL, WEIGHTS, STATISTICS])
  path = folder / MODEL
  model = open_program(files[MODEL], path)
  _check_geometry(path, manifest['input'], model)
  weights = read_weights(folder, files)
  check_weights(folder / WEIGHTS, MODEL, model, weights)
  statistics_path = str(folder / STATISTICS)
  arrays = unpack_arrays(files[STATISTICS], statistics_path)
  statistics = ObjectStatistics.from_arrays(arrays, statistics_path)
  detection = None
  if DETECTION in files:
    others = {**weights, **statistics.program_arrays()}
    detection = _open_detection(folder, files, others)
  own_files = {MODEL, WEIGHTS, STATISTICS, DETECTION, DETECTOR}
  extra_files = {name: content for name, content in files.items() if name not in own_files}
  return ObjectBundle(folder, manifest, model, weights, statistics, extra_files, detection)


def _open_detection(
  folder: pathlib.Path, files: Mapping[str, bytes], others: Mapping[str, np.ndarray]
) -> Detection:
  """Return the program that finds boxes, and the arrays of its detector.

  Args:
    folder: folder of the bundle.
    files: name -> content.
    others: the other arrays that the program reads.
  """
  manifests.check_listed(folder, files, [DETECTOR])
  path = folder / DETECTION
  model = open_program(files[DETECTION], path)
  arguments_of(model, path, 3)
  if len(model.out_avals) != _DETECTION_RESULTS:
    raise UserError(
      f'{path} has {len(model.out_avals)} results instead of {_DETECTION_RESULTS}: '
      'export the run again'
    )
  arrays = unpack_arrays(files[DETECTOR], str(folder / DETECTOR))
  check_weights(folder / DETECTOR, DETECTION, model, {**others, **arrays})
  return Detection(model, arrays)


class ObjectBundle:
  """A loaded bundle that scores objects.

  Attributes:
    folder: folder of the bundle.
    manifest: content of `detector.json`.
    window: frames per clip, T.
    height: height of a frame in pixels.
    width: width of a frame in pixels.
    step: frames from one whose objects are scored to the next.
    weights: of appearance, motion and speed in the error of an object.
    statistics: of the training objects.
    extra_files: name -> content of each further file that was written with the bundle.
    measuring: the program of `__call__`.
    detecting: the program of `score_clips`; None if boxes are given.
    finds_boxes: whether it finds boxes by itself, see `score_clips`.
    threshold: the score of `score_video` above which a frame is abnormal, chosen from training
      scores.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    manifest: dict[str, Any],
    model: export.Exported,
    weights: Mapping[str, np.ndarray],
    statistics: ObjectStatistics,
    extra_files: Mapping[str, bytes],
    detection: Detection | None = None,
  ) -> None:
    """Copy the weights to the default device; `load_bundle` calls this."""
    geometry = manifest['input']
    calibration = manifest['calibration']
    self.folder = folder
    self.manifest = manifest
    self.window = geometry['window_frames']
    self.height = geometry['height_px']
    self.width = geometry['width_px']
    self.step = calibration['step_frames']
    self.weights = tuple(calibration['weights'][name] for name in MEASUREMENTS)
    self.statistics = statistics
    self.extra_files = extra_files
    self.threshold = calibration['threshold']
    arrays = jax.device_put({name: jnp.asarray(array) for name, array in weights.items()})
    self.measuring = Program(model.call, (arrays,))
    self._model = compiled(model)
    self.finds_boxes = detection is not None
    self.detecting = None
    if detection:
      others = {**statistics.program_arrays(), **detection.arrays}
      self.detecting = Program(detection.model.call, ({**arrays, **jax.device_put(others)},))
      self._detection = compiled(detection.model)

  def arrays(self, name: str) -> dict[str, np.ndarray]:
    """Return the arrays of a further file.

    Args:
      name: of the file, such as `foreground.npz`.

    Raises:
      UserError: if the bundle has no such file.
    """
    if name not in self.extra_files:
      raise UserError(
        f'{self.folder} has no {name}; it has {", ".join(self.extra_files) or "none"}'
      )
    return unpack_arrays(self.extra_files[name], str(self.folder / name))

  def __call__(self, frames: Any, rows: Any, corners: Any) -> jax.Array:
    """Return the measurements of objects, on the device.

    The program is compiled once for each N and B.

    Args:
      frames: uint8 [N, H, W].
      rows: int32 [B, T], frames of each object's clip.
      corners: float32 [B, 4], x1, y1, x2, y2 in pixels.

    Returns:
      float32 [B, 5], see `object_statistics.RAW_MEASUREMENTS`.

    Raises:
      UserError: for another shape or dtype.
    """
    self._check('frames', frames, 'uint8', (None, self.height, self.width), 'N')
    self._check('rows', rows, 'int32', (None, self.window), 'B')
    self._check('corners', corners, 'float32', (len(rows), _CORNERS), 'B')
    if not len(frames) or not len(rows):
      raise UserError('an empty batch: give at least one frame and one object')
    return self._model(*self.measuring.arrays, frames, rows, corners)

  def score_clips(self, frames: Any, rows: Any) -> tuple[jax.Array, ...]:
    """Find the objects of clips and return their errors, on the device.

    The program is compiled once for each N and B. Boxes are found in the frame at position T // 2.

    Args:
      frames: uint8 [N, H, W].
      rows: int32 [B, T], frames of each clip.

    Returns:
      Boxes of K objects per clip, float32 [B, K, 4], in pixels; whether there is such an
      object, bool [B, K]; their errors, float32 [B, K]; the errors of the frames, float32 [B]; and
      the `MEASUREMENTS` of the objects as z-scores, float32 [B, K, 3].

    Raises:
      UserError: for another shape or dtype, or if the bundle does not find boxes.
    """
    if not self.finds_boxes:
      raise UserError(f'{self.folder} does not find boxes itself: give it the boxes of objects')
    self._check('frames', frames, 'uint8', (None, self.height, self.width), 'N')
    self._check('rows', rows, 'int32', (None, self.window), 'B')
    if not len(frames) or not len(rows):
      raise UserError('an empty batch: give at least one frame and one clip')
    return self._detection(*self.detecting.arrays, frames, rows)

  def score_video(self, frames: np.ndarray, boxes: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the score of each frame of a video; higher is more abnormal.

    Scores are computed as in the evaluation of the run, so they may be compared with `threshold`,
    if boxes come from the same detector and are selected as `manifest['boxes']` says.

    Args:
      frames: uint8 [N, H, W], consecutive frames.
      boxes: of the objects, in any order: int [M], the frame of each, and [M, 4], its x1, y1, x2,
        y2 in pixels; x2 and y2 are exclusive. Only those of every `step`-th frame are read.

    Returns:
      float64 [N], in standard deviations of the training errors.

    Raises:
      UserError: for another shape or dtype, for a frame that the video has not, and for corners
        that are not finite or not in order.
    """
    self._check('frames', frames, 'uint8', (None, self.height, self.width), 'N')
    frame, corners = _checked_boxes(boxes, len(frames))
    is_scored = frame % self.step == 0
    frame, corners = frame[is_scored], corners[is_scored]
    measurements = self._measurements(frames, frame, corners)
    zscores = self.statistics.zscores(vertical_edges(corners, self.height), measurements)
    worst = worst_objects(object_errors(zscores, self.weights), frame, len(frames))
    errors = fill_between(worst, self.step)
    calibration = self.manifest['calibration']
    scores = (errors - calibration['mean']) / calibration['std']
    if not len(scores):
      return scores
    return smooth(scores, calibration['smoothing_frames'], calibration['smoothing_mode'])

  def _measurements(self, frames, frame, corners):
    """Return the measurements of the objects of a video, float32 [M, 5]."""
    count = len(frame)
    own_rows = np.arange(_BATCH_SIZE * self.window, dtype=np.int32).reshape(_BATCH_SIZE, -1)
    measured = [np.zeros((0, len(RAW_MEASUREMENTS)), np.float32)]
    for start in range(0, count, _BATCH_SIZE):
      size = min(_BATCH_SIZE, count - start)
      # The last batch is filled with repeated objects, so that there is only one compilation.
      chosen = np.resize(np.arange(start, start + size), _BATCH_SIZE)
      rows = object_rows(frame[chosen], len(frames), window=self.window)
      clips = np.asarray(frames[rows.ravel()])
      measured.append(np.asarray(self(clips, own_rows, corners[chosen]))[:size])
    return np.concatenate(measured)

  def _check(self, name, array, dtype, shape, first):
    """Check the dtype and the shape of an array; None stands for any size."""
    found = getattr(array, 'shape', None)
    is_right = found is not None and str(array.dtype) == dtype and len(found) == len(shape)
    if is_right:
      is_right = all(size in (None, has) for size, has in zip(shape, found, strict=True))
    if not is_right:
      what = type(array).__name__ if found is None else f'{array.dtype} {list(found)}'
      sizes = ', '.join([first, *map(str, shape[1:])] if shape[0] is None else map(str, shape))
      raise UserError(f'{name} are {what}; {self.folder} takes {dtype} [{sizes}]')


def _arguments(model: export.Exported, path: pathlib.Path) -> tuple[Any, Any, Any]:
  """Return the shapes of frames, rows and corners that a program takes."""
  _, frames, rows, corners = arguments_of(model, path, 4)
  return frames, rows, corners


def _check_geometry(path: pathlib.Path, geometry: Mapping[str, Any], model: export.Exported):
  """Check that a program takes the frames and clips that the manifest describes."""
  frames, rows, _ = _arguments(model, path)
  found = [*rows.shape[1:], *frames.shape[1:]]
  expected = [geometry['window_frames'], geometry['height_px'], geometry['width_px']]
  if found != expected:
    raise UserError(f'{path} takes [T, H, W] = {found}, {manifests.NAME} says {expected}')


def _checked_boxes(boxes: Any, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
  """Return frames int32 [M] and corners float32 [M, 4] of boxes.

  Raises:
    UserError: naming the first box that is wrong.
  """
  try:
    frame, corners = (np.asarray(column) for column in boxes)
  except (TypeError, ValueError):
    raise UserError('boxes must be a pair: frames int [M] and corners [M, 4]') from None
  if frame.ndim != 1 or (frame.size and frame.dtype.kind not in 'iu'):
    raise UserError(
      f'the frames of boxes are {frame.dtype} {list(frame.shape)}; they must be int [M]'
    )
  corners = check_corners(corners, len(frame))
  for index in np.flatnonzero((frame < 0) | (frame >= num_frames))[:1]:
    raise UserError(f'box {index} is in frame {frame[index]}; the video has 0 to {num_frames - 1}')
  return frame.astype(np.int32), corners


def check_corners(corners: Any, count: int | None = None) -> np.ndarray:
  """Return corners as float32 [M, 4], after they were checked.

  Args:
    corners: x1, y1, x2, y2 of each box.
    count: how many boxes there must be; None for any number.

  Raises:
    UserError: naming the first box that is wrong.
  """
  try:
    corners = np.asarray(corners)
  except ValueError:
    raise UserError('the corners of boxes must be float [M, 4]') from None
  if not corners.size and not count:
    corners = np.zeros((0, _CORNERS), np.float32)
  wrong_count = count is not None and len(corners) != count
  if (
    corners.ndim != 2
    or corners.shape[1] != _CORNERS
    or wrong_count
    or corners.dtype.kind not in 'iuf'
  ):
    text = f'the corners of boxes are {corners.dtype} {list(corners.shape)}; they must be float '
    if count is None:
      raise UserError(f'{text}[M, {_CORNERS}]')
    raise UserError(f'{text}[{count}, {_CORNERS}], as there are {count} frames of boxes')
  with np.errstate(over='ignore'):
    corners = corners.astype(np.float32)
  for index in np.flatnonzero(~np.isfinite(corners).all(1))[:1]:
    raise UserError(f'box {index} has corners {corners[index].tolist()}, which are not finite')
  for index in np.flatnonzero((corners[:, 2:] <= corners[:, :2]).any(1))[:1]:
    raise UserError(
      f'box {index} has corners {corners[index].tolist()}: x2 > x1 and y2 > y1 must hold'
    )
  return corners
