"""A scoring program as one `jax.export` artefact, for any batch size."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import export

PLATFORMS = ('cpu', 'cuda', 'tpu')
DTYPES = {'uint8': jnp.uint8, 'float32': jnp.float32}

Program = Callable[[Mapping[str, jax.Array], jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""(weights, mean_image, clips [B, T, H, W]) -> (errors [B, T], maps [B, T, H, W])."""

ObjectProgram = Callable[[Mapping[str, jax.Array], jax.Array, jax.Array, jax.Array], jax.Array]
"""(weights, frames [N, H, W], rows [B, T], corners [B, 4]) -> measurements [B, 5]."""

DetectedProgram = Callable[[Mapping[str, jax.Array], jax.Array, jax.Array], tuple[jax.Array, ...]]
"""(arrays, frames [N, H, W], rows [B, T]) -> (corners [B, K, 4], valid, errors, worst [B], z)."""


def export_program(
  on_cpu: Program,
  elsewhere: Program,
  weights: Mapping[str, jax.Array],
  mean_image: jax.Array,
  *,
  window: int,
  dtype: str,
) -> export.Exported:
  """Export a scoring program for any number of clips.

  CPUs and accelerators need different convolutions and dtypes. The artefact therefore holds both
  programs, and one is selected when it is compiled; the other one adds only a few kilobytes of
  text. Weights are arguments, so the artefact holds no copy of them.

  Args:
    on_cpu: the program as traced for CPUs.
    elsewhere: the program as traced for accelerators.
    weights: arrays, or only their shapes.
    mean_image: [H, W].
    window: frames per clip, T.
    dtype: data type of the clips, a key of `DTYPES`.

  Returns:
    The artefact; its `serialize()` gives the bytes.
  """
  (batch,) = export.symbolic_shape('b')
  constants = jax.tree.map(_shape, (dict(weights), mean_image))
  clips = jax.ShapeDtypeStruct((batch, window, *mean_image.shape), DTYPES[dtype])
  return _export(on_cpu, elsewhere, *constants, clips)


def export_object_program(
  on_cpu: ObjectProgram,
  elsewhere: ObjectProgram,
  weights: Mapping[str, jax.Array],
  *,
  window: int,
  height: int,
  width: int,
) -> export.Exported:
  """Export a program that measures objects, for any number of frames and objects.

  Args:
    on_cpu: the program as traced for CPUs.
    elsewhere: the program as traced for accelerators.
    weights: arrays, or only their shapes.
    window: frames per clip, T.
    height: height of a frame in pixels.
    width: width of a frame in pixels.

  Returns:
    See `export_program`.
  """
  frames, rows = _clips(window, height, width)
  corners = jax.ShapeDtypeStruct((rows.shape[0], 4), jnp.float32)
  return _export(on_cpu, elsewhere, jax.tree.map(_shape, dict(weights)), frames, rows, corners)


def export_detected_program(
  on_cpu: DetectedProgram,
  elsewhere: DetectedProgram,
  arrays: Mapping[str, jax.Array],
  *,
  window: int,
  height: int,
  width: int,
) -> export.Exported:
  """Export a program that finds and scores objects, for any number of clips.

  Args:
    on_cpu: the program as traced for CPUs.
    elsewhere: the program as traced for accelerators.
    arrays: weights and statistics, or only their shapes.
    window: frames per clip, T.
    height: height of a frame in pixels.
    width: width of a frame in pixels.

  Returns:
    See `export_program`.
  """
  frames, rows = _clips(window, height, width)
  return _export(on_cpu, elsewhere, jax.tree.map(_shape, dict(arrays)), frames, rows)


def _clips(
  window: int, height: int, width: int
) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
  """Return the shapes of frames and of the rows of clips, any number of each."""
  count, batch = export.symbolic_shape('n, b')
  frames = jax.ShapeDtypeStruct((count, height, width), jnp.uint8)
  return frames, jax.ShapeDtypeStruct((batch, window), jnp.int32)


def _export(on_cpu, elsewhere, *shapes):
  def program(*arguments):
    return jax.lax.platform_dependent(*arguments, cpu=on_cpu, default=elsewhere)

  return export.export(jax.jit(program), platforms=PLATFORMS)(*shapes)


def _shape(array):
  return jax.ShapeDtypeStruct(array.shape, array.dtype)
