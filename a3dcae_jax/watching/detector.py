"""Parts of a bundle that `detect` needs: mean images, frame rate, errors, boxes."""

import pathlib
import types
from typing import Protocol

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import file_hash
from a3dcae_jax.objects.boxes import select_boxes
from a3dcae_jax.objects.detectors import Yolox, found_boxes, moving_boxes, open_yolox
from a3dcae_jax.objects.foreground import ForegroundModel
from a3dcae_jax.serving.arrays import unpack_array, unpack_arrays
from a3dcae_jax.serving.bundle import Bundle
from a3dcae_jax.serving.object_bundle import ObjectBundle

_FRAMES_PER_S = 25.0


class BoxStream(Protocol):
  """Finds the boxes of the frames of one source, one after another.

  Attributes:
    needs_all_frames: whether it must see frames, too, whose objects are not scored.
  """

  needs_all_frames: bool

  def detect(self, frame: np.ndarray) -> np.ndarray:
    """Return the boxes of a frame of the bundle's size, float32 [M, 4]."""
    ...


class BoxFinder:
  """Finds boxes with the detector and the settings of the run.

  Args:
    bundle: of objects.
    detector: file of the detector; '' if the bundle needs none.

  Raises:
    UserError: if the detector is missing or another one than that of the run.
  """

  def __init__(self, bundle: ObjectBundle, detector: str) -> None:
    named = bundle.manifest['boxes']['detector']
    self._options = types.SimpleNamespace(**bundle.manifest['boxes'])
    self._foreground = None
    self._yolox = None
    if named['kind'] == 'foreground':
      _refuse_detector(detector, f'{bundle.folder} finds boxes itself, by its foreground')
      self._foreground = ForegroundModel.from_arrays(bundle.arrays('foreground.npz'))
    elif named['kind'] == 'yolox':
      self._yolox = open_yolox(_checked_file(bundle, named, detector))
    else:
      raise UserError(
        f'{bundle.folder} takes boxes from {named["name"]}, which has no boxes of other videos: '
        'train with objects.detector=foreground, or with an .onnx file'
      )

  def stream(self) -> BoxStream:
    """Return a finder for one source."""
    if self._foreground:
      return _ForegroundBoxes(self._foreground, self._options)
    return _YoloxBoxes(self._yolox, self._options)


class _ForegroundBoxes:
  needs_all_frames = True  # its background follows the video

  def __init__(self, model: ForegroundModel, options: types.SimpleNamespace) -> None:
    self._stream = model.stream()
    self._options = options

  def detect(self, frame: np.ndarray) -> np.ndarray:
    return select_boxes(moving_boxes(self._stream, frame), self._options).corners


class _YoloxBoxes:
  needs_all_frames = False

  def __init__(self, detector: Yolox, options: types.SimpleNamespace) -> None:
    self._detector = detector
    self._options = options

  def detect(self, frame: np.ndarray) -> np.ndarray:
    return select_boxes(found_boxes(self._detector.detect(frame)), self._options).corners


def make_box_finder(bundle: Bundle | ObjectBundle, detector: str) -> BoxFinder | None:
  """Return the finder of boxes for a bundle; None for one that needs no boxes.

  Raises:
    UserError: see `BoxFinder`, or if a bundle that needs no boxes is given a detector.
  """
  if isinstance(bundle, ObjectBundle):
    if bundle.finds_boxes:
      _refuse_detector(detector, f'{bundle.folder} finds boxes itself')
      return None
    return BoxFinder(bundle, detector)
  _refuse_detector(detector, f'{bundle.folder} scores whole frames')
  return None


def mean_images(bundle: Bundle | ObjectBundle) -> np.ndarray | None:
  """Return the mean images of the training frames; None if there are none.

  They are float [S, H, W] in [0, 1].
  """
  files = bundle.extra_files
  if isinstance(bundle, ObjectBundle):
    if 'inputs.npz' not in files:
      return None
    return unpack_arrays(files['inputs.npz'], 'inputs.npz').get('frame_means')
  if 'frame_mean.npy' in files:  # of a run on flow, whose mean image is one of flow
    return unpack_array(files['frame_mean.npy'], 'frame_mean.npy')[None]
  return bundle.mean_image[None]


def frames_per_s(bundle: Bundle | ObjectBundle) -> float:
  """Return the frame rate of the training videos."""
  return bundle.manifest.get('events', {}).get('frames_per_s', _FRAMES_PER_S)


def error_scale(bundle: Bundle | ObjectBundle) -> tuple[float, float]:
  """Return mean and deviation of the training errors, by which heat is coloured."""
  calibration = bundle.manifest['calibration']
  return calibration['mean'], calibration['std']


def _refuse_detector(detector: str, reason: str) -> None:
  if detector:
    raise UserError(f'--detector={detector} is not needed: {reason}')


def _checked_file(bundle, named, detector):
  """Return the detector's file, after a check that the run used the same."""
  if not detector:
    raise UserError(
      f'--detector is missing: {bundle.folder} takes boxes from {named["name"]} '
      f'(SHA-256 {named["sha256"][:12]}); name that file'
    )
  path = pathlib.Path(detector).expanduser()
  if not path.is_file():
    raise UserError(f'--detector={detector}: there is no such file')
  found = file_hash(path)
  if found != named['sha256']:
    raise UserError(
      f'--detector={detector} has SHA-256 {found[:12]}, but {bundle.folder} was made with '
      f'{named["name"]}, SHA-256 {named["sha256"][:12]}: name that file'
    )
  return path
