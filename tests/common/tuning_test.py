"""Settings of the process: that freed memory is kept shows in page faults."""

import os
import resource

import jax
import jax.numpy as jnp
import pytest

from a3dcae_jax.common import tuning
from a3dcae_jax.common.tuning import keep_freed_memory


@pytest.mark.skipif(not keep_freed_memory(), reason='only glibc can be told')
def test_a_programs_buffers_are_not_faulted_in_again():
  """XLA asks for them on a thread of its own, whose arena would hold 64 MB: this one needs more."""
  def program(x):
    return jax.lax.optimization_barrier(x[:, None] + x)[::64].sum()

  x = jnp.ones(5000)
  compiled = jax.jit(program).lower(x).compile()
  assert compiled.memory_analysis().temp_size_in_bytes > 90e6

  def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    compiled(x).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

  # Of 24,000 pages. Buffers are freed a little later than the next are asked for, so the first runs may each take new ones, up to five in a
  # row; without the setting all sixteen do.
  assert min(faults() for _ in range(16)) < 2000


@pytest.mark.parametrize('given, platforms, plugin, expected', [
    ('', None, True, '--xla_gpu_force_conv_nhwc=true'), ('--a=1', None, True, '--a=1 --xla_gpu_force_conv_nhwc=true'), ('', None, False, ''),
    ('', 'cpu', True, ''), ('--xla_gpu_force_conv_nchw=true', None, True, '--xla_gpu_force_conv_nchw=true')])
def test_convolutions_on_gpus_have_their_channels_last(monkeypatch, given, platforms, plugin, expected):
  monkeypatch.setenv('XLA_FLAGS', given)
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  if platforms:
    monkeypatch.setenv('JAX_PLATFORMS', platforms)
  monkeypatch.setattr(tuning.importlib.util, 'find_spec', lambda name: plugin and name == 'jax_cuda12_plugin')
  assert tuning.keep_channels_last() == (expected != given) and os.environ['XLA_FLAGS'] == expected
