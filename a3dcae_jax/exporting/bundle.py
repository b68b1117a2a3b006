"""Make a detector bundle from a scorer, and check it against the scorer."""

import json
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import export

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import fields
from a3dcae_jax.evaluation.calibration import Calibration, InputStatistics
from a3dcae_jax.evaluation.program import scoring_program
from a3dcae_jax.evaluation.scorer import CheckpointScorer
from a3dcae_jax.exporting.stream_threshold import stream_fields
from a3dcae_jax.serving.arrays import pack_array, unpack_array
from a3dcae_jax.serving.artefact import DTYPES, export_program
from a3dcae_jax.serving.bundle import Bundle, write_bundle

CALIBRATION = 'calibration.json'
FRAME_MEAN = 'frame_mean.npy'  # only in bundles of runs on flow, for the baselines on frames
_CHECKED_CLIPS = 8
TOLERANCE = 0.02  # largest relative difference from the checkpoint


class BundleSource(NamedTuple):
  """The content of a bundle.

  Attributes:
    scorer: scorer of the checkpoint, with its motion statistics if it needs any.
    calibration: calibration of the scorer.
    inputs: input statistics of the run, with one mean image.
    events: the config's `events`.
    details: further fields of `detector.json`, namely data, config and provenance.
  """

  scorer: CheckpointScorer
  calibration: Calibration
  inputs: InputStatistics
  events: fields.Events
  details: dict[str, Any]


def export_bundle(folder: str | pathlib.Path, source: BundleSource, *, onnx: bool = False) -> None:
  """Write a bundle, whole or not at all.

  Args:
    folder: folder of the bundle. An older bundle is replaced; any other folder is refused.
    source: content of the bundle.
    onnx: whether to add `model.onnx`.

  Raises:
    UserError: for a run with several mean images, or if packages for ONNX are missing.
    RuntimeError: if the written program disagrees with the checkpoint.
  """
  scorer = source.scorer
  calibration = source.calibration
  inputs = source.inputs
  recipe = scorer.recipe
  mean_image = one_mean_image(inputs)
  models = {dtype: _export(scorer, mean_image, dtype) for dtype in DTYPES}
  clips = sample_clips(inputs.frame_means[0], scorer.window)
  details = {
    'calibration': calibration.bundle_fields(recipe.eval, source.events),
    'stream': stream_fields(
      calibration.errors(recipe.eval.per_position), recipe.eval, source.events
    ),
    'error': {'kind': recipe.eval.error, 'network_weight': recipe.eval.network_weight},
    'row_scale': list(inputs.row_scale),
    **source.details,
    'check': check_program(scorer, models['uint8'], mean_image, clips),
  }
  extra_files = {CALIBRATION: json.dumps(calibration.to_json(), allow_nan=False).encode()}
  if not np.array_equal(inputs.frame_means, inputs.input_means):
    extra_files[FRAME_MEAN] = pack_array(inputs.frame_means[0])
  if onnx:
    from a3dcae_jax.exporting.onnx_model import convert_and_check

    extra_files['model.onnx'], details['onnx'] = convert_and_check(
      recipe, scorer.weights, mean_image, clips
    )
  write_bundle(
    folder,
    models=models,
    weights=scorer.weights,
    mean_image=mean_image,
    window=scorer.window,
    stride=calibration.stride,
    details=details,
    extra_files=extra_files,
  )


def bundle_calibration(bundle: Bundle) -> Calibration:
  """Return the calibration in a bundle."""
  return Calibration.from_json(json.loads(bundle.extra_files[CALIBRATION]))


def bundle_inputs(bundle: Bundle) -> InputStatistics:
  """Return the mean images and the perspective in a bundle."""
  input_mean = np.asarray(bundle.mean_image)[None]
  frame_mean = input_mean
  if FRAME_MEAN in bundle.extra_files:
    frame_mean = unpack_array(bundle.extra_files[FRAME_MEAN], FRAME_MEAN)[None]
  top, bottom = bundle.manifest['row_scale']
  return InputStatistics(('set',), frame_mean, input_mean, (top, bottom))


def one_mean_image(inputs: InputStatistics) -> np.ndarray:
  """Return the single mean image of a run, float32 [H, W].

  Raises:
    UserError: if it has several.
  """
  if len(inputs.input_means) > 1:
    raise UserError(
      f'a bundle has one mean image, this run has {len(inputs.input_means)} '
      '(data.mean_image): train with data.mean_image=set to export it'
    )
  return inputs.input_means[0]


def sample_clips(frame_mean: np.ndarray, window: int) -> np.ndarray:
  """Return clips for the comparison of programs: the mean image with noise.

  Returns:
    uint8 [B, T, H, W].
  """
  rng = np.random.default_rng(0)
  shape = (_CHECKED_CLIPS, window, *frame_mean.shape)
  noise = rng.normal(0, 20, shape)
  clips = np.clip(255 * frame_mean + noise, 0, 255)
  return clips.astype(np.uint8)


def check_program(
  scorer: CheckpointScorer, model: export.Exported, mean_image: np.ndarray, clips: np.ndarray
) -> dict[str, Any]:
  """Compare a program, read back from its bytes, with the checkpoint.

  Returns:
    The number of clips, the platform, and the largest difference of errors and maps.

  Raises:
    RuntimeError: if they disagree.
  """
  read = jax.jit(export.deserialize(model.serialize()).call)
  errors, maps = jax.device_get(read(scorer.weights, mean_image, clips))
  ids = np.zeros(len(clips), np.int32)
  expected, expected_maps = jax.device_get(scorer.errors(clips, ids))
  if not np.allclose(errors, expected, rtol=TOLERANCE):
    raise RuntimeError(
      f'the exported program disagrees with the checkpoint: errors {errors.ravel()[:4]}, '
      f'not {expected.ravel()[:4]}'
    )
  difference = max(np.abs(errors - expected).max(), np.abs(maps - expected_maps).max())
  return {
    'clips': len(clips),
    'platform': jax.default_backend(),
    'max_difference': float(difference),
  }


def _export(scorer, mean_image, dtype):
  return export_program(
    scoring_program(scorer.recipe, 'cpu'),
    scoring_program(scorer.recipe, 'accelerator'),
    scorer.weights,
    mean_image,
    window=scorer.window,
    dtype=dtype,
  )
