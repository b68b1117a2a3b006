"""Pallas's Triton back end, for `outer_triton` and `pooling_triton`: where this JAX has it, and how kernels are run.

JAX has announced that it will be removed. Without it `available` is False, GPUs get XLA's own programs, and the numbers stay the same.
"""

import jax.numpy as jnp

from a3dcae_jax.ops.conv_algorithm import target_platform

try:
  from jax.experimental.pallas import triton
except ImportError:
  triton = None

available = triton is not None


def settings():
  """Further arguments of `pallas_call`. Off GPUs kernels run interpreted, for tests."""
  return {
    'interpret': target_platform() != 'gpu',
    'compiler_params': triton.CompilerParams(num_warps=4, num_stages=2) if available else None,
  }


def quick(activation, dtype):
  """The chip's own tanh, right to 11 bits, where the result is rounded to bfloat16's 8; `activation` otherwise."""
  return (
    triton.approx_tanh
    if activation is jnp.tanh and dtype == jnp.bfloat16 and target_platform() == 'gpu'
    else activation
  )


def power_of_two(size):
  """Whether Triton takes a block of this size, for a matrix product too: a power of two, from 16 on."""
  return size >= 16 and size & (size - 1) == 0
