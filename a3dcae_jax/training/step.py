"""One update of both networks from one forward pass (Algorithm 1)."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import optax

from a3dcae_jax.config import fields
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.ops.masking import fill_masked, masked_frames
from a3dcae_jax.training.losses import (
  discriminator_loss,
  generator_adversarial_loss,
  reconstruction_loss,
)
from a3dcae_jax.training.noise import clip_noise, example_keys, pixel_noise
from a3dcae_jax.training.state import TrainState

Metrics = dict[str, jax.Array]
TrainStep = Callable[[TrainState, jax.Array, jax.Array], tuple[TrainState, Metrics]]

# Lower bound of the cotangents of logits, so that the ratio of two of them stays finite.
_SMALLEST_COTANGENT = 1e-20


def clip_masks(
  seed: int, step: jax.Array, first_example: jax.Array, shape: tuple[int, ...], loss: fields.Loss
) -> jax.Array:
  """Draw the masked frames of each clip, at a random offset per clip.

  Like the noise, the offset of a clip depends on `seed`, `step` and the index of the clip in the
  global batch only.

  Args:
    seed: seed of the run.
    step: number of finished updates.
    first_example: index in the global batch of the first clip of this replica.
    shape: (B, T, ...).
    loss: period and length of the masks; the period is not 0.

  Returns:
    True where a frame is masked, bool [B, T].
  """
  step_key = jax.random.fold_in(jax.random.key(seed), step)
  step_key = jax.random.fold_in(step_key, 2**31)  # differs from the noise keys of all examples
  keys = example_keys(step_key, first_example, shape[0])

  def draw(key: jax.Array) -> jax.Array:
    return jax.random.randint(key, (), 0, loss.mask_period)

  offsets = jax.vmap(draw)(keys)
  return masked_frames(offsets, shape[1], every=loss.mask_period, run=loss.mask_length)


def make_train_step(
  generator: nn.Module,
  discriminator: nn.Module,
  optimizer: optax.GradientTransformation,
  loss: fields.Loss,
  *,
  seed: int,
  prepare: Callable[[jax.Array, jax.Array], jax.Array] = network_input,
  axis_name: str | None = None,
  gradient_dtype: str = 'float32',
) -> TrainStep:
  """Return one update of both networks as a pure function.

      L_R = L_rec + lambda L_adv      (Eq. 9)

  Both networks are updated from the same reconstruction (Algorithm 1, line 6). The discriminator
  is linearised once, at its parameters and at the reconstruction, and one backward pass gives
  each of the two losses its own gradient. So neither loss reaches the parameters of the other
  network.

  With masks, the auto-encoder sees zeros in place of the masked frames, and only these frames
  count in the reconstruction loss.

  Args:
    generator: the auto-encoder.
    discriminator: the discriminator.
    optimizer: used for both networks.
    loss: weight of the adversarial loss, noise and masks. A weight of 0 leaves the discriminator
      out of the program.
    seed: seed of noise and masks.
    prepare: (clips, mean_image) -> network input, float32 [B, T, H, W, 1].
    axis_name: mapped axis of the replicas, over which gradients and metrics are averaged; None
      for a single replica.
    gradient_dtype: dtype in which gradients travel between replicas. 'bfloat16' halves the bytes.

  Returns:
    The update `(state, clips, mean_image) -> (state, metrics)`, with clips uint8 [B, T, H, W]
    and the mean image [H, W]. The metrics are float32 scalars:
      rec: reconstruction error per pixel.
      gen: the auto-encoder's loss, Eq. 9.
      adv: the discriminator's loss, 2 ln 2 when it cannot tell clips from reconstructions.
      gen_adv: the adversarial part of the auto-encoder's loss.
      d_real, d_fake: mean probabilities that the discriminator gives clips and reconstructions.
      grad_norm: norm of both gradients together. It is finite only if every gradient is.
    `adv`, `gen_adv`, `d_real` and `d_fake` exist only with an adversarial loss.
  """

  def step(
    state: TrainState, clips: jax.Array, mean_image: jax.Array
  ) -> tuple[TrainState, Metrics]:
    real = prepare(clips, mean_image)
    first_example = 0
    if axis_name:
      first_example = jax.lax.axis_index(axis_name) * clips.shape[0]
    noisy = real
    if loss.noise == 'gaussian':
      noisy = real + clip_noise(seed, state.step, first_example, real.shape, loss.noise_std)
    elif loss.noise != 'none':
      noisy = real + pixel_noise(loss.noise, seed, state.step, first_example, clips)
    masked = None
    if loss.mask_period:
      masked = clip_masks(seed, state.step, first_example, real.shape, loss)

    def reconstruct(theta: Any) -> tuple[jax.Array, Any]:
      variables = {'params': theta, 'batch_stats': state.batch_stats}
      return _reconstruct(generator, variables, noisy, real, masked)

    recon, pull_generator, batch_stats = jax.vjp(reconstruct, state.generator, has_aux=True)
    rec, recon_cotangent = jax.value_and_grad(reconstruction_loss)(recon, real)
    metrics = {'rec': jnp.square(recon - real).mean(), 'gen': rec}
    phi_grads = None
    if loss.adversarial_weight:
      adversarial_cotangent, phi_grads, adversarial = _adversarial(
        discriminator, state.discriminator, real, recon
      )
      recon_cotangent += loss.adversarial_weight * adversarial_cotangent
      metrics |= adversarial
      metrics['gen'] = rec + loss.adversarial_weight * adversarial['gen_adv']
    (theta_grads,) = pull_generator(recon_cotangent)
    grads = (theta_grads, phi_grads)
    if axis_name:
      summed = discriminator.summed_gradients
      grads, metrics = _average(grads, metrics, axis_name, gradient_dtype, summed)
    metrics['grad_norm'] = optax.tree.norm(grads)
    return _apply(state, optimizer, grads, batch_stats), metrics

  return step


def _reconstruct(
  generator: nn.Module,
  variables: dict[str, Any],
  noisy: jax.Array,
  real: jax.Array,
  masked: jax.Array | None,
) -> tuple[jax.Array, Any]:
  """Return the reconstruction and the new batch statistics.

  Frames that are not masked are replaced by the real ones, so that their error is 0.
  """
  if masked is not None:
    noisy = fill_masked(noisy, jnp.zeros_like(noisy), masked)
  recon, updates = generator.apply(variables, noisy, train=True, mutable=['batch_stats'])
  if masked is not None:
    recon = fill_masked(real, recon, masked)
  return recon, updates.get('batch_stats', {})  # a network without normalisation has none


def _adversarial(
  discriminator: nn.Module, phi: Any, real: jax.Array, recon: jax.Array
) -> tuple[jax.Array, Any, Metrics]:
  """Run the discriminator once, forward and backward, for both losses.

  The discriminator processes each clip by itself, so the gradient that reaches a clip is
  proportional to the cotangent of that clip's logit. One backward pass therefore serves both
  losses: its result is scaled clip by clip with the ratio of the two cotangents. One pass also
  reads the discriminator's weights, the largest part of all parameters, and writes their
  gradient once.

  Returns:
    The cotangent of the reconstruction for L_adv, the gradient of `phi`, and metrics.
  """

  def discriminate(phi: Any, clips: jax.Array) -> jax.Array:
    return discriminator.apply({'params': phi}, clips)

  logits, pull = jax.vjp(discriminate, phi, jnp.concatenate([real, recon]))
  real_logits, fake_logits = jnp.split(logits, 2)
  gen_adv, gen_cotangent = jax.value_and_grad(generator_adversarial_loss)(fake_logits)
  adv, (real_cotangent, fake_cotangent) = jax.value_and_grad(discriminator_loss, (0, 1))(
    real_logits, fake_logits
  )
  fake_cotangent = jnp.maximum(fake_cotangent, _SMALLEST_COTANGENT)
  phi_grads, pulled = pull(jnp.concatenate([real_cotangent, fake_cotangent]))
  _, pulled_fake = jnp.split(pulled, 2)
  ratio = gen_cotangent / fake_cotangent
  recon_cotangent = pulled_fake * ratio[:, None, None, None, None]
  metrics = {
    'adv': adv,
    'gen_adv': gen_adv,
    'd_real': jax.nn.sigmoid(real_logits).mean(),
    'd_fake': jax.nn.sigmoid(fake_logits).mean(),
  }
  return recon_cotangent, phi_grads, metrics


def _average(
  grads: tuple[Any, Any],
  metrics: Metrics,
  axis_name: str,
  gradient_dtype: str,
  summed: tuple[tuple[str, ...], ...],
) -> tuple[tuple[Any, Any], Metrics]:
  """Average gradients and metrics over the replicas.

  Gradients are summed in `gradient_dtype`, and divided in their own dtype so that they are not
  rounded again. A single replica sends nothing, so nothing is rounded.

  Args:
    grads: gradients of the auto-encoder, and of the discriminator or None.
    metrics: scalars.
    axis_name: mapped axis of the replicas.
    gradient_dtype: dtype in which gradients travel.
    summed: paths of the discriminator's gradients that are sums over the replicas already.

  Returns:
    The means, in the structure of `grads` and `metrics`.
  """
  count = jax.lax.psum(1, axis_name)  # a Python number while tracing
  if count == 1:
    return grads, metrics

  def divide(total: jax.Array) -> jax.Array:
    return total / count

  theta_grads, phi_grads = grads
  phi_grads = flax.traverse_util.flatten_dict(phi_grads or {})
  sums = {}
  for path in summed:
    if path in phi_grads:
      sums[path] = phi_grads.pop(path)
  own = (theta_grads, phi_grads)
  sent = jax.tree.map(lambda grad: grad.astype(gradient_dtype), own)
  # A single psum: XLA combines it into as few reductions as possible.
  totals, metrics = jax.lax.psum((sent, metrics), axis_name)
  widened = jax.tree.map(lambda total, grad: total.astype(grad.dtype), totals, own)
  theta_totals, phi_totals = widened
  theta_grads, phi_grads = jax.tree.map(divide, (theta_totals, phi_totals | sums))
  phi_grads = flax.traverse_util.unflatten_dict(phi_grads) or None
  return (theta_grads, phi_grads), jax.tree.map(divide, metrics)


def _apply(
  state: TrainState,
  optimizer: optax.GradientTransformation,
  grads: tuple[Any, Any],
  batch_stats: Any,
) -> TrainState:
  """Update each network that has a gradient, and return the new state."""
  theta_grads, phi_grads = grads
  theta_updates, generator_opt = optimizer.update(theta_grads, state.generator_opt, state.generator)
  changes = {
    'generator': optax.apply_updates(state.generator, theta_updates),
    'generator_opt': generator_opt,
  }
  if phi_grads is not None:
    phi_updates, discriminator_opt = optimizer.update(
      phi_grads, state.discriminator_opt, state.discriminator
    )
    changes['discriminator'] = optax.apply_updates(state.discriminator, phi_updates)
    changes['discriminator_opt'] = discriminator_opt
  return state.replace(step=state.step + 1, batch_stats=batch_stats, **changes)
