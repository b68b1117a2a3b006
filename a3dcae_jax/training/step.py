"""One update of both networks from one forward pass (Algorithm 1)."""

from typing import NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import optax

from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.ops.masking import fill_masked, masked_frames
from a3dcae_jax.training.losses import (
  discriminator_loss,
  generator_adversarial_loss,
  reconstruction_loss,
)


class Objective(NamedTuple):
  """What is minimised: Eq. 9, L_R = L_rec + adversarial_weight * L_adv, and how clips are corrupted.

  adversarial_weight: lambda. 0 leaves the discriminator out of the program. noise_std: of the Gaussian noise on
  [0, 1] pixels. reduction, form: see `losses`. mask_period: with k > 0, runs of `mask_length` frames, one every k, are hidden
  from the auto-encoder (at a random offset a clip) and they alone are reconstructed; 0, as in the paper, hides none.
  """

  adversarial_weight: float = 1e-3
  noise_std: float = 0.005
  reduction: str = 'mean'
  form: str = 'non_saturating'
  mask_period: int = 0
  mask_length: int = 1


def clip_noise(seed, step, first_example, shape, std):
  """Gaussian noise [B, ...] whose every example depends on (seed, step, its index in the whole batch) alone.

  So a run draws the same noise on one device as on many. `first_example` is the index of this replica's first one.
  """
  keys = _example_keys(jax.random.fold_in(jax.random.key(seed), step), first_example, shape[0])
  return std * jax.vmap(lambda key: jax.random.normal(key, shape[1:], jnp.float32))(keys)


def clip_masks(seed, step, first_example, shape, objective):
  """Hidden frames bool [B, T], at offsets that depend on (seed, step, index in the whole batch) alone, as the noise does."""
  step_key = jax.random.fold_in(
    jax.random.fold_in(jax.random.key(seed), step), 2**31
  )  # apart from the examples' noise keys
  keys = _example_keys(step_key, first_example, shape[0])
  offsets = jax.vmap(lambda key: jax.random.randint(key, (), 0, objective.mask_period))(keys)
  return masked_frames(offsets, shape[1], every=objective.mask_period, run=objective.mask_length)


def _example_keys(step_key, first_example, count):
  return jax.vmap(lambda i: jax.random.fold_in(step_key, i))(
    first_example + jnp.arange(count, dtype=jnp.int32)
  )


def make_train_step(
  generator,
  discriminator,
  optimizer,
  objective,
  *,
  seed,
  axis_name=None,
  reduce_dtype='float32',
  **frame_options,
):
  """The update `(state, clips uint8 [B, T, H, W], mean_image [H, W]) -> (state, metrics)` as a pure function.

  Both networks are updated from the same reconstruction (Algorithm 1, line 6): the discriminator's pass over it is
  linearised once, at its parameters and at the reconstruction, and one pass back gives each of the two losses its own
  gradient. So the discriminator's loss never reaches the auto-encoder, nor the other way round.

  Args:
    generator, discriminator: linen modules. optimizer: an optax transformation, the same for both.
    objective: `Objective`. seed: of the noise.
    axis_name: the mapped axis of the replicas, over which gradients and metrics are averaged; None for one.
    reduce_dtype: what gradients are rounded to on their way between replicas: 'float32', or 'bfloat16' for half the bytes.
    frame_options: of `network_input`.

  Returns:
    The step. Metrics are float32 scalars: `rec` (per pixel), `adv` (the discriminator's loss, 2 ln 2 when confused), `gen`
    (Eq. 9), `d_real` and `d_fake` (mean probabilities), `grad_norm` (of both gradients together; not finite as soon as
    anything is).
  """

  def step(state, clips, mean_image):
    real = network_input(clips, mean_image, **frame_options)
    first = jax.lax.axis_index(axis_name) * clips.shape[0] if axis_name else 0
    noisy = real + clip_noise(seed, state.step, first, real.shape, objective.noise_std)
    hidden = (
      clip_masks(seed, state.step, first, real.shape, objective) if objective.mask_period else None
    )

    def reconstruct(theta):
      seen = noisy if hidden is None else fill_masked(noisy, jnp.zeros_like(noisy), hidden)
      recon, updates = generator.apply(
        {'params': theta, 'batch_stats': state.batch_stats},
        seen,
        train=True,
        mutable=['batch_stats'],
      )
      return (recon if hidden is None else fill_masked(real, recon, hidden)), updates

    recon, pull_generator, updates = jax.vjp(reconstruct, state.generator, has_aux=True)
    rec, recon_cotangent = jax.value_and_grad(reconstruction_loss)(recon, real, objective.reduction)
    metrics = {'rec': jnp.square(recon - real).mean(), 'gen': rec}
    phi_grads = None
    if objective.adversarial_weight:
      adversarial_cotangent, phi_grads, adversarial = _adversarial(
        discriminator, state.discriminator, real, recon, objective
      )
      recon_cotangent += objective.adversarial_weight * adversarial_cotangent
      metrics |= adversarial | {'gen': rec + objective.adversarial_weight * adversarial['gen_adv']}
    (theta_grads,) = pull_generator(recon_cotangent)
    grads, metrics = _average(
      (theta_grads, phi_grads), metrics, axis_name, reduce_dtype, discriminator.summed_gradients
    )
    metrics['grad_norm'] = optax.global_norm(grads)
    return _apply(state, optimizer, grads, updates['batch_stats']), metrics

  return step


_SMALLEST = (
  1e-20  # a cotangent of a logit below it is raised to it, so that the ratio of two stays finite
)


def _adversarial(discriminator, phi, real, recon, objective):
  """(cotangent of the reconstruction, gradient of phi, metrics) from one pass over clips and reconstructions together.

  The discriminator judges each clip by itself, so what it sends back to a clip is proportional to the cotangent of that
  clip's logit: one pass back serves both losses, scaled clip by clip by the ratio of their cotangents. One pass also
  reads the discriminator's weights, most of all parameters, and writes their gradient once.
  """

  def judge(phi, clips):
    return discriminator.apply({'params': phi}, clips)

  logits, pull = jax.vjp(judge, phi, jnp.concatenate([real, recon]))
  real_logits, fake_logits = jnp.split(logits, 2)
  gen_adv, gen_cotangent = jax.value_and_grad(generator_adversarial_loss)(
    fake_logits, objective.form
  )
  adv, (real_cotangent, fake_cotangent) = jax.value_and_grad(discriminator_loss, (0, 1))(
    real_logits, fake_logits
  )
  fake_cotangent = jnp.maximum(fake_cotangent, _SMALLEST)
  phi_grads, pulled = pull(jnp.concatenate([real_cotangent, fake_cotangent]))
  recon_cotangent = (
    jnp.split(pulled, 2)[1] * (gen_cotangent / fake_cotangent)[:, None, None, None, None]
  )
  metrics = {
    'adv': adv,
    'gen_adv': gen_adv,
    'd_real': jax.nn.sigmoid(real_logits).mean(),
    'd_fake': jax.nn.sigmoid(fake_logits).mean(),
  }
  return recon_cotangent, phi_grads, metrics


def _average(grads, metrics, axis_name, reduce_dtype, summed):
  """Means over the replicas; the discriminator's gradients named in `summed` are sums over them already."""
  count = jax.lax.psum(1, axis_name) if axis_name else 1  # known while tracing
  if count == 1:
    return grads, metrics  # nothing travels, so nothing is rounded
  theta_grads, phi_grads = grads[0], flax.traverse_util.flatten_dict(grads[1] or {})
  sums = {name: phi_grads.pop(name) for name in summed if name in phi_grads}
  sent = jax.tree.map(lambda grad: grad.astype(reduce_dtype), (theta_grads, phi_grads))
  sent, metrics = jax.lax.psum(
    (sent, metrics), axis_name
  )  # in one call: XLA's combiner makes of it as few reductions as it can
  widened = jax.tree.map(
    lambda total, like: total.astype(like.dtype), sent, (theta_grads, phi_grads)
  )
  theta_grads, phi_grads = jax.tree.map(
    lambda total: total / count, (widened[0], widened[1] | sums)
  )  # once widened: not rounded again
  return (theta_grads, flax.traverse_util.unflatten_dict(phi_grads) or None), jax.tree.map(
    lambda total: total / count, metrics
  )


def _apply(state, optimizer, grads, batch_stats):
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
    changes |= {
      'discriminator': optax.apply_updates(state.discriminator, phi_updates),
      'discriminator_opt': discriminator_opt,
    }
  return state.replace(step=state.step + 1, batch_stats=batch_stats, **changes)
