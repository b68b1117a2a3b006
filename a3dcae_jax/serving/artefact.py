"""A scoring program as one `jax.export` artefact, for any number of clips."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import export

PLATFORMS = ('cpu', 'cuda', 'tpu')
DTYPES = {'uint8': jnp.uint8, 'float32': jnp.float32}

Program = Callable[[Mapping[str, jax.Array], jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""(weights, mean_image, clips [B, T, H, W]) -> (errors [B, T], maps [B, T, H, W])."""


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

  def program(*arguments):
    return jax.lax.platform_dependent(*arguments, cpu=on_cpu, default=elsewhere)

  (batch,) = export.symbolic_shape('b')
  constants = (dict(weights), mean_image)
  shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), constants)
  clips = jax.ShapeDtypeStruct((batch, window, *mean_image.shape), DTYPES[dtype])
  return export.export(jax.jit(program), platforms=PLATFORMS)(*shapes, clips)
