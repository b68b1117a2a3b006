"""Settings of the process: freed memory is kept, and flags of the user win."""

import os
import subprocess
import sys

import pytest

from a3dcae_jax.common import tuning
from a3dcae_jax.common.tuning import keep_freed_memory

COUNT_PAGE_FAULTS = """
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


@pytest.mark.skipif(not keep_freed_memory(), reason='glibc alone has these settings')
def test_buffers_of_a_program_cause_no_new_page_faults():
  """The buffers are larger than the 64 MB of a second arena's heaps.

  XLA allocates them on a thread of its own. The program runs in a process of its own, as every
  command does: once a process has threads, and so arenas, the settings have no effect.
  """
  result = subprocess.run(
    [sys.executable, '-c', COUNT_PAGE_FAULTS], check=True, capture_output=True, text=True
  )
  faults = [int(line) for line in result.stdout.split()]
  # A run touches 24,000 pages. Buffers are freed shortly after the next ones are allocated, so up
  # to five of the first runs may each take new pages. Without the setting all sixteen do.
  assert len(faults) == 16
  assert min(faults) < 2000


@pytest.mark.parametrize(
  'given, platforms, has_plugin, expected',
  [
    ('', None, True, '--xla_gpu_force_conv_nhwc=true'),
    ('--a=1', None, True, '--a=1 --xla_gpu_force_conv_nhwc=true'),
    ('flags.txt', None, True, 'flags.txt'),
    ('', None, False, ''),
    ('', 'cpu', True, ''),
    ('--xla_gpu_force_conv_nchw=true', None, True, '--xla_gpu_force_conv_nchw=true'),
  ],
)
def test_convolutions_on_gpus_are_channels_last(
  monkeypatch, given, platforms, has_plugin, expected
):
  monkeypatch.setenv('XLA_FLAGS', given)
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  if platforms:
    monkeypatch.setenv('JAX_PLATFORMS', platforms)

  def find_spec(name):
    return has_plugin and name == 'jax_cuda12_plugin'

  monkeypatch.setattr(tuning.importlib.util, 'find_spec', find_spec)
  assert tuning.keep_channels_last() == (expected != given)
  assert os.environ['XLA_FLAGS'] == expected


def test_barriers_are_kept_on_cpus_once(monkeypatch):
  monkeypatch.setattr(tuning, '_ACCELERATOR_PLUGINS', ())
  monkeypatch.setenv('XLA_FLAGS', '--xla_dump_to=x')
  assert tuning.keep_barriers()
  assert not tuning.keep_barriers()
  expected = '--xla_dump_to=x --xla_disable_hlo_passes=cse_barrier_expander'
  assert os.environ['XLA_FLAGS'] == expected


def test_passes_disabled_by_the_user_are_not_changed(monkeypatch):
  monkeypatch.setattr(tuning, '_ACCELERATOR_PLUGINS', ())
  monkeypatch.setenv('XLA_FLAGS', '--xla_disable_hlo_passes=mine')
  assert not tuning.keep_barriers()
  assert os.environ['XLA_FLAGS'] == '--xla_disable_hlo_passes=mine'


def test_barriers_are_not_kept_where_an_accelerator_may_be_used(monkeypatch):
  monkeypatch.setattr(tuning, '_ACCELERATOR_PLUGINS', ('json',))  # a module that is installed
  monkeypatch.setenv('XLA_FLAGS', '')
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  assert not tuning.keep_barriers()
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  tuning.tune_process(compiles_ahead=True)
  assert not os.environ['XLA_FLAGS']
  assert tuning.keep_barriers()


def test_libtpu_flags_of_the_user_are_not_changed(monkeypatch):
  monkeypatch.setenv('LIBTPU_INIT_ARGS', '--mine=1')
  assert tuning.fuse_reductions()
  assert not tuning.fuse_reductions()
  expected = '--mine=1 --xla_jf_crs_combiner_threshold_in_bytes=4000000000'
  assert os.environ['LIBTPU_INIT_ARGS'] == expected


def test_one_blas_thread_unless_the_user_says_otherwise(monkeypatch):
  monkeypatch.delenv('OPENBLAS_NUM_THREADS', raising=False)
  assert tuning.use_one_blas_thread()
  assert os.environ['OPENBLAS_NUM_THREADS'] == '1'
  monkeypatch.setenv('OPENBLAS_NUM_THREADS', '3')
  assert not tuning.use_one_blas_thread()
  assert os.environ['OPENBLAS_NUM_THREADS'] == '3'
