"""The outermost layers, split by pool phase, so that the widest and emptiest map of the network is never laid out.

Conv1 has one input channel and is followed by a 1x2x2 pool; De-Conv5 has one output channel and follows a 1x2x2
un-pool. A 3x3 kernel at the four places of a 2x2 window reads a 4x4 patch, so each of the two layers is one matrix
product between the 16 numbers of a patch and 4 phases x F features, at half the resolution. Both are exact.
"""

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.ops.lowering import laid_out
from a3dcae_jax.ops.pooling import running_argmax
from a3dcae_jax.ops.shapes import check_divisible, check_rank

PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))
WINDOW = (1, 2, 2)


def conv_phases(x, kernel):
  """`conv3d` of a one-channel volume with a 1 x kh x kw kernel, its result sorted by place in 1x2x2 windows.

      y[b, t, h, w, 2*j + k, f] = conv3d(x, kernel)[b, t, 2*h + j, 2*w + k, f]

  The maximum over the axis before the last is then `max_pool3d_argmax(conv3d(x, kernel), (1, 2, 2))`, place by place.

  Args:
    x: [B, T, H, W, 1] floating; H, W even.
    kernel: [1, kh, kw, 1, F], dtype of `x`.

  Returns:
    [B, T, H/2, W/2, 4, F].
  """
  _check_outer('conv_phases', kernel, 3)
  check_rank('conv_phases: x', x, 'BTHWC')
  check_divisible('conv_phases', x, WINDOW)
  kernel_h, kernel_w, features = kernel.shape[1], kernel.shape[2], kernel.shape[4]
  low = ((kernel_h - 1) // 2, (kernel_w - 1) // 2)
  patches = _patches(x[..., 0], (kernel_h + 1, kernel_w + 1), low)
  weights = _phase_kernel(kernel[0, :, :, 0]).reshape(patches.shape[-1], 4 * features)
  return laid_out((patches @ weights).reshape(*patches.shape[:-1], 4, features))


@jax.custom_vjp
def max_over_phases(y):
  """Maximum over the four phases of `conv_phases`, and which phase had it: `max_pool3d_argmax` with window (1, 2, 2).

  Args:
    y: [..., 4, F] floating.

  Returns:
    (values [..., F], dtype of `y`; places [..., F] uint8, 0..3).

  Gradient: that of the values goes to the recorded phase.
  """
  return laid_out(running_argmax([y[..., phase, :] for phase in range(4)]))


def _max_over_phases_fwd(y):
  values, places = max_over_phases(y)
  return (values, places), places


def _max_over_phases_bwd(places, cotangents):
  index = jnp.arange(4, dtype=jnp.uint8)[:, None]
  zero = jnp.zeros((), cotangents[0].dtype)
  return (jnp.where(places[..., None, :] == index, cotangents[0][..., None, :], zero),)


max_over_phases.defvjp(_max_over_phases_fwd, _max_over_phases_bwd)


def deconv_unpooled(values, places, kernel):
  """`deconv3d(max_unpool3d(values, places, (1, 2, 2)), kernel)` for one output channel, without the un-pooled map.

  Each value meets the kernel shifted to its place: one product [.., 4*F] x [4*F, 16] gives every window's 4x4
  contribution, and neighbouring contributions are added where they overlap.

  Args:
    values: [B, T, H, W, F] floating. places: [B, T, H, W, F] uint8, 0..3. kernel: [1, kh, kw, F, 1].

  Returns:
    [B, T, 2*H, 2*W, 1], dtype of `values`.
  """
  _check_outer('deconv_unpooled', kernel, 4)
  kernel_h, kernel_w, features = kernel.shape[1:4]
  zero = jnp.zeros((), values.dtype)
  phases = [jnp.where(places == place, values, zero) for place in range(4)]
  weights = _phase_kernel(kernel[0, :, :, :, 0])  # [kh + 1, kw + 1, 4, F]
  weights = weights.reshape((kernel_h + 1) * (kernel_w + 1), 4 * features).T
  patches = laid_out(jnp.concatenate(phases, axis=-1) @ weights)
  low = ((kernel_h - 1) // 2, (kernel_w - 1) // 2)
  return _overlap_add(patches, (kernel_h + 1, kernel_w + 1), low)[..., None]


def _check_outer(name, kernel, single):
  check_rank(f'{name}: kernel', kernel, ('kt', 'kh', 'kw', 'Cin', 'Cout'))
  if kernel.shape[0] != 1 or kernel.shape[single] != 1:
    side = 'input' if single == 3 else 'output'
    raise ValueError(f'{name}: the kernel must have one time tap and one {side} channel, got shape {kernel.shape}')


def _phase_kernel(kernel):
  """[kh, kw, F] -> [kh + 1, kw + 1, 4, F]: the kernel moved to each of the four places of a 2x2 window."""
  return jnp.stack([jnp.pad(kernel, ((j, 1 - j), (k, 1 - k), (0, 0))) for j, k in PHASES], axis=2)


def _patches(x, size, low):
  """[B, T, H, W] -> [B, T, H/2, W/2, size_h * size_w]: patches at stride 2, the first starting at -low."""
  height, width = x.shape[2:]
  high = [s - 2 - l for s, l in zip(size, low, strict=True)]
  padded = jnp.pad(x, ((0, 0), (0, 0), (low[0], high[0]), (low[1], high[1])))
  taps = [padded[:, :, i:i + height - 1:2, j:j + width - 1:2] for i, j in np.ndindex(*size)]
  return jnp.stack(taps, axis=-1)


def _overlap_add(patches, size, low):
  """The transpose of `_patches`: [B, T, H, W, size_h * size_w] -> [B, T, 2*H, 2*W].

  Output row 2h + a collects patch row i of window h + (a + low - i) / 2, for every i of the parity of a + low.
  """
  batch, frames, height, width, _ = patches.shape
  grid = patches.reshape(batch, frames, height, width, *size)
  margin = max(size)
  padded = jnp.pad(grid, ((0, 0), (0, 0), (margin, margin), (margin, margin), (0, 0), (0, 0)))
  rows = []
  for a, b in PHASES:
    total = 0
    for i in range((a + low[0]) % 2, size[0], 2):
      for j in range((b + low[1]) % 2, size[1], 2):
        top, left = margin + (a + low[0] - i) // 2, margin + (b + low[1] - j) // 2
        total = total + padded[:, :, top:top + height, left:left + width, i, j]
    rows.append(total)
  stacked = jnp.stack(rows, axis=-1).reshape(batch, frames, height, width, 2, 2)
  return stacked.transpose(0, 1, 2, 4, 3, 5).reshape(batch, frames, 2 * height, 2 * width)
