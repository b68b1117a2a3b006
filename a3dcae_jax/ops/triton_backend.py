"""Pallas's Triton back end for `polyphase_triton` and `pooling_triton`.

JAX has announced the removal of this back end. Without it, `available` is False and GPUs run XLA's
implementations, which give the same numbers.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from a3dcae_jax.ops.conv_algorithm import target_platform

try:
  from jax.experimental.pallas import triton
except ImportError:
  triton = None

available = triton is not None


def pallas_options() -> dict[str, Any]:
  """Return the arguments of `pallas_call` that select this back end.

  On other platforms than GPUs kernels are interpreted, for tests.
  """
  params = None
  if available:
    params = triton.CompilerParams(num_warps=4, num_stages=2)
  return {'interpret': target_platform() != 'gpu', 'compiler_params': params}


def fast_tanh(
  activation: Callable[[jax.Array], jax.Array], dtype: DTypeLike
) -> Callable[[jax.Array], jax.Array]:
  """Replace `jnp.tanh` by the instruction of the GPU where its precision is enough.

  The instruction is precise to 11 bits; bfloat16 has 8.

  Args:
    activation: any activation; all but `jnp.tanh` are returned unchanged.
    dtype: data type that the result is rounded to.
  """
  rounds = dtype == jnp.bfloat16 and target_platform() == 'gpu'
  if rounds and activation is jnp.tanh:
    return triton.approx_tanh
  return activation


def is_block_size(size: int) -> bool:
  """Return whether Triton takes blocks of this size, also for matrix products.

  These are the powers of two of at least 16.
  """
  return size >= 16 and size & (size - 1) == 0
