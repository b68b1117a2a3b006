"""The outermost layers, split by pool phase, so that the widest and emptiest map of the network is never laid out.

Conv1 has one input channel and is followed by a 1x2x2 pool; De-Conv5 has one output channel and follows a 1x2x2
un-pool. A 3x3 kernel at the four places of a 2x2 window reads a 4x4 patch, so each of the two layers is one matrix
product between the K = 16 numbers of a patch and 4 phases x F features, at half the resolution. All of it is exact.

    weights = phase_weights(kernel)                     [K, 4, F]
    conv, then pool:    pool_patches(extract_patches(x, size), weights, shift, activation)
    un-pool, then deconv:   overlap_add(spread_patches(values, places, weights), size)

The products have three implementations with the same four functions: `outer_xla`, `outer_pallas` on TPUs, `outer_triton` on GPUs.
"""

import functools
import math

import jax
import jax.numpy as jnp

from a3dcae_jax.ops import polyphase_pallas, polyphase_patches, polyphase_triton, polyphase_xla
from a3dcae_jax.ops.conv_algorithm import target_platform
from a3dcae_jax.ops.shapes import check_divisible, check_rank

WINDOW = (1, 2, 2)
# Both rise, and their derivatives can be had from their values: (function, derivative at the value).
ACTIVATIONS = {
  'tanh': (jnp.tanh, lambda value: 1 - jnp.square(value)),
  'relu': (jax.nn.relu, lambda value: (value > 0).astype(value.dtype)),
  'none': (lambda x: x, jnp.ones_like),
}
IMPLEMENTATIONS = {'xla': polyphase_xla, 'pallas': polyphase_pallas, 'triton': polyphase_triton}


def extract_patches(x, kernel_size):
  """The (kh+1) x (kw+1) pixels that a kernel reads from the four places of each 2x2 window.

  Args: x: [B, T, H, W, 1]; H, W even. kernel_size: static (kh, kw).
  Returns: [B, T, H/2, W/2, K], K = (kh+1) (kw+1), row-major; zeros beyond the border.
  """
  check_rank('extract_patches: x', x, 'BTHWC')
  check_divisible('extract_patches', x, WINDOW)
  return polyphase_patches.extract(x.squeeze(-1), tuple(kernel_size))


def phase_weights(kernel):
  """[1, kh, kw, 1, F] or [1, kh, kw, F, 1] -> [K, 4, F]: the kernel moved to each of the four places of a window."""
  check_rank('phase_weights: kernel', kernel, ('kt', 'kh', 'kw', 'Cin', 'Cout'))
  if kernel.shape[0] != 1 or 1 not in kernel.shape[3:]:
    raise ValueError(
      f'phase_weights: the kernel must have one time tap and one input or output channel, got shape {kernel.shape}'
    )
  flat = kernel.reshape(kernel.shape[1], kernel.shape[2], -1)
  moved = jnp.stack(
    [jnp.pad(flat, ((j, 1 - j), (k, 1 - k), (0, 0))) for j, k in polyphase_patches.PHASES], axis=2
  )
  return moved.reshape(-1, 4, flat.shape[-1])


def patch_moments(patches, weights):
  """Mean and mean square of the convolution's whole output, all four phases, without computing it.

  y = w^T p for a patch p and a phase's weights w, so over all windows and phases mean(y) = mean_k w_k^T mean(p) and
  mean(y^2) = mean_k w_k^T mean(p p^T) w_k: K + K^2 numbers hold all that is asked of the patches.

  Args: patches: [B, T, H, W, K]. weights: [K, 4, F] float32. Returns: two float32 [F].
  """
  flat = patches.reshape(-1, patches.shape[-1])
  second = jnp.einsum('nk,nl->kl', flat, flat, preferred_element_type=jnp.float32) / len(flat)
  first = flat.mean(0, dtype=jnp.float32)
  return (
    jnp.einsum('k,kpf->f', first, weights, precision='highest') / 4,
    jnp.einsum('kpf,kl,lpf->f', weights, second, weights, precision='highest') / 4,
  )


def pool_patches(patches, weights, shift, activation='none', implementation=None):
  """Convolution, shift, 1x2x2 pool and activation in one: places as in `max_pool3d_argmax`.

      values[..., f] = activation(max over p of sum over k of patches[..., k] weights[k, p, f] + shift[f])

  Args:
    patches: [B, T, H, W, K]. weights: [K, 4, F] float32, computed with in the dtype of `patches`. shift: [F].
    activation: of `ACTIVATIONS`; being monotone it may follow the pool. implementation: of `IMPLEMENTATIONS`; None chooses by platform.

  Returns: (values [B, T, H, W, F], dtype of `patches`; places uint8 0..3). Gradient: through the recorded places.
  """
  return _pool(
    patches, weights, shift, activation, implementation or _implementation(patches, weights)
  )


def spread_patches(values, places, weights, implementation=None):
  """What each un-pooled value gives to the patch of its window.

      patches[..., k] = sum over f of values[..., f] weights[k, places[..., f], f]

  Args: values: [B, T, H, W, F]. places: uint8 [B, T, H, W, F], 0..3. weights: [K, 4, F] float32. Returns: [B, T, H, W, K].
  """
  return _spread(values, places, weights, implementation or _implementation(values, weights))


def deconv_unpooled(values, places, kernel, implementation=None):
  """`deconv3d(max_unpool3d(values, places, (1, 2, 2)), kernel)` for one output channel, without the un-pooled map.

  Args: values: [B, T, H, W, F] floating. places: [B, T, H, W, F] uint8, 0..3. kernel: [1, kh, kw, F, 1] float32.
  Returns: [B, T, 2*H, 2*W, 1], dtype of `values`.
  """
  return overlap_add(
    spread_patches(values, places, phase_weights(kernel), implementation), kernel.shape[1:3]
  )


def overlap_add(patches, kernel_size):
  """The transpose of `extract_patches`: [B, T, H, W, K] -> [B, T, 2*H, 2*W, 1]. Neighbouring patches are added where they overlap."""
  return polyphase_patches.overlap_add(patches, tuple(kernel_size))[..., None]


def _implementation(windows, weights):
  if target_platform() == 'gpu' and polyphase_triton.fits(
    math.prod(windows.shape[:-1]), weights.shape[0], weights.shape[2]
  ):
    return 'triton'
  return 'pallas' if target_platform() == 'tpu' else 'xla'


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _pool(patches, weights, shift, activation, implementation):
  return IMPLEMENTATIONS[implementation].pool(
    patches, weights.astype(patches.dtype), shift, ACTIVATIONS[activation][0]
  )


def _pool_fwd(patches, weights, shift, activation, implementation):
  values, places = _pool(patches, weights, shift, activation, implementation)
  return (values, places), (patches, weights, shift, values, places)


def _pool_bwd(activation, implementation, residuals, cotangents):
  patches, weights, shift, values, places = residuals
  kernels, cotangent = (
    IMPLEMENTATIONS[implementation],
    cotangents[0] * ACTIVATIONS[activation][1](values),
  )
  return (
    kernels.spread(cotangent, places, weights.astype(cotangent.dtype)),
    kernels.weight_gradient(patches, cotangent, places).astype(weights.dtype),
    cotangent.sum((0, 1, 2, 3), dtype=jnp.float32).astype(shift.dtype),
  )


_pool.defvjp(_pool_fwd, _pool_bwd)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _spread(values, places, weights, implementation):
  return IMPLEMENTATIONS[implementation].spread(values, places, weights.astype(values.dtype))


def _spread_fwd(values, places, weights, implementation):
  return _spread(values, places, weights, implementation), (values, places, weights)


def _spread_bwd(implementation, residuals, cotangent):
  values, places, weights = residuals
  kernels = IMPLEMENTATIONS[implementation]
  return (
    kernels.select(cotangent, weights.astype(cotangent.dtype), places),
    None,
    kernels.weight_gradient(cotangent, values, places).astype(weights.dtype),
  )


_spread.defvjp(_spread_fwd, _spread_bwd)
