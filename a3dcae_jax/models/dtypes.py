"""Data types of the computation and of the gradients sent between devices."""

import jax.numpy as jnp
from jax.typing import DTypeLike

from a3dcae_jax.ops.conv_algorithm import target_platform

DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


def compute_dtype(name: str) -> DTypeLike:
  """Return the data type that `model.dtype` names.

  Args:
    name: 'float32', 'bfloat16', or 'auto': float32 if programs are traced for CPUs, otherwise
      bfloat16.
  """
  if name == 'auto':
    name = 'float32' if target_platform() == 'cpu' else 'bfloat16'
  return DTYPES[name]


def gradient_dtype(model_dtype: str) -> str:
  """Return the name of the data type in which gradients travel between devices.

  It is the data type of the computation.

  Args:
    model_dtype: the value of `model.dtype`.
  """
  return jnp.dtype(compute_dtype(model_dtype)).name
