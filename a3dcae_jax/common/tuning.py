"""Settings of the process that must be made before JAX starts.

They change how fast programs run, not what they compute.
"""

import ctypes
import importlib.util
import os
from collections.abc import Iterable

# Parameters of glibc's mallopt.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8
_LARGEST_INT = 2**31 - 1

_CUDA_PLUGINS = ('jax_cuda12_plugin', 'jax_cuda13_plugin')
_ACCELERATOR_PLUGINS = (*_CUDA_PLUGINS, 'jax_rocm7_plugin', 'libtpu')

_KEEP_BARRIERS = '--xla_disable_hlo_passes=cse_barrier_expander'
_CHANNELS_LAST = '--xla_gpu_force_conv_nhwc=true'
_ONE_REDUCTION = '--xla_jf_crs_combiner_threshold_in_bytes=4000000000'


def tune_process(compiles_ahead: bool = False) -> None:
  """Make all settings of this file, before the first JAX array is made.

  Calling it again does no harm.

  Args:
    compiles_ahead: the process runs on CPUs and compiles for an accelerator, whose compiler needs
      the pass that `keep_barriers` turns off.
  """
  keep_freed_memory()
  if not compiles_ahead:
    keep_barriers()
    keep_channels_last()
  fuse_reductions()


def use_one_blas_thread() -> bool:
  """Let products of NumPy run on one thread each; call it before NumPy is imported.

  The products of a detector at work are small, and JAX's threads compute meanwhile. Measured on 2
  busy cores, a frame of 240x352 of the foreground: 11 ms with two threads, 0.1 ms with one.

  Returns:
    Whether the setting was made; False where the user has made it.
  """
  if 'OPENBLAS_NUM_THREADS' in os.environ:
    return False
  os.environ['OPENBLAS_NUM_THREADS'] = '1'
  return True


def keep_freed_memory() -> bool:
  """Tell glibc to keep freed memory in the process.

  By default glibc maps every large buffer afresh and returns it to the kernel when it is freed.
  Each training step then faults the same gigabytes in again, which costs a CPU run up to half of
  its speed.

  All threads share one arena. Further arenas have heaps of at most 64 MB, and XLA allocates a
  program's buffers on a thread of its own. So these buffers would be mapped afresh whatever the
  other settings are: 120,000 page faults per training step of `small`, a fifth of its time.

  Returns:
    Whether the settings were made; False without glibc.
  """
  try:
    mallopt = ctypes.CDLL('libc.so.6').mallopt
  except (OSError, AttributeError):
    return False
  settings = (
    (_M_ARENA_MAX, 1),
    (_M_MMAP_MAX, 0),
    (_M_TRIM_THRESHOLD, _LARGEST_INT),
    (_M_TOP_PAD, 256 * 2**20),
  )
  return all(mallopt(key, value) for key, value in settings)


def keep_barriers() -> bool:
  """Let the barriers of `ops.conv_algorithm.materialise` reach XLA's fusion on CPUs.

  XLA removes barriers before it fuses, unless this pass is off. Measured on 2 cores (`small`,
  batch 4, float32): 2.05 s per training step with the pass, 0.98 s without.

  The flag is not set where the user has set it. It is not set either where an accelerator's
  plug-in is installed, whose compiler needs the pass, unless JAX_PLATFORMS is 'cpu'.

  Returns:
    Whether the flag was set.
  """
  if _may_use(_ACCELERATOR_PLUGINS):
    return False
  return _add('XLA_FLAGS', _KEEP_BARRIERS, unless='xla_disable_hlo_passes')


def keep_channels_last() -> bool:
  """Make XLA pass 3D convolutions to cuDNN with the channels last.

  This project has the channels last, and tensor cores read them so. By default XLA transposes
  every 3D convolution to channels first, whatever its dtype, with its inputs and outputs: half of
  all bytes that `paper` moves in bfloat16 at inference.

  Returns:
    Whether the flag was set; False where the user has set the layout, or without a CUDA plug-in.
  """
  if not _may_use(_CUDA_PLUGINS):
    return False
  return _add('XLA_FLAGS', _CHANNELS_LAST, unless='xla_gpu_force_conv')


def fuse_reductions() -> bool:
  """Make libtpu combine all gradients, up to 4 GB, into one all-reduce.

  By default the 0.8 GB of the discriminator's FC 4 stay apart.

  Returns:
    Whether the flag was set; False where the user has set it.
  """
  return _add('LIBTPU_INIT_ARGS', _ONE_REDUCTION, unless='xla_jf_crs_combiner_threshold_in_bytes')


def _may_use(plugins: Iterable[str]) -> bool:
  """Return whether JAX may use one of these plug-ins.

  That is, one is installed and JAX is not restricted to CPUs.
  """
  if os.environ.get('JAX_PLATFORMS') == 'cpu':
    return False
  return any(importlib.util.find_spec(plugin) for plugin in plugins)


def _add(variable: str, flag: str, *, unless: str) -> bool:
  """Add a flag to an environment variable.

  Nothing is added if the value contains `unless` or names a file of flags.

  Returns:
    Whether the flag was added.
  """
  given = os.environ.get(variable, '')
  if unless in given or (given and not given.lstrip().startswith('-')):
    return False
  os.environ[variable] = f'{given} {flag}'.strip()
  return True
