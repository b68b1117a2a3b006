"""Batch normalisation as the affine map it is, so that a layer may apply it where the map is smallest."""

import jax
import jax.numpy as jnp
from flax import linen as nn

MOMENTUM, EPS = 0.9, 1e-5  # PyTorch's momentum of 0.1 counts the other way
STATISTICS = 'batch_statistics'  # marks in a compiled program what is sent for them


class Norm(nn.Module):
  """Batch normalisation of y [..., features]: gain * y + offset, with PyTorch's eps and momentum.

      gain = scale / sqrt(var + eps),   offset = bias - mean * gain

  Parameters 'scale', 'bias' and running statistics 'mean', 'var' (collection 'batch_stats') are float32.

  Attributes: features: C. axis_name: the mapped axis over which moments are averaged, or None. initial_scale: what 'scale' starts from.
  Source: Ioffe and Szegedy, arXiv:1502.03167.
  """

  features: int
  axis_name: str | None = None
  initial_scale: float = 1.0

  def setup(self):
    self.scale = self.param('scale', nn.initializers.constant(self.initial_scale), (self.features,))
    self.bias = self.param('bias', nn.initializers.zeros, (self.features,))
    self.mean = self.variable('batch_stats', 'mean', jnp.zeros, (self.features,))
    self.var = self.variable('batch_stats', 'var', jnp.ones, (self.features,))

  def sign(self):
    """+-1 [C]: of `scale`. What rises with sign * y rises with the normalised y, so a pool may go first."""
    return jnp.where(self.scale < 0, -1.0, 1.0)

  def at_rest(self):
    """tanh(bias) [C]: what the layer gives where y is its mean, as nearly everywhere in a map of few people. For rounding, so without a gradient."""
    return jnp.tanh(jax.lax.stop_gradient(self.bias))

  def affine(self, moments=None):
    """(gain [C], offset [C]) float32.

    Args: moments: (mean [C], mean square [C]) of y in training, by which the running statistics are updated; None takes these.
    """
    mean, var = (
      (self.mean.value, self.var.value) if moments is None else self._batch_statistics(*moments)
    )
    gain = self.scale * jax.lax.rsqrt(var + EPS)
    return gain, self.bias - mean * gain

  def _batch_statistics(self, mean, mean_square):
    if self.axis_name and not self.is_initializing():
      with jax.named_scope(STATISTICS):
        mean, mean_square = jax.lax.pmean((mean, mean_square), self.axis_name)
    var = jnp.maximum(mean_square - jnp.square(mean), 0.0)
    if not self.is_initializing():
      self.mean.value = MOMENTUM * self.mean.value + (1 - MOMENTUM) * mean
      self.var.value = MOMENTUM * self.var.value + (1 - MOMENTUM) * var
    return mean, var


def moments_of(y):
  """(mean, mean square) float32 [C] of y [..., C]."""
  y, axes = y.astype(jnp.float32), tuple(range(y.ndim - 1))
  return y.mean(axes), jnp.square(y).mean(axes)


def apply_affine(y, gain, offset):
  """gain * y + offset, computed in float32, in the dtype of y."""
  return (y.astype(jnp.float32) * gain + offset).astype(y.dtype)
