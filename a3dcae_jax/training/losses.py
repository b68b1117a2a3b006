"""The losses of sections III-B and III-C, in float32.

A logit is log D / (1 - D), where D is the probability that a clip is real, according to the
discriminator.
"""

import jax
import jax.numpy as jnp


def reconstruction_loss(recon: jax.Array, clips: jax.Array) -> jax.Array:
  """Compute the mean squared error against the noise-free clips.

      L_rec = mean over all pixels of (R(S + noise) - S)^2        (Eq. 7)

  Args:
    recon: reconstructions, float32 [B, T, H, W, 1].
    clips: noise-free clips, float32 [B, T, H, W, 1].

  Returns:
    The loss, a float32 scalar.
  """
  return jnp.square(recon - clips).mean()


def discriminator_loss(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
  """Compute the loss that the discriminator minimises, Eq. 8.

      L_D = -mean log D(S) - mean log(1 - D(R(S)))

  The second term has the sign that Theorem 3 needs. The loss is 2 ln 2 at D = 1/2.

  Args:
    real_logits: logits of real clips, float32 [B].
    fake_logits: logits of reconstructions, float32 [B].

  Returns:
    The loss, a float32 scalar.
  """
  return jax.nn.softplus(-real_logits).mean() + jax.nn.softplus(fake_logits).mean()


def generator_adversarial_loss(fake_logits: jax.Array) -> jax.Array:
  """Compute the non-saturating adversarial loss of the auto-encoder.

      L_adv = -mean log D(R(S))

  Its gradient is that of Eq. 11. The loss is ln 2 at D = 1/2.

  Source: Goodfellow et al. 2014, arXiv:1406.2661, section 3.

  Args:
    fake_logits: logits of reconstructions, float32 [B].

  Returns:
    The loss, a float32 scalar.
  """
  return jax.nn.softplus(-fake_logits).mean()
