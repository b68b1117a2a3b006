"""All tests run on four CPU devices, without implicit dtype promotion.

setup.cfg turns warnings into errors.
"""

import atexit
import os
import shutil
import tempfile

# Set before JAX is imported anywhere; subprocesses of the tests inherit it.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('JAX_NUM_CPU_DEVICES', '4')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
# Tests compile far longer than they run, so LLVM is told not to optimise.
os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=0')

# Most of the time of the tests is compilation, so all processes of a session share one folder of
# compiled programs. The first process to import this file makes it, and removes it at the end.
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
  _compiled = tempfile.mkdtemp(prefix='a3dcae_jax_compiled_')
  atexit.register(shutil.rmtree, _compiled, ignore_errors=True)
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _compiled
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.2')

from a3dcae_jax.common.tuning import tune_process

tune_process()

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_numpy_dtype_promotion', 'strict')


@pytest.fixture
def use_devices(monkeypatch):
  """Return a function that sets how many devices this process has."""
  from a3dcae_jax.training import parallel

  def use(count):
    devices = jax.local_devices()[:count]
    monkeypatch.setattr(parallel, '_local_devices', lambda: devices)

  return use


@pytest.fixture
def rng() -> np.random.Generator:
  """Return a generator of random numbers that are the same in every run."""
  return np.random.default_rng(0)
