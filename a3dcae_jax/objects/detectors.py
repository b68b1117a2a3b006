"""Detectors by name: the foreground, known models, and files of the user."""

import dataclasses
import hashlib
import importlib.util
import pathlib
import urllib.error
import urllib.request
from typing import Any, Protocol

import numpy as np
import tqdm

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_write
from a3dcae_jax.data.frame_cache import CachedVideo, Split, file_hash
from a3dcae_jax.objects.boxes import MOVING_LABEL, Boxes, Found, join_boxes, make_boxes
from a3dcae_jax.objects.foreground import (
  VERSION,
  ForegroundModel,
  ForegroundParameters,
  ForegroundStream,
)
from a3dcae_jax.objects.yolox import YoloxDetector
from a3dcae_jax.objects.yolox_file import OtherNetwork
from a3dcae_jax.objects.yolox_jax import JaxYolox

Yolox = JaxYolox | YoloxDetector

MODEL_DIR = 'data/models'
KNOWN = ('yolox_nano', 'yolox_tiny', 'yolox_s')
_RELEASE = 'https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0'
_SHA256: dict[str, str] = {}  # of known models; the release does not publish any
_CHOICES = f'foreground, {", ".join(KNOWN)}, a file ending in .onnx, or a file ending in .csv'
_BLOCK_BYTES = 2**20
_TIMEOUT_S = 60


@dataclasses.dataclass(frozen=True)
class Detector:
  """What finds the boxes; small enough to be sent to other processes.

  Attributes:
    name: 'foreground', a known name, or the name of the file.
    kind: 'foreground', 'yolox' or 'csv'.
    path: the file; None for the foreground.
    sha256: of the file; '' for the foreground.
    parameters: of the foreground.
  """

  name: str
  kind: str
  path: pathlib.Path | None = None
  sha256: str = ''
  parameters: ForegroundParameters = ForegroundParameters()

  @property
  def identity(self) -> dict[str, Any]:
    """Everything that the boxes depend on beside the frames, for JSON."""
    if self.kind == 'foreground':
      parameters = dataclasses.asdict(self.parameters)
      return {'name': self.name, 'version': VERSION, 'parameters': parameters}
    return {'name': self.name, 'kind': self.kind, 'sha256': self.sha256}


class VideoDetector(Protocol):
  """Finds the boxes of one video after the other.

  Attributes:
    uses_all_cores: whether it computes on all cores by itself, so that more processes gain nothing.
  """

  uses_all_cores: bool

  def detect_video(self, split: Split, video: CachedVideo) -> Boxes:
    """Return the boxes of a video; frames count from its start."""
    ...


class ForegroundVideos:
  """Boxes of what moves.

  Args:
    model: fitted to the training videos.
  """

  uses_all_cores = False

  def __init__(self, model: ForegroundModel):
    self._model = model

  def detect_video(self, split: Split, video: CachedVideo) -> Boxes:
    """Return the boxes of a video, all with score 1."""
    stream = self._model.stream(video.scene)
    parts = []
    for index in range(video.num_frames):
      parts.append(moving_boxes(stream, np.asarray(split.frames[video.first + index]), index))
    return join_boxes(parts)


class YoloxVideos:
  """Boxes of a model of YOLOX.

  Args:
    detector: opened.
  """

  def __init__(self, detector: Yolox):
    self._detector = detector
    self.uses_all_cores = isinstance(detector, JaxYolox)

  def detect_video(self, split: Split, video: CachedVideo) -> Boxes:
    """Return the boxes of a video."""
    frames = split.frames[video.first : video.first + video.num_frames]
    found = self._detector.detect_frames(frames)
    return join_boxes([found_boxes(each, index) for index, each in enumerate(found)])


def moving_boxes(stream: ForegroundStream, frame: np.ndarray, index: int = 0) -> Boxes:
  """Return the boxes of what moves in the next frame of a video, all with score 1.

  Args:
    stream: of the video.
    frame: uint8 [H, W].
    index: number of the frame.
  """
  corners = stream.detect(frame)
  count = len(corners)
  labels = np.full(count, MOVING_LABEL)
  return make_boxes(np.full(count, index), corners, np.ones(count), labels)


def found_boxes(found: Found, index: int = 0) -> Boxes:
  """Return what was found in a frame as boxes.

  Args:
    found: by a model of YOLOX.
    index: number of the frame.
  """
  return make_boxes(np.full(len(found[0]), index), *found)


def open_yolox(path: str | pathlib.Path) -> Yolox:
  """Open an ONNX file with the output of YOLOX.

  JAX runs the published models. onnxruntime runs files whose layers are others.

  Raises:
    UserError: if the file is damaged or has another output, or if it needs onnxruntime, which is
      missing.
  """
  try:
    return JaxYolox(path)
  except OtherNetwork:
    if importlib.util.find_spec('onnxruntime') is None:
      raise
  return YoloxDetector(path)


def make_detector(
  name: str, *, folder: str | pathlib.Path = MODEL_DIR, download: bool = False
) -> Detector:
  """Return the detector of a name or a file.

  Args:
    name: 'foreground', a known name, or a path ending in .onnx or .csv.
    folder: where known models are kept.
    download: whether a known model that is absent is downloaded.

  Raises:
    UserError: if the name is unknown, or the file does not exist or cannot be downloaded.
  """
  if name == 'foreground':
    return Detector('foreground', 'foreground')
  if name in KNOWN:
    path = model_path(name, folder)
    if not path.exists():
      if not download:
        raise UserError(
          f'objects.detector {name!r}: {path} does not exist; `prepare --download` fetches it from '
          f'{address(name)}'
        )
      fetch_model(name, folder)
    return _from_file(name, 'yolox', path)
  path = pathlib.Path(name)
  if path.suffix not in ('.onnx', '.csv'):
    raise UserError(f'objects.detector {name!r} is unknown; it must be {_CHOICES}')
  if not path.is_file():
    raise UserError(f'objects.detector {name!r}: there is no such file; it must be {_CHOICES}')
  return _from_file(path.name, 'yolox' if path.suffix == '.onnx' else 'csv', path)


def check_detector(name: str) -> None:
  """Check that a detector can be used, before anything long starts.

  Raises:
    UserError: as in `make_detector`, and if a model cannot be opened.
  """
  detector = make_detector(name)
  if detector.kind == 'yolox':
    open_yolox(detector.path)


def model_path(name: str, folder: str | pathlib.Path = MODEL_DIR) -> pathlib.Path:
  """Return where a known model is kept."""
  return pathlib.Path(folder) / f'{name}.onnx'


def address(name: str) -> str:
  """Return the published address of a known model."""
  return f'{_RELEASE}/{name}.onnx'


def fetch_model(
  name: str, folder: str | pathlib.Path = MODEL_DIR, *, url: str = '', sha256: str = ''
) -> str:
  """Download a known model, whole or not at all.

  Args:
    name: its name.
    folder: where known models are kept.
    url: its address, by default the published one.
    sha256: what it must have; by default what is known of it. If nothing is, the one that was found
      is printed.

  Returns:
    The SHA-256 of the file.

  Raises:
    UserError: if the download fails, or the file is not the expected one.
  """
  url = url or address(name)
  expected = sha256 or _SHA256.get(name, '')
  digest = hashlib.sha256()
  path = model_path(name, folder)
  try:
    source = urllib.request.urlopen(url, timeout=_TIMEOUT_S)
    with source, atomic_write(path, 'wb') as target, _progress(name) as bar:
      while block := source.read(_BLOCK_BYTES):
        target.write(block)
        digest.update(block)
        bar.update(len(block))
      found = digest.hexdigest()
      if expected and found != expected:
        raise UserError(f'{url}: got SHA-256 {found}, known is {expected}; nothing was kept')
  except (urllib.error.URLError, OSError) as error:
    raise UserError(f'{url} cannot be fetched: {getattr(error, "reason", error)}') from None
  if not expected:
    print(f'{path}: SHA-256 {found} (none is published to compare it with)')
  return found


def _from_file(name: str, kind: str, path: pathlib.Path) -> Detector:
  return Detector(name, kind, path.resolve(), file_hash(path))


def _progress(name: str) -> tqdm.tqdm:
  return tqdm.tqdm(desc=f'fetch {name}', unit='B', unit_scale=True, dynamic_ncols=True)
