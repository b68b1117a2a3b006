"""Make the bundle of a run on objects, and check it against the checkpoint."""

import hashlib
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import export

from a3dcae_jax.config import fields
from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.evaluation.calibration import INPUTS, InputStatistics
from a3dcae_jax.evaluation.detected_program import (
  DetectedRecipe,
  detected_program,
  detector_arrays,
)
from a3dcae_jax.evaluation.object_calibration import OBJECTS, ObjectCalibration
from a3dcae_jax.evaluation.object_scorer import ObjectCheckpointScorer, object_program
from a3dcae_jax.exporting.bundle import TOLERANCE, sample_clips
from a3dcae_jax.exporting.detection_check import SampleClips, check_detection_program
from a3dcae_jax.exporting.stream_threshold import stream_fields
from a3dcae_jax.objects.box_cache import foreground_model
from a3dcae_jax.objects.detectors import Detector
from a3dcae_jax.objects.yolox_file import OtherNetwork, YoloxModel, read_yolox
from a3dcae_jax.serving.arrays import pack_arrays
from a3dcae_jax.serving.artefact import export_detected_program, export_object_program
from a3dcae_jax.serving.object_bundle import Detection, ObjectBundle, write_object_bundle
from a3dcae_jax.serving.object_statistics import ObjectStatistics

FOREGROUND = 'foreground.npz'
"""The model of the foreground, where it finds the boxes."""


class ObjectBundleSource(NamedTuple):
  """The content of a bundle that scores objects.

  Attributes:
    scorer: scorer of the checkpoint.
    calibration: calibration of the scorer.
    inputs: mean images of the run, for the baselines.
    settings: settings of the run.
    detector: what found the boxes, see `describe_detector`.
    model: of the detector, if the bundle can run it; otherwise None.
    detector_files: name -> content of the files of the detector.
    details: further fields of `detector.json`, namely data, config and provenance.
    clips: of training videos, on which the program that finds objects is checked; None if `model`
      is.
  """

  scorer: ObjectCheckpointScorer
  calibration: ObjectCalibration
  inputs: InputStatistics
  settings: fields.Config
  detector: dict[str, Any]
  model: YoloxModel | None
  detector_files: dict[str, bytes]
  details: dict[str, Any]
  clips: SampleClips | None = None


def export_object_bundle(
  folder: str | pathlib.Path, source: ObjectBundleSource, *, onnx: bool = False
) -> None:
  """Write a bundle that scores objects, whole or not at all.

  Args:
    folder: folder of the bundle. An older bundle is replaced; any other folder is refused.
    source: content of the bundle.
    onnx: whether to add `model.onnx`.

  Raises:
    UserError: if packages for ONNX are missing.
    RuntimeError: if a written program disagrees with the checkpoint.
  """
  scorer = source.scorer
  settings = source.settings
  options = settings.objects
  model = export_object_program(
    object_program(scorer.recipe, 'cpu'),
    object_program(scorer.recipe, 'accelerator'),
    scorer.weights,
    **_sizes(source),
  )
  statistics = source.calibration.statistics()
  objects = sample_objects(source.inputs.frame_means[0], scorer.window)
  check = check_object_program(scorer, model, objects)
  detection = None
  if source.model is not None:
    detection, check['detection'] = _export_detection(source, statistics)
  details = {
    'calibration': source.calibration.bundle_fields(settings.eval, settings.events),
    'stream': stream_fields(
      source.calibration.errors(settings.eval.object_weights), settings.eval, settings.events
    ),
    'boxes': {
      'detector': source.detector,
      'min_score': options.min_score,
      'classes': list(options.classes),
      'min_size_px': options.min_size_px,
      'max_per_frame': options.max_per_frame,
    },
    **source.details,
    'check': check,
  }
  extra_files = {
    OBJECTS: source.calibration.to_bytes(),
    INPUTS: source.inputs.to_bytes(),
    **source.detector_files,
  }
  if onnx:
    from a3dcae_jax.exporting.onnx_model import convert_objects_and_check

    extra_files['model.onnx'], details['onnx'] = convert_objects_and_check(
      scorer.recipe, scorer.weights, *objects
    )
  write_object_bundle(
    folder,
    model=model,
    weights=scorer.weights,
    statistics=statistics,
    details=details,
    extra_files=extra_files,
    detection=detection,
  )


def _export_detection(
  source: ObjectBundleSource, statistics: ObjectStatistics
) -> tuple[Detection, dict[str, Any]]:
  """Return the program that finds and scores objects, its detector and its check."""
  settings = source.settings
  weights = settings.eval.object_weights
  recipe = DetectedRecipe(source.scorer.recipe, source.model, settings.objects, weights)
  detector = detector_arrays(source.model)
  arrays = {**source.scorer.weights, **detector, **statistics.program_arrays()}
  program = export_detected_program(
    detected_program(recipe, 'cpu'),
    detected_program(recipe, 'accelerator'),
    arrays,
    **_sizes(source),
  )
  check = check_detection_program(
    recipe, source.scorer, statistics, (program, arrays), source.clips
  )
  return Detection(program, detector), check


def _sizes(source: ObjectBundleSource) -> dict[str, int]:
  """Return the sizes of the clips that the programs take."""
  _, height, width = source.inputs.frame_means.shape
  return {'window': source.scorer.window, 'height': height, 'width': width}


def detector_model(detector: Detector) -> YoloxModel | None:
  """Return the network of a detector; None if a bundle cannot run it."""
  if detector.kind != 'yolox':
    return None
  try:
    return read_yolox(detector.path)
  except OtherNetwork:
    return None


def describe_detector(
  cache: FrameCache, detector: Detector
) -> tuple[dict[str, Any], dict[str, bytes]]:
  """Return the description of the box detector for a bundle, and its files.

  Args:
    cache: frame cache of the run; its training split is opened if the foreground is to be fitted.
    detector: the detector. Only the foreground has a file, `FOREGROUND`.
  """
  files = {}
  sha256 = detector.sha256
  if detector.kind == 'foreground':
    content = pack_arrays(foreground_model(cache, detector).to_arrays())
    files[FOREGROUND] = content
    sha256 = hashlib.sha256(content).hexdigest()
  return {'name': detector.name, 'kind': detector.kind, 'sha256': sha256}, files


def bundle_object_calibration(bundle: ObjectBundle) -> ObjectCalibration:
  """Return the calibration in a bundle."""
  return ObjectCalibration.from_bytes(bundle.extra_files[OBJECTS], OBJECTS)


def bundle_object_inputs(bundle: ObjectBundle) -> InputStatistics:
  """Return the mean images in a bundle."""
  return InputStatistics.from_bytes(bundle.extra_files[INPUTS], INPUTS, bundle.height, bundle.width)


def sample_objects(
  frame_mean: np.ndarray, window: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Return objects to compare programs: boxes in the mean image with noise.

  Returns:
    Frames uint8 [N, H, W], rows int32 [B, T] and corners float32 [B, 4].
  """
  clips = sample_clips(frame_mean, window)
  count, _, height, width = clips.shape
  rows = np.arange(count * window, dtype=np.int32).reshape(count, window)
  shares = np.random.default_rng(0).uniform(0, 0.5, (count, 2))
  upper = shares * [width, height]
  corners = np.concatenate([upper, upper + [width / 3, height / 2]], axis=1)
  return clips.reshape(-1, height, width), rows, corners.astype(np.float32)


def check_object_program(
  scorer: ObjectCheckpointScorer,
  model: export.Exported,
  objects: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> dict[str, Any]:
  """Compare a program, read back from its bytes, with the checkpoint.

  Args:
    scorer: scorer of the checkpoint.
    model: the program.
    objects: frames, rows and corners.

  Returns:
    The number of objects, the platform, and the largest difference of measurements.

  Raises:
    RuntimeError: if they disagree.
  """
  read = jax.jit(export.deserialize(model.serialize()).call)
  measured, expected = jax.device_get((read(scorer.weights, *objects), scorer.measure(*objects)))
  if not np.allclose(measured, expected, rtol=TOLERANCE):
    raise RuntimeError(
      f'the exported program disagrees with the checkpoint: measurements {measured[0]}, '
      f'not {expected[0]}'
    )
  return {
    'objects': len(expected),
    'platform': jax.default_backend(),
    'max_difference': float(np.abs(measured - expected).max()),
  }
