"""The one place that chooses how a 3D convolution is computed on this platform.

All conv_algorithms give the same numbers to rounding:

- `direct`: one 3D convolution. Best on GPUs and TPUs, whose libraries tile it well.
- `adjoint`: the same, with the kernel's gradient computed as that of the adjoint convolution: cuDNN computes the gradient of a convolution to fewer
  channels two and a half times as fast that way (128->64 at 16x112x112, B = 32, bfloat16, on an H200: 11.2 and 4.3 ms).
- `folded`: the kernel's time taps are laid side by side in the channels and one 2D convolution does the rest.
- `summed`: one 2D convolution a time tap, added up: no folded copy, better where few channels come out.
- `winograd`: half to two thirds of the products by minimal filtering along time (`ops.winograd`), then 2D convolutions.

XLA's CPU back end runs 2D convolutions through a tuned kernel and 3D ones at a quarter to a half of its rate.
Measured on 2 cores, float32, B = 4, GFLOP/s (of the direct method's FLOPs) of direct, folded, summed, winograd: 16->32 at
16x56x56 56, 195, 111, 362; 32->64 at 8x28x28 102, 211, 276, 403; 64->128 at 4x14x14 173, 417, 286, 426; 64->32 at 8x28x28
56, 179, 195, 348; 32->16 at 16x56x56 29, 60, 93, 277.
"""

import contextlib
import contextvars

import jax
import jax.numpy as jnp

CONV_ALGORITHMS = ('direct', 'adjoint', 'folded', 'summed', 'winograd')


_PLATFORM = contextvars.ContextVar('platform', default=None)


@contextlib.contextmanager
def tracing_for(platform):
  """Inside, programs are traced for `platform` although JAX runs on another: for compiling ahead of time, and for programs that are to travel.

  platform: 'tpu', 'gpu' or 'cpu', or 'accelerator' for any of the first two: bfloat16 and direct convolutions as on these, without kernels of either.
  """
  token = _PLATFORM.set(platform)
  try:
    yield
  finally:
    _PLATFORM.reset(token)


def target_platform():
  """The platform that programs are traced for: that of `tracing_for`, otherwise the one JAX runs on."""
  return _PLATFORM.get() or jax.default_backend()


def choose_lowering(kernel_shape, frames, dtype, platform=None):
  """The conv_algorithm for a kernel `(kt, kh, kw, Cin, Cout)` over `frames` frames on `platform` (default: `target_platform()`)."""
  platform = platform or target_platform()
  kernel_t, _, _, features_in, features_out = kernel_shape
  if platform != 'cpu':
    return 'adjoint' if platform == 'gpu' and features_out < features_in else 'direct'
  if kernel_t == 1:
    return 'folded'  # nothing to fold: a plain 2D convolution
  if dtype == jnp.float32 and kernel_t == 3 and frames % 2 == 0:
    return 'winograd'  # its combinations lose two bits: not for bfloat16
  return 'summed' if features_out < features_in and features_out <= 32 else 'folded'


def laid_out(x):
  """`x` (any tree), and the gradient that comes back to it, laid out in memory once on CPUs; `x` as it is elsewhere.

  XLA's CPU back end otherwise fuses whole chains (normalisation, tanh, pooling) into each of their readers, computes them
  again for every output element, and walks them in the strides that a matrix product asks for. The barrier holds only
  if XLA's pass `cse_barrier_expander` is off, see `common.tuning`; without it, numbers are the same and slower.
  """
  return _laid_out(x) if target_platform() == 'cpu' else x


def batch_parts(x):
  """`x` as two halves of its first axis on CPUs, where that is a known even number; otherwise whole. Returns a list.

  XLA's CPU back end gives operations to another thread only while more than 8 are ready, and in jax 0.10 each of its convolutions runs on one core. The 6
  products of a minimal filtering are too few, those of two halves are enough. In jax 0.12, where a convolution takes all cores, it changes nothing.
  """
  batch = x.shape[0]
  if target_platform() != 'cpu' or not isinstance(batch, int) or batch % 2:
    return [x]
  return jax.lax.split(x, [batch // 2] * 2)


def side_by_side(results, operands):
  """`results` (any tree), which XLA's CPU back end computed from `operands` in no order among themselves.

  Operands stay in memory until the last result is there. Otherwise the second result is written over the operand of the first, so it has to wait for the
  first, the third for the second, and one core works where two could.
  """
  return (
    jax.lax.optimization_barrier((results, operands))[0] if target_platform() == 'cpu' else results
  )


@jax.custom_vjp
def _laid_out(x):
  return jax.lax.optimization_barrier(x)


def _laid_out_fwd(x):
  return _laid_out(x), None


def _laid_out_bwd(_, cotangent):
  floating = [leaf for leaf in jax.tree.leaves(cotangent) if leaf.dtype != jax.dtypes.float0]
  held = iter(jax.lax.optimization_barrier(floating))
  return (
    jax.tree.map(lambda leaf: leaf if leaf.dtype == jax.dtypes.float0 else next(held), cotangent),
  )


_laid_out.defvjp(_laid_out_fwd, _laid_out_bwd)
