"""A detector of objects by onnxruntime: an ONNX file with the output of YOLOX.

It runs files whose layers are not those of YOLOX; `objects.yolox_jax` runs the others.
"""

import pathlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from PIL import Image

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.models.yolox import BOX_COLUMNS, STRIDES
from a3dcae_jax.objects.box_program import decoded, grid
from a3dcae_jax.objects.boxes import MIN_SCORE, Found, suppress
from a3dcae_jax.ops.letterbox import PADDING, fitted_size


class Session(Protocol):
  """What is used of `onnxruntime.InferenceSession`."""

  def get_inputs(self) -> list[Any]: ...
  def get_outputs(self) -> list[Any]: ...
  def run(self, names: Any, feed: dict[str, np.ndarray]) -> list[np.ndarray]: ...


class YoloxDetector:
  """Finds objects in single grey frames.

  Args:
    path: the ONNX file; errors name it.
    session: opened already, for tests. By default onnxruntime opens the file, for one core.

  Raises:
    UserError: if onnxruntime is missing, or the file is not a model of YOLOX.
  """

  def __init__(self, path: str | pathlib.Path, session: Session | None = None):
    self._path = pathlib.Path(path)
    self._session = session or _open_session(self._path)
    inputs = self._session.get_inputs()
    outputs = self._session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
      raise self._unlike(f'{len(inputs)} inputs and {len(outputs)} outputs')
    self._name = inputs[0].name
    shape = list(inputs[0].shape)
    if len(shape) != 4 or shape[1] != 3 or not _are_sizes(shape[2:]):
      raise self._unlike(f'an input of shape {shape}')
    self._size = tuple(shape[2:])
    self._places = len(grid(self._size)[0])

  def detect(self, frame: np.ndarray) -> Found:
    """Return the boxes of a grey frame, best first.

    Args:
      frame: uint8 [H, W].
    """
    _, _, ratio = fitted_size(*frame.shape, self._size)
    output = self._session.run(None, {self._name: self._input(frame)})[0]
    shape = np.shape(output)
    if len(shape) != 3 or shape[:2] != (1, self._places) or shape[2] <= BOX_COLUMNS:
      raise self._unlike(f'an output of shape {list(shape)}')
    corners, scores = decoded(output[0], self._size, np)
    corners /= ratio
    score, label = scores.max(1), scores.argmax(1)
    found = np.flatnonzero(score >= MIN_SCORE)
    kept = found[suppress(corners[found], score[found])]
    height, width = frame.shape
    inside = np.clip(corners[kept], 0, [width, height, width, height]).astype(np.float32)
    seen = (inside[:, 2:] > inside[:, :2]).all(1)
    kept = kept[seen]
    return inside[seen], score[kept].astype(np.float32), label[kept].astype(np.int32)

  def detect_frames(self, frames: np.ndarray) -> Iterator[Found]:
    """Yield the boxes of each of many frames, uint8 [N, H, W]."""
    for frame in frames:
      yield self.detect(np.asarray(frame))

  def _input(self, frame: np.ndarray) -> np.ndarray:
    """Return a frame at the size of the model, in the upper left corner, three times."""
    height, width, _ = fitted_size(*frame.shape, self._size)
    resized = Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR)
    image = np.full(self._size, PADDING, np.float32)
    image[:height, :width] = resized
    return np.repeat(image[None, None], 3, axis=1)

  def _unlike(self, found: str) -> UserError:
    return UserError(
      f'{self._path}: the model has {found}; a model of YOLOX is needed, with one input '
      '[1, 3, H, W], H and W multiples of 32, and one output [1, places, 5 + classes]'
    )


def _open_session(path: pathlib.Path) -> Session:
  if not path.is_file():
    raise UserError(f'{path} does not exist: an ONNX file of a detector is needed')
  try:
    import onnxruntime
  except ImportError:
    raise UserError(
      f"{path}: onnxruntime is needed to run it: pip install 'a3dcae_jax[objects]'"
    ) from None
  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = 1  # frames are spread over processes
  options.inter_op_num_threads = 1
  options.log_severity_level = 3
  try:
    return onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
  except Exception as error:  # its classes have no common base but Exception
    first = (str(error).splitlines() or ['unknown fault'])[0]
    raise UserError(f'{path} is not an ONNX model that onnxruntime can open: {first}') from None


def _are_sizes(sizes: list[Any]) -> bool:
  return all(isinstance(size, int) and size > 0 and size % STRIDES[-1] == 0 for size in sizes)
