"""The scoring program as ONNX, for runtimes without JAX; converted by jax2onnx and compared under onnxruntime."""

import contextlib
import importlib.metadata
import io

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import config_dict

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.evaluation.program import scoring_program


def convert_and_check(config, weights, mean_image, clips):
  """(bytes of `model.onnx`, what `detector.json` says of it). Input `clips` uint8 [B, T, H, W], outputs `errors` [B, T], `maps` [B, T, H, W].

  The converter knows 2D convolutions alone, so 3D ones are folded (`ops.conv_algorithm`); the dtype is float32. Weights are inside.

  Args: config, weights, mean_image: as for `scoring_program`. clips: uint8 [B, T, H, W] to compare on.
  Raises: UserError as `converter_packages` does, or where the converter does not know an operation of this program.
  """
  jax2onnx, onnxruntime = converter_packages()
  content = _convert(jax2onnx.to_onnx, _foldable(config), weights, mean_image, clips.shape[1:])
  errors, maps = _run(onnxruntime, content, clips)
  expected, expected_maps = jax.device_get(
    jax.jit(scoring_program(config))(weights, jnp.asarray(mean_image), clips)
  )
  return content, {
    'opset': _opset(content),
    'input': 'clips',
    'outputs': ['errors', 'maps'],
    'converter': f'jax2onnx {importlib.metadata.version("jax2onnx")}',
    'checked_with': f'onnxruntime {onnxruntime.__version__}',
    **ranking(errors, expected),
    'max_map_difference': float(np.abs(maps - expected_maps).max()),
  }


def converter_packages():
  """(jax2onnx, onnxruntime), or a `UserError` where the `onnx` extra is not installed."""
  try:
    import jax2onnx
    import onnxruntime
  except ImportError as error:
    raise UserError(
      f"--format=onnx: {error.name} is not installed; pip install -e '.[onnx]' in an environment of its own"
    ) from None
  return jax2onnx, onnxruntime


def ranking(errors, expected):
  """How the frames of `errors` are ranked beside `expected` (both [B, T]): largest difference, pairs of neighbours in rank that changed places."""
  order = np.argsort(expected, axis=None)
  return {
    'frames': errors.size,
    'max_difference': float(np.abs(errors - expected).max()),
    'largest_error': float(expected.max()),
    'swapped_neighbours': int((np.diff(errors.ravel()[order]) < 0).sum()),
  }


def _foldable(config):
  changed = config_dict.ConfigDict(config.to_dict())
  changed.model.conv_algorithm, changed.model.dtype = 'folded', 'float32'
  return changed


def _convert(to_onnx, config, weights, mean_image, clip_shape):
  weights, program = (
    jax.device_get(weights),
    scoring_program(config, 'accelerator'),
  )  # without the barriers that CPUs want, and without kernels
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
    raise UserError(
      f'--format=onnx: jax2onnx cannot convert this program (eval.error {config.eval.error}): {str(error).splitlines()[0]}'
    ) from None
  return _without_byte_ranges(model).SerializeToString()


def _without_byte_ranges(model):
  """Replaces each `Range` over uint8, which jax2onnx writes and ONNX does not have, by the constant that it stands for."""
  from onnx import numpy_helper

  constants = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
  for node in [node for node in model.graph.node if node.op_type == 'Range']:
    bounds = [constants.get(name) for name in node.input]
    if all(bound is not None and bound.dtype == np.uint8 for bound in bounds):
      values = np.arange(*map(int, bounds), dtype=np.uint8)
      model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
      model.graph.node.remove(node)
  return model


def _run(onnxruntime, content, clips):
  options = onnxruntime.SessionOptions()
  options.log_severity_level = 3  # warnings about constants that the converter left unused
  return onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider']).run(
    ['errors', 'maps'], {'clips': clips}
  )


def _opset(content):
  import onnx

  return next(
    entry.version
    for entry in onnx.load_from_string(content).opset_import
    if entry.domain in ('', 'ai.onnx')
  )
