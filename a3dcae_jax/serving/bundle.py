"""A detector bundle: written and checked as a whole, called on clips or videos.

`object_bundle` describes the bundle of a detector that scores objects. This is one of whole frames:

BUNDLE/
  model.stablehlo        clips uint8 [B, T, H, W] -> errors [B, T], maps [B, T, H, W];
                         `jax.export`, any B, for cpu, cuda and tpu
  model_float.stablehlo  the same for float32 clips in [0, 1]
  weights.npz            the arrays that the program reads, by flat names
  mean_image.npy         float32 [H, W] in [0, 1]
  detector.json          shape of the clips, calibration by training errors, threshold, config,
                         provenance, SHA-256 of each file
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.serving import manifest as manifests
from a3dcae_jax.serving.arrays import pack_array, unpack_array
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
from a3dcae_jax.serving.object_bundle import ObjectBundle, open_object_bundle
from a3dcae_jax.serving.video import cut_windows, video_scores

MODELS = {'uint8': 'model.stablehlo', 'float32': 'model_float.stablehlo'}
MEAN_IMAGE = 'mean_image.npy'
_BATCH_SIZE = 16  # windows of a video per batch
_ROUNDING = 1e-3  # by which float pixels may leave [0, 1], as resizing makes them


def write_bundle(
  folder: pathlib.Path | str,
  *,
  models: Mapping[str, export.Exported],
  weights: Mapping[str, np.ndarray],
  mean_image: np.ndarray,
  window: int,
  stride: int,
  details: Mapping[str, Any],
  extra_files: Mapping[str, bytes] | None = None,
) -> None:
  """Write a bundle of whole frames, see `folder.write_folder`.

  Args:
    folder: folder of the bundle.
    models: dtype of the clips -> program.
    weights: arrays that the programs read.
    mean_image: float32 [H, W].
    window: frames per clip, T.
    stride: distance between two frames of a clip in frames of the video.
    details: further fields of `detector.json`. One of them is `calibration`, which
      `Bundle.score_video` and `Bundle.threshold` read.
    extra_files: name -> content.

  Raises:
    UserError: if `folder` exists and is not a bundle.
  """
  height, width = mean_image.shape
  geometry = {
    'window_frames': window,
    'frame_stride': stride,
    'height_px': height,
    'width_px': width,
    'axes': 'BTHW',
    'channels': 'grey',
    'models': {dtype: MODELS[dtype] for dtype in models},
    'ranges': {'uint8': [0, 255], 'float32': [0, 1]},
  }
  manifest = {
    'kind': manifests.FRAMES,
    'input': geometry,
    'output': {'errors': 'float32 [B, T]', 'maps': 'float32 [B, T, H, W]'},
    **details,
  }
  write_folder(
    folder,
    manifest,
    models={MODELS[dtype]: model for dtype, model in models.items()},
    weights=weights,
    files={**(extra_files or {}), MEAN_IMAGE: pack_array(mean_image)},
  )


def load_bundle(folder: pathlib.Path | str) -> 'Bundle | ObjectBundle':
  """Open a bundle for JAX's default device.

  Returns:
    A `Bundle` of whole frames, or an `ObjectBundle`.

  Raises:
    UserError: if a file is missing or changed, if the format or the version of jax does not fit,
      or if the files disagree on the shape of the clips.
  """
  folder = pathlib.Path(folder)
  manifest = manifests.read_manifest(folder)
  files = manifests.read_files(folder, manifest)
  if manifest['kind'] == manifests.OBJECTS:
    return open_object_bundle(folder, manifest, files)
  return _open_bundle(folder, manifest, files)


def _open_bundle(folder, manifest, files):
  """Return a bundle of whole frames, after its files were compared with each other."""
  geometry = manifest['input']
  manifests.check_listed(folder, files, [WEIGHTS, MEAN_IMAGE, *geometry['models'].values()])
  weights = read_weights(folder, files)
  mean_image_path = folder / MEAN_IMAGE
  mean_image = unpack_array(files[MEAN_IMAGE], str(mean_image_path))
  _check_mean_image(mean_image_path, geometry, mean_image)
  models = {}
  for dtype, name in geometry['models'].items():
    model_path = folder / name
    model = open_program(files[name], model_path)
    _check_clips(model_path, geometry, dtype, model)
    check_weights(folder / WEIGHTS, name, model, weights)
    models[dtype] = model
  own_files = {WEIGHTS, MEAN_IMAGE, *geometry['models'].values()}
  extra_files = {name: content for name, content in files.items() if name not in own_files}
  return Bundle(folder, manifest, models, weights, mean_image, extra_files)


class Bundle:
  """A loaded bundle that scores whole frames.

  Attributes:
    folder: folder of the bundle.
    manifest: content of `detector.json`.
    mean_image: float32 [H, W].
    window: frames per clip, T.
    height: height of a frame in pixels.
    width: width of a frame in pixels.
    stride: distance between two frames of a clip in frames of the video.
    extra_files: name -> content of each further file that was written with the bundle.
    scoring: the program of `__call__` for uint8 clips.
    threshold: the score of `score_video` above which a frame is abnormal, chosen from training
      scores.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    manifest: dict[str, Any],
    models: Mapping[str, export.Exported],
    weights: Mapping[str, np.ndarray],
    mean_image: np.ndarray,
    extra_files: Mapping[str, bytes],
  ) -> None:
    """Copy the weights to the default device; `load_bundle` calls this."""
    geometry = manifest['input']
    self.folder = folder
    self.manifest = manifest
    self.mean_image = mean_image
    self.extra_files = extra_files
    self.window = geometry['window_frames']
    self.height = geometry['height_px']
    self.width = geometry['width_px']
    self.stride = geometry['frame_stride']
    self.threshold = manifest['calibration']['threshold']
    arrays = {name: jnp.asarray(array) for name, array in weights.items()}
    self._constants = jax.device_put((arrays, jnp.asarray(mean_image)))
    self.scoring = Program(models['uint8'].call, self._constants)
    self._models = {dtype: compiled(model) for dtype, model in models.items()}

  def __call__(self, clips: np.ndarray | jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return errors and error maps of clips, on the device.

    The program is compiled once for each B and dtype.

    Args:
      clips: uint8 [B, T, H, W], or float32 in [0, 1]; at least one clip. The values of arrays on
        the device are not checked, since that would wait for them.

    Returns:
      Errors [B, T] and maps [B, T, H, W].

    Raises:
      UserError: for another shape, dtype or range.
    """
    self._check('clips', clips, (self.window, self.height, self.width))
    if not len(clips):
      raise UserError('clips are an empty batch: give at least one clip')
    if isinstance(clips, np.ndarray):
      _check_range('clips', clips)
    return self._call(clips)

  def score_video(self, frames: np.ndarray) -> np.ndarray:
    """Return the score of each frame of a video; higher is more abnormal.

    Scores are computed as in the evaluation of the run, so they may be compared with `threshold`:
    the video is cut into the same windows, errors are averaged where windows overlap, calibrated
    and smoothed.

    Args:
      frames: uint8 [N, H, W], or float32 in [0, 1]; consecutive frames.

    Returns:
      float64 [N], in standard deviations of the training errors.

    Raises:
      UserError: for another shape, dtype or range, or a video that is shorter than a window.
    """
    self._check('frames of a video', frames, (self.height, self.width))
    _check_range('frames of a video', frames)
    calibration = self.manifest['calibration']
    rows, keep = cut_windows(
      len(frames), window=self.window, step=calibration['step_frames'], stride=self.stride
    )
    errors = []
    for start in range(0, len(rows), _BATCH_SIZE):
      batch = rows[start : start + _BATCH_SIZE]
      # The last batch is filled with repeated windows, so that there is only one compilation.
      full_batch = np.resize(batch, (_BATCH_SIZE, self.window))
      batch_errors, _ = self._call(frames[full_batch])
      errors.append(np.asarray(batch_errors)[: len(batch)])
    return video_scores(np.concatenate(errors), rows, keep, calibration)

  def _call(self, clips: np.ndarray | jax.Array) -> tuple[jax.Array, jax.Array]:
    return self._models[str(clips.dtype)](*self._constants, clips)

  def _check(self, name: str, images: Any, sizes: tuple[int, ...]) -> None:
    """Check the dtype of images and their shape behind the first axis."""
    is_array = isinstance(images, (np.ndarray, jax.Array))
    given = type(images).__name__
    if is_array:
      given = f'{images.dtype} {list(images.shape)}'
      if str(images.dtype) in self._models and images.ndim and images.shape[1:] == sizes:
        return
    dtypes = ' or '.join(self._models)
    shape = ', '.join(map(str, sizes))
    number = 'B' if len(sizes) == 3 else 'N'
    raise UserError(
      f'{name} are {given}; {self.folder} takes a NumPy array {dtypes} [{number}, {shape}]'
    )


def _check_range(name: str, images: np.ndarray | jax.Array) -> None:
  """Check that float images are pixels in [0, 1], up to rounding."""
  if images.dtype != np.float32 or not images.size:
    return
  low, high = float(images.min()), float(images.max())
  if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # NaN compares as false
    raise UserError(
      f'float32 {name} must be pixels in [0, 1]; these lie between {low:.6g} and {high:.6g}: '
      'divide pixels of 0 to 255 by 255, or give them as uint8'
    )


def _check_mean_image(
  path: pathlib.Path, geometry: Mapping[str, Any], mean_image: np.ndarray
) -> None:
  shape = (geometry['height_px'], geometry['width_px'])
  if mean_image.shape != shape or mean_image.dtype != np.float32:
    raise UserError(
      f'{path} is {mean_image.dtype} {list(mean_image.shape)}, {manifests.NAME} says float32 '
      f'{list(shape)}'
    )


def _check_clips(
  path: pathlib.Path, geometry: Mapping[str, Any], dtype: str, model: export.Exported
) -> None:
  """Check that a program takes the clips that the manifest describes."""
  _, _, clips = arguments_of(model, path, 3)
  sizes = list(clips.shape[1:])
  expected = [geometry['window_frames'], geometry['height_px'], geometry['width_px']]
  if sizes != expected or str(clips.dtype) != dtype:
    said = ', '.join(map(str, expected))
    raise UserError(
      f'{path} takes clips {clips.dtype} {list(clips.shape)}, '
      f'{manifests.NAME} says {dtype} [B, {said}]'
    )
