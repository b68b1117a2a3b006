"""The losses of sections III-B and III-C, in float32. Logits stand for log D / (1 - D)."""

import jax
import jax.numpy as jnp

REDUCTIONS = ('mean', 'sum')
FORMS = ('non_saturating', 'saturating')


def reconstruction_loss(recon, clips, reduction='mean'):
  """Squared error against the noise-free clip, averaged over clips (Eq. 3 to 5 of the paper).

      L_rec = mean over b of |R(S_b + noise) - S_b|^2,   divided by T*H*W with reduction 'mean'

  Args:
    recon, clips: [B, T, H, W, 1] float32. reduction: over the pixels of a clip. With 'sum' the adversarial loss weighs
      T*H*W times less beside it at the same lambda.

  Returns: scalar float32.
  """
  if reduction not in REDUCTIONS:
    raise ValueError(f'reduction must be one of {REDUCTIONS}, got {reduction!r}')
  squared = jnp.square(recon - clips)
  return squared.mean() if reduction == 'mean' else squared.sum() / squared.shape[0]


def discriminator_loss(real_logits, fake_logits):
  """-mean log D(S) - mean log(1 - D(R(S))): Eq. 8 with the second term as Theorem 3 needs it; 2 ln 2 at D = 1/2.

  Args: real_logits, fake_logits: [B] float32. Returns: scalar float32.
  """
  return jax.nn.softplus(-real_logits).mean() + jax.nn.softplus(fake_logits).mean()


def generator_adversarial_loss(fake_logits, form='non_saturating'):
  """What the auto-encoder minimises to be taken for real.

      non_saturating: -mean log D(R(S)), ln 2 at D = 1/2 (Eq. 11's gradient, lambda / D)
      saturating: mean log(1 - D(R(S))), -ln 2 at D = 1/2

  Args: fake_logits: [B] float32. Returns: scalar float32.
  Source: Goodfellow et al. 2014, arXiv:1406.2661, sec. 3, for both forms.
  """
  if form not in FORMS:
    raise ValueError(f'form must be one of {FORMS}, got {form!r}')
  if form == 'non_saturating':
    return jax.nn.softplus(-fake_logits).mean()
  return -jax.nn.softplus(fake_logits).mean()
