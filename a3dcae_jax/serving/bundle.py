"""A detector bundle: written whole, checked whole, called on clips.

BUNDLE/
  model.stablehlo          clips uint8 [B, T, H, W] -> errors [B, T], maps [B, T, H, W]; `jax.export`, B open, cpu + cuda + tpu
  model_float.stablehlo    the same for float32 clips in [0, 1]
  weights.npz              the network's weights, and whatever else the program reads, flat names
  mean_image.npy           float32 [H, W] in [0, 1]
  detector.json            geometry, training-error statistics, threshold, config, provenance, SHA-256 of every file
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_dir, write_json
from a3dcae_jax.serving import manifest as manifests
from a3dcae_jax.serving.arrays import pack_array, pack_arrays, unpack_array, unpack_arrays

MODELS = {'uint8': 'model.stablehlo', 'float32': 'model_float.stablehlo'}
WEIGHTS, MEAN_IMAGE = 'weights.npz', 'mean_image.npy'


def write_bundle(
  folder, *, models, weights, mean_image, window, details, stride=1, extra_files=None
):
  """Writes a bundle, whole or not at all; an older bundle in its place is replaced, anything else is not touched.

  Args:
    folder: of the bundle. models: dtype of the clips -> `jax.export.Exported`. weights: dict of arrays. mean_image: [H, W]. window: T.
    stride: between the frames of a clip, in frames of the footage.
    details: further fields of `detector.json`; `calibration` is what `Bundle.scores` and `.threshold` read. extra_files: name -> bytes.

  Raises: UserError if `folder` exists and is no bundle.
  """
  check_replaceable(folder)
  files = {MODELS[dtype]: bytes(model.serialize()) for dtype, model in models.items()}
  files |= {
    WEIGHTS: pack_arrays(weights),
    MEAN_IMAGE: pack_array(mean_image),
    **(extra_files or {}),
  }
  height, width = mean_image.shape
  one = next(iter(models.values()))
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
  loads = {
    'jax_at_least': jax.__version__,
    'calling_convention_version': one.calling_convention_version,
    'platforms': list(one.platforms),
    'promise': manifests.PROMISE,
  }
  sealed = manifests.seal(
    {
      'input': geometry,
      'output': {'errors': 'float32 [B, T]', 'maps': 'float32 [B, T, H, W]'},
      **details,
      'loads_with': loads,
    },
    files,
  )
  with atomic_dir(folder) as temporary:
    for name, content in files.items():
      (temporary / name).write_bytes(content)
    write_json(temporary / manifests.NAME, sealed)


def check_replaceable(folder):
  """Raises a `UserError` if `folder` is something else than a bundle, an empty folder, or nothing yet."""
  folder = pathlib.Path(folder)
  if (
    folder.exists()
    and not (folder / manifests.NAME).exists()
    and (not folder.is_dir() or any(folder.iterdir()))
  ):
    raise UserError(
      f'--bundle={folder} exists and is no bundle; it would be overwritten: name another folder'
    )


def load_bundle(folder):
  """Opens a bundle for JAX's default device.

  Raises: UserError, one line, if a file is missing or changed, the format or the version of jax does not fit, or the files
    do not agree on the shape of the clips.
  """
  manifest = manifests.read_manifest(folder)
  files = manifests.read_files(folder, manifest)
  models = {
    dtype: _open_model(files[name], pathlib.Path(folder) / name)
    for dtype, name in manifest['input']['models'].items()
  }
  weights = unpack_arrays(files[WEIGHTS], f'{folder}/{WEIGHTS}')
  mean_image = unpack_array(files[MEAN_IMAGE], f'{folder}/{MEAN_IMAGE}')
  _check_geometry(folder, manifest['input'], models, weights, mean_image)
  return Bundle(folder, manifest, models, weights, mean_image)


class Bundle:
  """A loaded bundle: `bundle(clips) -> (errors [B, T], maps [B, T, H, W])`, compiled once for each B and dtype.

  Attributes:
    manifest: `detector.json` as a dict. window, height, width: of the clips. stride: between a clip's frames, in frames of the footage.
    threshold: the score above which training frames all but never are, chosen without test labels; None if none was calibrated.
  """

  def __init__(self, folder, manifest, models, weights, mean_image):
    self.folder, self.manifest, self.mean_image = pathlib.Path(folder), manifest, mean_image
    geometry = manifest['input']
    self.stride = geometry.get(
      'frame_stride', 1
    )  # a bundle from before the field has windows of consecutive frames
    self.window, self.height, self.width = (
      geometry[field] for field in ('window_frames', 'height_px', 'width_px')
    )
    self._calibration = manifest.get('calibration') or {}
    self.threshold = self._calibration.get('threshold')
    self._arguments = jax.device_put(
      ({name: jnp.asarray(array) for name, array in weights.items()}, jnp.asarray(mean_image))
    )
    # Channels last, as tensor cores read them: XLA otherwise turns 3D convolutions to channels first for cuDNN, and their maps with them.
    options = {'xla_gpu_force_conv_nhwc': True} if jax.default_backend() == 'gpu' else None
    self._models = {
      dtype: jax.jit(model.call, compiler_options=options) for dtype, model in models.items()
    }

  def __call__(self, clips):
    """uint8 [B, T, H, W], or float32 in [0, 1] -> (errors [B, T], maps [B, T, H, W]) on the device. A `UserError` for other shapes and types."""
    dtype = str(clips.dtype)
    if (
      dtype not in self._models
      or clips.ndim != 4
      or clips.shape[1:] != (self.window, self.height, self.width)
    ):
      raise UserError(
        f'clips are {dtype} {list(clips.shape)}; {self.folder} takes {" or ".join(self._models)} '
        f'[B, {self.window}, {self.height}, {self.width}]'
      )
    if dtype == 'float32' and isinstance(clips, np.ndarray) and clips.max(initial=0) > 1.01:
      raise UserError(
        f'float32 clips are pixels in [0, 1], the largest of these is {clips.max():.6g}'
      )
    return self._models[dtype](*self._arguments, clips)

  def scores(self, errors):
    """Errors [..., T] as z-scores by training errors, higher = more abnormal: (e - mean) / std, by place in the window where the run says so."""
    if not self._calibration:
      raise UserError(f'{self.folder}: no calibration in it, so no scores')
    errors = np.asarray(errors, np.float64)
    if self._calibration['divide_by_position']:
      errors = errors / np.asarray(self._calibration['position_mean'])
    return (errors - self._calibration['mean']) / self._calibration['std']


def _open_model(content, path):
  try:
    return export.deserialize(bytearray(content))
  except Exception as error:  # flatbuffers and jax raise what they happen to trip over
    raise UserError(
      f'{path} is no jax.export artefact that jax {jax.__version__} reads: {str(error).splitlines()[0] if str(error) else error!r}'
    ) from None


def _check_geometry(folder, geometry, models, weights, mean_image):
  shape = (geometry['height_px'], geometry['width_px'])
  if mean_image.shape != shape:
    raise UserError(
      f'{folder}/{MEAN_IMAGE} is {list(mean_image.shape)}, {manifests.NAME} says {list(shape)}'
    )
  for dtype, model in models.items():
    (avals, _), path = (
      jax.tree.unflatten(model.in_tree, model.in_avals),
      f'{folder}/{geometry["models"][dtype]}',
    )
    taken, clips = avals[0], avals[2]
    if tuple(clips.shape[1:]) != (geometry['window_frames'], *shape) or str(clips.dtype) != dtype:
      raise UserError(
        f'{path} takes clips {clips.dtype} {list(clips.shape)}, {manifests.NAME} says {dtype} [B, {geometry["window_frames"]}, '
        f'{shape[0]}, {shape[1]}]'
      )
    wrong = sorted(
      name
      for name in taken.keys() | weights.keys()
      if name not in taken
      or name not in weights
      or (taken[name].shape, taken[name].dtype) != (weights[name].shape, weights[name].dtype)
    )
    if wrong:
      raise UserError(
        f'{folder}/{WEIGHTS}: {wrong[0]} does not fit what {geometry["models"][dtype]} takes ({len(wrong)} arrays in all)'
      )
