"""Slices equal those of NumPy, also with a symbolic batch."""

import re

import jax
import numpy as np
import pytest
from jax import export

from a3dcae_jax.ops.shapes import sliced

CASES = [(np.s_[1:3],), (np.s_[:], np.s_[1::2]), (np.s_[::2], np.s_[:-1], np.s_[2:3])]


@pytest.mark.parametrize('slices', CASES)
def test_sliced_equals_numpy(slices, rng):
  x = rng.normal(size=(2, 4, 5, 6)).astype(np.float32)
  np.testing.assert_array_equal(sliced(x, *slices), x[:, *slices])


@pytest.mark.parametrize('slices', CASES)
def test_sliced_makes_no_gather_of_a_symbolic_batch(slices):
  (batch,) = export.symbolic_shape('b')
  argument = jax.ShapeDtypeStruct((batch, 4, 5, 6), np.float32)
  exported = export.export(jax.jit(lambda x: sliced(x, *slices)))(argument)
  operations = set(re.findall(r'stablehlo\.(\w+)', exported.mlir_module()))
  assert 'real_dynamic_slice' in operations
  assert not operations & {'gather', 'dynamic_gather'}
