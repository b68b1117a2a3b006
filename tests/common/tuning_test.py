"""Settings of the process: that freed memory is kept shows in page faults."""

import os
import subprocess
import sys

import pytest

from a3dcae_jax.common import tuning
from a3dcae_jax.common.tuning import keep_freed_memory

FAULTS = """
import resource
from a3dcae_jax.common.tuning import tune_process
tune_process()
import jax
import jax.numpy as jnp

def program(x):
  return jax.lax.optimization_barrier(x[:, None] + x)[::64].sum()

x = jnp.ones(5000)
compiled = jax.jit(program).lower(x).compile()
assert compiled.memory_analysis().temp_size_in_bytes > 90e6
for _ in range(16):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  compiled(x).block_until_ready()
  print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not keep_freed_memory(), reason='only glibc can be told')
def test_a_programs_buffers_are_not_faulted_in_again():
  """XLA asks for them on a thread of its own, whose arena would hold 64 MB: this one needs more.

  In a process of its own, as every command is: who has made threads before (and so arenas) has been told too late.
  """
  faults = [
    int(line)
    for line in subprocess.run(
      [sys.executable, '-c', FAULTS], check=True, capture_output=True, text=True
    ).stdout.split()
  ]
  # Of 24,000 pages. Buffers are freed a little later than the next are asked for, so the first runs may each take new ones, up to five in a
  # row; without the setting all sixteen do.
  assert len(faults) == 16 and min(faults) < 2000


@pytest.mark.parametrize(
  'given, platforms, plugin, expected',
  [
    ('', None, True, '--xla_gpu_force_conv_nhwc=true'),
    ('--a=1', None, True, '--a=1 --xla_gpu_force_conv_nhwc=true'),
    ('', None, False, ''),
    ('', 'cpu', True, ''),
    ('--xla_gpu_force_conv_nchw=true', None, True, '--xla_gpu_force_conv_nchw=true'),
  ],
)
def test_convolutions_on_gpus_have_their_channels_last(
  monkeypatch, given, platforms, plugin, expected
):
  monkeypatch.setenv('XLA_FLAGS', given)
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  if platforms:
    monkeypatch.setenv('JAX_PLATFORMS', platforms)
  monkeypatch.setattr(
    tuning.importlib.util, 'find_spec', lambda name: plugin and name == 'jax_cuda12_plugin'
  )
  assert tuning.keep_channels_last() == (expected != given) and os.environ['XLA_FLAGS'] == expected
