"""Noise on the input in training: Gaussian, and the other kinds of Table VI."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

# Share of the pixels that keep their value: a signal to noise ratio (SNR) of 95 %.
SIGNAL = 0.95

# Counts that the table of the Poisson distribution holds. The largest mean is 255, with a standard
# deviation of 16.
_COUNTS = 512


def salt_and_pepper(key: jax.Array, pixels: jax.Array) -> jax.Array:
  """Draw the change that salt-and-pepper noise makes.

      S~ = S with probability SNR, 0 and 1 with probability (1 - SNR) / 2 each;   SNR = 0.95

  Args:
    key: a key of random numbers.
    pixels: S, float32 in [0, 1], of any shape.

  Returns:
    S~ - S, in the shape of `pixels`.

  Source: Sun et al. 2021, Table VI. The share of pixels that are kept is the usual meaning of an
  SNR in per cent.
  """
  drawn = jax.random.uniform(key, pixels.shape)
  share = (1 - SIGNAL) / 2
  noisy = jnp.where(drawn < share, 0.0, pixels)
  noisy = jnp.where(drawn >= 1 - share, 1.0, noisy)
  return noisy - pixels


def poisson(key: jax.Array, pixels: jax.Array) -> jax.Array:
  """Draw the change that Poisson noise (shot noise) makes.

      S~ = P / 255 with P ~ Poisson(255 S), so E[S~] = S and Var[S~] = S / 255

  255 S, the grey level, is the mean number of photons; it is rounded to a whole number here. The
  count is found in a table of the distribution, by bisection: `jax.random.poisson` takes ten times
  as long on CPUs.

  Args:
    key: a key of random numbers.
    pixels: S, float32 in [0, 1], of any shape.

  Returns:
    S~ - S, in the shape of `pixels`.

  Source: Sun et al. 2021, Table VI, which does not define it; this is the usual definition for
  images of 8 bits.
  """
  levels = jnp.round(255 * pixels).astype(jnp.int32)
  drawn = jax.random.uniform(key, pixels.shape)
  table = jnp.asarray(_poisson_distribution())
  # The number of counts k with P(P <= k) <= drawn, one binary digit after the other.
  counts = jnp.zeros_like(levels)
  step = _COUNTS // 2
  while step:
    tried = counts + step
    counts = jnp.where(table[levels, tried - 1] <= drawn, tried, counts)
    step //= 2
  return (counts - levels).astype(jnp.float32) / 255


def _poisson_distribution() -> np.ndarray:
  """Return P(P <= k) for each grey level and k, float32 [256, _COUNTS]."""
  levels = np.arange(256.0)[:, None]
  counts = np.arange(_COUNTS)
  log_factorials = np.concatenate([[0], np.cumsum(np.log(np.arange(1.0, _COUNTS)))])
  # The grey level 0 has no noise: its count is always 0.
  log_levels = np.log(np.maximum(levels, 1e-300))
  probabilities = np.exp(counts * log_levels - levels - log_factorials)
  return np.cumsum(probabilities, axis=1).astype(np.float32)


NOISES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
  'salt_and_pepper': salt_and_pepper,
  'poisson': poisson,
}


def clip_noise(
  seed: int, step: jax.Array, first_example: jax.Array, shape: tuple[int, ...], std: float
) -> jax.Array:
  """Draw Gaussian noise that does not depend on the number of devices.

  The noise of an example depends on `seed`, `step` and the index of the example in the global
  batch only. So a run draws the same noise on one device as on many.

  Args:
    seed: seed of the run.
    step: number of finished updates.
    first_example: index in the global batch of the first example of this replica.
    shape: (B, ...), with B the number of examples of this replica.
    std: standard deviation.

  Returns:
    Noise, float32 of shape `shape`.
  """
  keys = _noise_keys(seed, step, first_example, shape[0])

  def draw(key: jax.Array) -> jax.Array:
    return jax.random.normal(key, shape[1:], jnp.float32)

  return std * jax.vmap(draw)(keys)


def pixel_noise(
  kind: str, seed: int, step: jax.Array, first_example: jax.Array, clips: jax.Array
) -> jax.Array:
  """Draw noise that depends on the pixels, with the keys of `clip_noise`.

  Args:
    kind: one of `NOISES`.
    seed: seed of the run.
    step: number of finished updates.
    first_example: index in the global batch of the first clip of this replica.
    clips: [B, T, H, W], uint8, or float32 in [0, 1].

  Returns:
    What the noise adds to the pixels, float32 [B, T, H, W, 1], for pixels in [0, 1].
  """
  pixels = clips.astype(jnp.float32) / 255.0 if clips.dtype == jnp.uint8 else clips
  keys = _noise_keys(seed, step, first_example, len(clips))
  return jax.vmap(NOISES[kind])(keys, pixels[..., None])


def _noise_keys(seed: int, step: jax.Array, first_example: jax.Array, count: int) -> jax.Array:
  """Return the keys of the noise of each example."""
  step_key = jax.random.fold_in(jax.random.key(seed), step)
  return example_keys(step_key, first_example, count)


def example_keys(step_key: jax.Array, first_example: jax.Array, count: int) -> jax.Array:
  """Return a key for each example, from its index in the global batch."""
  examples = first_example + jnp.arange(count, dtype=jnp.int32)

  def fold_in(example: jax.Array) -> jax.Array:
    return jax.random.fold_in(step_key, example)

  return jax.vmap(fold_in)(examples)
