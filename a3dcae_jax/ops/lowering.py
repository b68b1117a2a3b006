"""The one place that chooses how a 3D convolution is computed on this platform.

All lowerings give the same numbers to rounding:

- `direct`: one 3D convolution. Best on GPUs and TPUs, whose libraries tile it well.
- `folded`: the kernel's time taps are laid side by side in the channels and one 2D convolution does the rest.
- `summed`: one 2D convolution a time tap, added up: no folded copy, better where few channels come out.

XLA's CPU back end runs 2D convolutions through a tuned kernel and 3D ones at a quarter to a half of its rate.
Measured on 2 cores, float32, B = 4, GFLOP/s of (direct, folded, summed): 16->32 at 56x56 (42, 201, 94), 32->64 at 28x28
(104, 220, 207), 64->128 at 14x14 (172, 407, 221), 64->32 at 28x28 (58, 175, 196), 32->16 at 56x56 (31, 63, 103).
"""

import jax

LOWERINGS = ('direct', 'folded', 'summed')


def choose_lowering(kernel_shape, platform=None):
  """The lowering for a kernel `(kt, kh, kw, Cin, Cout)` on `platform` (default: the one JAX runs on)."""
  platform = platform or jax.default_backend()
  if platform != 'cpu':
    return 'direct'
  kernel_t, _, _, features_in, features_out = kernel_shape
  if kernel_t == 1:
    return 'folded'  # nothing to fold: a plain 2D convolution
  return 'summed' if features_out < features_in and features_out <= 32 else 'folded'


def laid_out(x):
  """`x` (any tree), and the gradient that comes back to it, laid out in memory once on CPUs; `x` as it is elsewhere.

  XLA's CPU back end otherwise fuses whole chains (normalisation, tanh, pooling) into each of their readers, computes them
  again for every output element, and walks them in the strides that a matrix product asks for. The barrier holds only
  if XLA's pass `cse_barrier_expander` is off, see `common.tuning`; without it, numbers are the same and slower.
  """
  return _laid_out(x) if jax.default_backend() == 'cpu' else x


@jax.custom_vjp
def _laid_out(x):
  return jax.lax.optimization_barrier(x)


def _laid_out_fwd(x):
  return _laid_out(x), None


def _laid_out_bwd(_, cotangent):
  floating = [leaf for leaf in jax.tree.leaves(cotangent) if leaf.dtype != jax.dtypes.float0]
  held = iter(jax.lax.optimization_barrier(floating))
  return (jax.tree.map(lambda leaf: leaf if leaf.dtype == jax.dtypes.float0 else next(held), cotangent),)


_laid_out.defvjp(_laid_out_fwd, _laid_out_bwd)
