"""Settings of the process that have to stand before JAX starts: they change how fast it runs, not what it computes."""

import ctypes
import importlib.util
import os

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_CUDA_PLUGINS = ('jax_cuda12_plugin', 'jax_cuda13_plugin')
_ACCELERATOR_PLUGINS = (*_CUDA_PLUGINS, 'jax_rocm7_plugin', 'libtpu')
_ONE_REDUCTION = '--xla_jf_crs_combiner_threshold_in_bytes=4000000000'
_KEEP_BARRIERS = '--xla_disable_hlo_passes=cse_barrier_expander'
_CHANNELS_LAST = '--xla_gpu_force_conv_nhwc=true'


def tune_process(compiles_ahead=False):
  """Applies all settings below. To be called before the first JAX array is made; calling it again does no harm.

  compiles_ahead: the process runs on CPUs and compiles for an accelerator, whose compiler needs the pass that `keep_barriers` turns off.
  """
  keep_freed_memory()
  if not compiles_ahead:
    keep_barriers()
    keep_channels_last()
  fuse_reductions()


def keep_freed_memory():
  """Tells glibc to keep freed memory in the process; returns whether it was told (False elsewhere than on glibc).

  By default glibc maps every large buffer afresh and gives it back to the kernel when it is freed; each training step
  then faults the same gigabytes in again, which costs a CPU run up to half of its speed. One arena for all threads: the
  heaps of further ones hold 64 MB at most, and a program's buffers, which XLA asks for on a thread of its own, would be
  mapped afresh whatever the other settings say (120,000 page faults a training step of `small`, a fifth of its time).
  """
  try:
    mallopt = ctypes.CDLL('libc.so.6').mallopt
  except (OSError, AttributeError):
    return False
  largest = 2**31 - 1  # mallopt takes a C int
  return all(
    mallopt(key, value)
    for key, value in (
      (_M_ARENA_MAX, 1),
      (_M_MMAP_MAX, 0),
      (_M_TRIM_THRESHOLD, largest),
      (_M_TOP_PAD, 256 * 2**20),
    )
  )


def keep_barriers():
  """Lets `ops.conv_algorithm.laid_out` hold on CPUs: XLA removes its barriers before it fuses, unless this pass is off.

  Measured on 2 cores (`small`, batch 4, float32): 2.05 s a training step without, 0.98 s with. Left alone where the user
  sets the flag, and where an accelerator's plug-in is installed, whose compiler needs the pass, unless JAX is told to run on CPUs alone
  (JAX_PLATFORMS=cpu).
  """
  return not _may_use(_ACCELERATOR_PLUGINS) and _add(
    'XLA_FLAGS', _KEEP_BARRIERS, unless='xla_disable_hlo_passes'
  )


def keep_channels_last():
  """Has XLA give cuDNN 3D convolutions with the channels last, as this project lays them out and tensor cores read them.

  Left to itself XLA turns every 3D convolution to channels first, whatever its dtype, and its inputs and outputs with it: half of all bytes that
  `paper` moves in bfloat16 at inference. Returns whether it was set: False where the user has set the layout, or without a CUDA plug-in.
  """
  return _may_use(_CUDA_PLUGINS) and _add('XLA_FLAGS', _CHANNELS_LAST, unless='xla_gpu_force_conv')


def fuse_reductions():
  """Has libtpu make one all-reduce of all gradients, of up to 4 GB; by default the 0.8 GB of the discriminator's FC4 stay apart.

  Returns whether it was set: False where the user has set it.
  """
  return _add('LIBTPU_INIT_ARGS', _ONE_REDUCTION, unless='xla_jf_crs_combiner_threshold_in_bytes')


def _may_use(plugins):
  """Whether JAX may find one of these plug-ins: one is installed, and JAX is not told to run on CPUs alone."""
  return os.environ.get('JAX_PLATFORMS') != 'cpu' and any(
    importlib.util.find_spec(plugin) for plugin in plugins
  )


def _add(variable, flag, *, unless):
  """Adds `flag` to an environment variable, unless the user has `unless` in it; returns whether it did."""
  given = os.environ.get(variable, '')
  if unless in given:
    return False
  os.environ[variable] = f'{given} {flag}'.strip()
  return True
