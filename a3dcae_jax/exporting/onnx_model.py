"""Convert the scoring program to ONNX, and check it under onnxruntime."""

import contextlib
import dataclasses
import importlib.metadata
import io
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.common.errors import UserError
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
  model = dataclasses.replace(recipe.model, dtype='float32')
  recipe = recipe._replace(model=model)
  content = _convert(jax2onnx.to_onnx, recipe, weights, mean_image, clips.shape[1:])
  errors, maps = _run(onnxruntime, content, clips)
  program = jax.jit(scoring_program(recipe, conv_algorithm='folded'))
  expected, expected_maps = jax.device_get(program(weights, jnp.asarray(mean_image), clips))
  return content, {
    'opset': _opset(content),
    'input': 'clips',
    'outputs': ['errors', 'maps'],
    'converter': f'jax2onnx {importlib.metadata.version("jax2onnx")}',
    'checked_with': f'onnxruntime {onnxruntime.__version__}',
    **compare_ranking(errors, expected),
    'max_map_difference': float(np.abs(maps - expected_maps).max()),
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


def _convert(to_onnx, recipe, weights, mean_image, clip_shape):
  weights = jax.device_get(weights)
  # Traced for accelerators: without the barriers for CPUs, and without platform kernels.
  program = scoring_program(recipe, 'accelerator', conv_algorithm='folded')
  clips = jax.ShapeDtypeStruct(('B', *clip_shape), jnp.uint8)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      model = to_onnx(
        lambda clips: program(weights, mean_image, clips),
        [clips],
        model_name='a3dcae_jax',
        input_names=['clips'],
        output_names=['errors', 'maps'],
      )
  except (NotImplementedError, TypeError, ValueError) as error:
    reason = str(error).splitlines()[0]
    raise UserError(
      f'--format=onnx: jax2onnx cannot convert this program (eval.error {recipe.eval.error}): '
      f'{reason}'
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


def _run(onnxruntime, content, clips):
  options = onnxruntime.SessionOptions()
  options.log_severity_level = _LOG_ERRORS_ONLY
  session = onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
  return session.run(['errors', 'maps'], {'clips': clips})


def _opset(content):
  import onnx

  imports = onnx.load_from_string(content).opset_import
  return next(entry.version for entry in imports if entry.domain in ('', 'ai.onnx'))
