"""Batch normalisation as an affine map, to be applied where a map is smallest."""

import jax
import jax.numpy as jnp
from flax import linen as nn

# PyTorch writes the same momentum as 0.1, the weight of the new value.
MOMENTUM = 0.9
EPS = 1e-5

# Name scope of the all-reduce of batch statistics; it stands in compiled programs.
STATISTICS = 'batch_statistics'


class Norm(nn.Module):
  """Batch normalisation of y [..., C] as gain * y + offset.

      gain = scale / sqrt(var + eps),   offset = bias - mean * gain

  eps and momentum are those of PyTorch. The running variance is the biased one, the mean of
  (y - mean)^2, as in Flax and TensorFlow; PyTorch's is larger by n / (n - 1), where n is the number
  of values of a channel in a batch. Parameters 'scale' and 'bias' and the running statistics 'mean'
  and 'var' (collection 'batch_stats') are float32.

  Attributes:
    features: C.
    axis_name: the mapped axis over which moments are averaged, or None.
    initial_scale: initial value of 'scale'.

  Source: Ioffe and Szegedy, arXiv:1502.03167.
  """

  features: int
  axis_name: str | None = None
  initial_scale: float = 1.0

  def setup(self) -> None:
    """Create parameters and running statistics."""
    shape = (self.features,)
    self.scale = self.param('scale', nn.initializers.constant(self.initial_scale), shape)
    self.bias = self.param('bias', nn.initializers.zeros, shape)
    self.mean = self.variable('batch_stats', 'mean', jnp.zeros, shape)
    self.var = self.variable('batch_stats', 'var', jnp.ones, shape)

  def sign(self) -> jax.Array:
    """Return the sign of the scale, 1 or -1 per channel.

    sign * y has its maximum where the normalised y has it, so a pool may come before the
    normalisation.
    """
    return jnp.where(self.scale < 0, -1.0, 1.0)

  def bias_activation(self) -> jax.Array:
    """Return tanh(bias) [C], the layer's value where y is its mean.

    Most of a map with few people has about this value. It is used only to reduce rounding errors,
    so it has no gradient.
    """
    return jnp.tanh(jax.lax.stop_gradient(self.bias))

  def affine(
    self, moments: tuple[jax.Array, jax.Array] | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """Return gain and offset, both float32 [C].

    Args:
      moments: in training (mean [C], mean square [C]) of y, which also update the running
        statistics; None uses the running statistics.
    """
    if moments is None:
      mean = self.mean.value
      var = self.var.value
    else:
      mean, var = self._batch_statistics(*moments)
    gain = self.scale * jax.lax.rsqrt(var + EPS)
    offset = self.bias - mean * gain
    return gain, offset

  def _batch_statistics(
    self, mean: jax.Array, mean_square: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Return mean and variance over all replicas, and update the running ones."""
    initializing = self.is_initializing()
    if self.axis_name and not initializing:
      moments = (mean, mean_square)
      with jax.named_scope(STATISTICS):
        mean, mean_square = jax.lax.pmean(moments, self.axis_name)
    var = mean_square - jnp.square(mean)
    # Rounding may make the difference negative.
    var = jnp.maximum(var, 0.0)
    if not initializing:
      self._update(self.mean, mean)
      self._update(self.var, var)
    return mean, var

  def _update(self, running: nn.Variable, value: jax.Array) -> None:
    """Move a running statistic towards the value of this batch."""
    running.value = MOMENTUM * running.value + (1 - MOMENTUM) * value


def moments_of(y: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Return the mean and mean square of y [..., C], both float32 [C]."""
  y = y.astype(jnp.float32)
  axes = tuple(range(y.ndim - 1))
  mean = y.mean(axes)
  mean_square = jnp.square(y).mean(axes)
  return mean, mean_square


def apply_affine(y: jax.Array, gain: jax.Array, offset: jax.Array) -> jax.Array:
  """Return gain * y + offset in the data type of y, computed in float32."""
  normalised = y.astype(jnp.float32) * gain + offset
  return normalised.astype(y.dtype)
