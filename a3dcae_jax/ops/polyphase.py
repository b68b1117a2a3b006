"""First and last layer by the polyphase method, without their largest map.

Conv1 has one input channel and is followed by a 1x2x2 pool. The last deconvolution has one output
channel and follows a 1x2x2 un-pooling. At the four positions (phases) of a 2x2 window a 3x3 kernel
reads a patch of 4x4 pixels. So each of these layers is one matrix product at half the resolution,
between the K = 16 pixels of a patch and 4 phases x F features. The result is exact.

    weights = phase_weights(kernel)                     [K, 4, F]
    conv, then pool:
      pool_patches(extract_patches(x, size), weights, shift, activation)
    un-pool, then deconv:
      overlap_add(unpool_patches(values, pool_indices, weights), size)

Three implementations of the products have the same functions `pool`, `unpool`, `gather` and
`weight_gradient`: `polyphase_xla` for every platform, `polyphase_pallas` for TPUs,
`polyphase_triton` for GPUs.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from a3dcae_jax.ops import polyphase_pallas, polyphase_patches, polyphase_triton, polyphase_xla
from a3dcae_jax.ops.conv_algorithm import materialise, target_platform
from a3dcae_jax.ops.shapes import check_divisible, check_rank

WINDOW = (1, 2, 2)

Residuals = tuple[jax.Array, ...]


class Activation(NamedTuple):
  """A non-decreasing activation, whose derivative follows from its value.

  Attributes:
    function: the activation.
    slope: its derivative, from the value of `function`.
  """

  function: Callable[[jax.Array], jax.Array]
  slope: Callable[[jax.Array], jax.Array]


def _tanh_slope(value: jax.Array) -> jax.Array:
  return 1 - jnp.square(value)


def _relu_slope(value: jax.Array) -> jax.Array:
  return (value > 0).astype(value.dtype)


def _identity(x: jax.Array) -> jax.Array:
  return x


ACTIVATIONS = {
  'tanh': Activation(jnp.tanh, _tanh_slope),
  'relu': Activation(jax.nn.relu, _relu_slope),
  'none': Activation(_identity, jnp.ones_like),
}
IMPLEMENTATIONS = {'xla': polyphase_xla, 'pallas': polyphase_pallas, 'triton': polyphase_triton}


def extract_patches(x: jax.Array, kernel_size: Sequence[int]) -> jax.Array:
  """Return the pixels that a kernel reads at the four positions of each 2x2 window.

  Args:
    x: [B, T, H, W, 1]; H and W even.
    kernel_size: static (kh, kw).

  Returns:
    [B, T, H/2, W/2, K] with K = (kh+1) (kw+1), row-major; zeros beyond the border.

  Raises:
    ValueError: naming the axis that is odd.
  """
  check_rank('extract_patches: x', x, 'BTHWC')
  check_divisible('extract_patches', x, WINDOW)
  return polyphase_patches.extract(x.squeeze(-1), tuple(kernel_size))


def phase_weights(kernel: jax.Array) -> jax.Array:
  """Return the kernel, shifted to each of the four positions of a 2x2 window.

  Args:
    kernel: [1, kh, kw, 1, F] or [1, kh, kw, F, 1].

  Returns:
    [K, 4, F].

  Raises:
    ValueError: if the kernel has another form.
  """
  check_rank('phase_weights: kernel', kernel, ('kt', 'kh', 'kw', 'Cin', 'Cout'))
  taps, kernel_h, kernel_w, *channels = kernel.shape
  if taps != 1 or 1 not in channels:
    raise ValueError(
      'phase_weights: the kernel must have one time tap and one input or output channel, '
      f'got shape {kernel.shape}'
    )
  flat = kernel.reshape(kernel_h, kernel_w, -1)
  features = flat.shape[-1]
  moved = []
  for row, column in polyphase_patches.PHASES:
    pads = ((row, 1 - row), (column, 1 - column), (0, 0))
    moved.append(jnp.pad(flat, pads))
  weights = jnp.stack(moved, axis=2)
  return weights.reshape(-1, 4, features)


def patch_moments(patches: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Compute mean and mean square of a convolution's output, without the output.

  For a patch p and the weights w_k of phase k, y = w_k^T p. So over all windows and phases

      mean(y) = mean_k w_k^T mean(p)
      mean(y^2) = mean_k w_k^T mean(p p^T) w_k

  so K + K^2 means over the patches are enough.

  Args:
    patches: [B, T, H, W, K].
    weights: float32 [K, 4, F].

  Returns:
    Two float32 [F].
  """
  flat = patches.reshape(-1, patches.shape[-1])
  outer_sum = jnp.einsum(
    'nk,nl->kl',
    flat,
    flat,
    preferred_element_type=jnp.float32,
  )
  second = outer_sum / len(flat)
  first = flat.mean(0, dtype=jnp.float32)

  # Both sums are over the 4 phases.
  phase_sum = jnp.einsum(
    'k,kpf->f',
    first,
    weights,
    precision='highest',
  )
  mean = phase_sum / 4
  phase_sum = jnp.einsum(
    'kpf,kl,lpf->f',
    weights,
    second,
    weights,
    precision='highest',
  )
  mean_square = phase_sum / 4
  return mean, mean_square


def pool_patches(
  patches: jax.Array,
  weights: jax.Array,
  shift: jax.Array,
  activation: str = 'none',
  implementation: str | None = None,
) -> tuple[jax.Array, jax.Array]:
  """Compute convolution, shift, 1x2x2 pool and activation in one.

      values[..., f] = activation(max over p of sum over k of patches[..., k] weights[k, p, f]
                                  + shift[f])

  The activation is non-decreasing, so it may be applied after the pool. The gradient goes through
  the recorded pool indices.

  Args:
    patches: [B, T, H, W, K], from `extract_patches`.
    weights: float32 [K, 4, F], from `phase_weights`; rounded to the data type of `patches`.
    shift: [F].
    activation: one of `ACTIVATIONS`.
    implementation: one of `IMPLEMENTATIONS`; None chooses by platform.

  Returns:
    Values [B, T, H, W, F] in the data type of `patches`, and pool indices in uint8, 0 to 3, as in
    `max_pool3d_argmax`.
  """
  implementation = implementation or _implementation(patches, weights)
  return _pool(patches, weights, shift, activation, implementation)


def unpool_patches(
  values: jax.Array,
  pool_indices: jax.Array,
  weights: jax.Array,
  implementation: str | None = None,
) -> jax.Array:
  """Compute what each un-pooled value adds to the patch of its window.

      patches[..., k] = sum over f of values[..., f] weights[k, pool_indices[..., f], f]

  Args:
    values: [B, T, H, W, F].
    pool_indices: uint8 [B, T, H, W, F], 0 to 3.
    weights: float32 [K, 4, F], from `phase_weights`.
    implementation: as in `pool_patches`.

  Returns:
    [B, T, H, W, K].
  """
  implementation = implementation or _implementation(values, weights)
  return _unpool(values, pool_indices, weights, implementation)


def deconv_unpooled(
  values: jax.Array,
  pool_indices: jax.Array | None,
  kernel: jax.Array,
  implementation: str | None = None,
) -> jax.Array:
  """Compute 1x2x2 un-pooling and a deconvolution to one channel in one.

  It equals `deconv3d(max_unpool3d(values, pool_indices, (1, 2, 2)), kernel)`, without the un-pooled
  map.

  Args:
    values: [B, T, H, W, F], floating point.
    pool_indices: uint8 [B, T, H, W, F], 0 to 3; None is 0 everywhere, the upper left.
    kernel: float32 [1, kh, kw, F, 1].
    implementation: as in `pool_patches`.

  Returns:
    [B, T, 2*H, 2*W, 1], data type of `values`.
  """
  weights = phase_weights(kernel)
  if pool_indices is None:
    patches = materialise(values @ weights[:, 0].astype(values.dtype).T)
  else:
    patches = unpool_patches(values, pool_indices, weights, implementation)
  return overlap_add(patches, kernel.shape[1:3])


def overlap_add(patches: jax.Array, kernel_size: Sequence[int]) -> jax.Array:
  """Add overlapping patches up to an image: the transpose of `extract_patches`.

  Args:
    patches: [B, T, H, W, K].
    kernel_size: static (kh, kw).

  Returns:
    [B, T, 2*H, 2*W, 1].
  """
  return polyphase_patches.overlap_add(patches, tuple(kernel_size))[..., None]


def _implementation(windows: jax.Array, weights: jax.Array) -> str:
  taps, _, features = weights.shape
  count = math.prod(windows.shape[:-1])
  platform = target_platform()
  if platform == 'gpu' and polyphase_triton.fits(count, taps, features):
    return 'triton'
  if platform == 'tpu':
    return 'pallas'
  return 'xla'


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _pool(
  patches: jax.Array, weights: jax.Array, shift: jax.Array, activation: str, implementation: str
) -> tuple[jax.Array, jax.Array]:
  products = IMPLEMENTATIONS[implementation]
  weights = weights.astype(patches.dtype)
  return products.pool(patches, weights, shift, ACTIVATIONS[activation].function)


def _pool_fwd(
  patches: jax.Array, weights: jax.Array, shift: jax.Array, activation: str, implementation: str
) -> tuple[tuple[jax.Array, jax.Array], Residuals]:
  values, pool_indices = _pool(patches, weights, shift, activation, implementation)
  return (values, pool_indices), (patches, weights, shift, values, pool_indices)


def _pool_bwd(
  activation: str,
  implementation: str,
  residuals: Residuals,
  cotangents: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array, jax.Array]:
  patches, weights, shift, values, pool_indices = residuals
  values_grad, _ = cotangents
  products = IMPLEMENTATIONS[implementation]
  slope = ACTIVATIONS[activation].slope
  sums_grad = values_grad * slope(values)

  rounded_weights = weights.astype(sums_grad.dtype)
  patches_grad = products.unpool(sums_grad, pool_indices, rounded_weights)
  weights_grad = products.weight_gradient(patches, sums_grad, pool_indices)
  weights_grad = weights_grad.astype(weights.dtype)
  shift_grad = sums_grad.sum((0, 1, 2, 3), dtype=jnp.float32)
  return patches_grad, weights_grad, shift_grad.astype(shift.dtype)


_pool.defvjp(_pool_fwd, _pool_bwd)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _unpool(
  values: jax.Array, pool_indices: jax.Array, weights: jax.Array, implementation: str
) -> jax.Array:
  products = IMPLEMENTATIONS[implementation]
  weights = weights.astype(values.dtype)
  return products.unpool(values, pool_indices, weights)


def _unpool_fwd(
  values: jax.Array, pool_indices: jax.Array, weights: jax.Array, implementation: str
) -> tuple[jax.Array, Residuals]:
  patches = _unpool(values, pool_indices, weights, implementation)
  return patches, (values, pool_indices, weights)


def _unpool_bwd(
  implementation: str, residuals: Residuals, cotangent: jax.Array
) -> tuple[jax.Array, None, jax.Array]:
  values, pool_indices, weights = residuals
  products = IMPLEMENTATIONS[implementation]
  rounded_weights = weights.astype(cotangent.dtype)
  values_grad = products.gather(cotangent, rounded_weights, pool_indices)
  weights_grad = products.weight_gradient(cotangent, values, pool_indices)
  return values_grad, None, weights_grad.astype(weights.dtype)


_unpool.defvjp(_unpool_fwd, _unpool_bwd)
