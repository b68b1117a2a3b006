"""All tests run on four CPU devices, without implicit dtype promotion.

setup.cfg turns warnings into errors.
"""

import os

# Before JAX is imported anywhere; subprocesses of the tests inherit it.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('JAX_NUM_CPU_DEVICES', '4')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

from a3dcae_jax.common.tuning import tune_process

tune_process()

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_numpy_dtype_promotion', 'strict')


@pytest.fixture
def rng():
  return np.random.default_rng(0)
