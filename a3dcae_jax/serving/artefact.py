"""A scoring program as one `jax.export` artefact for CPUs, CUDA GPUs and TPUs, for any number of clips."""

import jax
import jax.numpy as jnp
from jax import export

PLATFORMS = ('cpu', 'cuda', 'tpu')
DTYPES = {'uint8': jnp.uint8, 'float32': jnp.float32}


def export_program(on_cpu, elsewhere, weights, mean_image, *, window, dtype):
  """Exports `(weights, mean_image, clips [B, T, H, W]) -> (errors [B, T], maps [B, T, H, W])` with B left open.

  CPUs and accelerators want other convolutions and other dtypes, so the artefact holds both programs and the platform that
  runs it picks one when it compiles; the other costs its few kilobytes of text. Weights are arguments: no copy of them inside.

  Args:
    on_cpu, elsewhere: the program as traced for CPUs and for accelerators.
    weights: dict of arrays (or shapes). mean_image: [H, W]. window: T. dtype: of the clips, 'uint8' or 'float32'.

  Returns: `jax.export.Exported`; its `serialize()` gives the bytes.
  """

  def program(*arguments):
    return jax.lax.platform_dependent(*arguments, cpu=on_cpu, default=elsewhere)

  (batch,) = export.symbolic_shape('b')
  shapes = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (dict(weights), mean_image)
  )
  clips = jax.ShapeDtypeStruct((batch, window, *mean_image.shape), DTYPES[dtype])
  return export.export(jax.jit(program), platforms=PLATFORMS)(*shapes, clips)
