"""Convert a scoring program to ONNX, and check it under onnxruntime."""

import contextlib
import dataclasses
import importlib.metadata
import io
import logging
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.evaluation.object_scorer import ObjectRecipe, object_program
from a3dcae_jax.evaluation.program import ScoringRecipe, Weights, scoring_program

_LOG_ERRORS_ONLY = 3  # hides warnings about unused constants


def convert_and_check(
  recipe: ScoringRecipe, weights: Weights, mean_image: np.ndarray, clips: np.ndarray
) -> tuple[bytes, dict[str, Any]]:
  """Return the bytes of `model.onnx` and its entry in `detector.json`.

  The model maps `clips` uint8 [B, T, H, W] to float32 `errors` [B, T] and `maps` [B, T, H, W], and
  contains its weights. The converter knows 2D convolutions only, so 3D ones are folded, see
  `ops.conv_algorithm`.

  Args:
    recipe: recipe of the program.
    weights: weights of the program.
    mean_image: float32 [H, W].
    clips: uint8 [B, T, H, W], on which the model is compared with the program.

  Raises:
    UserError: if packages are missing, or for an operation that the converter does not know.
  """
  jax2onnx, onnxruntime = converter_packages()
  recipe = recipe._replace(model=dataclasses.replace(recipe.model, dtype='float32'))
  # Traced for accelerators: without the barriers for CPUs, and without platform kernels.
  program = scoring_program(recipe, 'accelerator', conv_algorithm='folded')
  constants = jax.device_get(weights)
  content = _convert(
    jax2onnx.to_onnx,
    lambda clips: program(constants, mean_image, clips),
    {'clips': jax.ShapeDtypeStruct(('B', *clips.shape[1:]), jnp.uint8)},
    ['errors', 'maps'],
    f'eval.error {recipe.eval.error}',
  )
  errors, maps = _run(onnxruntime, content, ['errors', 'maps'], {'clips': clips})
  reference = jax.jit(scoring_program(recipe, conv_algorithm='folded'))
  expected, expected_maps = jax.device_get(reference(weights, jnp.asarray(mean_image), clips))
  return content, {
    'input': 'clips',
    'outputs': ['errors', 'maps'],
    **_versions(onnxruntime, content),
    **compare_ranking(errors, expected),
    'max_map_difference': float(np.abs(maps - expected_maps).max()),
  }


def convert_objects_and_check(
  recipe: ObjectRecipe,
  weights: Weights,
  frames: np.ndarray,
  rows: np.ndarray,
  corners: np.ndarray,
) -> tuple[bytes, dict[str, Any]]:
  """Return the bytes of `model.onnx` of objects and its entry in `detector.json`.

  The model maps `frames` uint8 [N, H, W], `rows` int32 [B, T] and `corners` float32 [B, 4] to
  float32 `measurements` [B, 5], and contains its weights.

  Args:
    recipe: recipe of the program.
    weights: weights of the program.
    frames: uint8 [N, H, W]; on these objects the model is compared with the program.
    rows: int32 [B, T].
    corners: float32 [B, 4].

  Raises:
    UserError: if packages are missing, or for an operation that the converter does not know.
  """
  jax2onnx, onnxruntime = converter_packages()
  recipe = recipe._replace(model=dataclasses.replace(recipe.model, dtype='float32'))
  program = object_program(recipe, 'accelerator', conv_algorithm='folded')
  constants = jax.device_get(weights)
  given = {'frames': frames, 'rows': rows, 'corners': corners}
  content = _convert(
    jax2onnx.to_onnx,
    lambda *objects: program(constants, *objects),
    {
      'frames': jax.ShapeDtypeStruct(('N', *frames.shape[1:]), jnp.uint8),
      'rows': jax.ShapeDtypeStruct(('B', *rows.shape[1:]), jnp.int32),
      'corners': jax.ShapeDtypeStruct(('B', *corners.shape[1:]), jnp.float32),
    },
    ['measurements'],
    f'input.kind {recipe.input_kind}',
  )
  (measured,) = _run(onnxruntime, content, ['measurements'], given)
  reference = jax.jit(object_program(recipe, conv_algorithm='folded'))
  expected = jax.device_get(reference(weights, frames, rows, corners))
  return content, {
    'inputs': list(given),
    'outputs': ['measurements'],
    **_versions(onnxruntime, content),
    'objects': len(expected),
    'max_difference': float(np.abs(measured - expected).max()),
    'largest_measurement': float(np.abs(expected).max()),
  }


def converter_packages() -> tuple[ModuleType, ModuleType]:
  """Return the modules jax2onnx and onnxruntime.

  Raises:
    UserError: if the extra `onnx` is not installed.
  """
  try:
    import jax2onnx
    import onnxruntime
  except ImportError as error:
    raise UserError(
      f'--format=onnx: {error.name} is not installed; '
      "pip install -e '.[onnx]' in an environment of its own"
    ) from None
  return jax2onnx, onnxruntime


def compare_ranking(errors: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
  """Compare the orders of frames by two sets of errors [B, T].

  Returns:
    Number of frames, largest difference, largest error, and the number of neighbours in the
    expected order that are in the opposite order.
  """
  order = np.argsort(expected, axis=None)
  return {
    'frames': errors.size,
    'max_difference': float(np.abs(errors - expected).max()),
    'largest_error': float(expected.max()),
    'swapped_neighbours': int((np.diff(errors.ravel()[order]) < 0).sum()),
  }


def _convert(
  to_onnx: Callable[..., Any],
  function: Callable[..., Any],
  inputs: Mapping[str, jax.ShapeDtypeStruct],
  outputs: list[str],
  setting: str,
) -> bytes:
  """Return the bytes of a function as an ONNX model.

  Args:
    to_onnx: the converter.
    function: takes the inputs in their order.
    inputs: name -> shape, whose first axis has a name.
    outputs: names of the results.
    setting: what the operations depend on, for errors.
  """
  logging.getLogger('onnx_ir').setLevel(logging.ERROR)  # it warns about each value without a type
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      model = to_onnx(
        function,
        list(inputs.values()),
        model_name='a3dcae_jax',
        input_names=list(inputs),
        output_names=outputs,
      )
  except (NotImplementedError, TypeError, ValueError) as error:
    reason = str(error).splitlines()[0]
    raise UserError(
      f'--format=onnx: jax2onnx cannot convert this program ({setting}): {reason}'
    ) from None
  return _without_byte_ranges(model).SerializeToString()


def _without_byte_ranges(model):
  """Replace each `Range` over uint8, which ONNX lacks, by a constant."""
  from onnx import numpy_helper

  constants = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
  ranges = [node for node in model.graph.node if node.op_type == 'Range']
  for node in ranges:
    bounds = [constants.get(name) for name in node.input]
    if all(bound is not None and bound.dtype == np.uint8 for bound in bounds):
      values = np.arange(*map(int, bounds), dtype=np.uint8)
      model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
      model.graph.node.remove(node)
  return model


def _run(onnxruntime, content, outputs, given):
  options = onnxruntime.SessionOptions()
  options.log_severity_level = _LOG_ERRORS_ONLY
  session = onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
  return session.run(outputs, given)


def _versions(onnxruntime, content):
  return {
    'opset': _opset(content),
    'converter': f'jax2onnx {importlib.metadata.version("jax2onnx")}',
    'checked_with': f'onnxruntime {onnxruntime.__version__}',
  }


def _opset(content):
  import onnx

  imports = onnx.load_from_string(content).opset_import
  return next(entry.version for entry in imports if entry.domain in ('', 'ai.onnx'))
