"""A density in one dimension with a known score function, and the optima for it."""

from typing import NamedTuple

import numpy as np

# Nodes of the trapezoidal rule, which reach to +-_REACH standard deviations of the noise.
_NODES = 2001
_REACH = 8.0


class Mixture(NamedTuple):
  """A mixture of Gaussians on the real line.

  Attributes:
    weights: of the components; their sum is 1.
    means: of the components.
    stds: standard deviations of the components.
  """

  weights: tuple[float, ...]
  means: tuple[float, ...]
  stds: tuple[float, ...]

  def density(self, x: np.ndarray) -> np.ndarray:
    """Return p(x), in the shape of x."""
    return self._components(x).sum(-1)

  def score(self, x: np.ndarray) -> np.ndarray:
    """Return d log p / dx, in the shape of x."""
    slopes = (np.array(self.means) - x[..., None]) / np.square(self.stds)
    components = self._components(x)
    return (components * slopes).sum(-1) / components.sum(-1)

  def smoothed(self, noise_std: float) -> 'Mixture':
    """Return the density of a sample plus Gaussian noise."""
    stds = np.hypot(self.stds, noise_std)
    return self._replace(stds=tuple(stds))

  def sample(self, count: int, seed: int) -> np.ndarray:
    """Return `count` samples."""
    rng = np.random.default_rng(seed)
    component = rng.choice(len(self.weights), count, p=self.weights)
    return rng.normal(np.array(self.means)[component], np.array(self.stds)[component])

  def _components(self, x: np.ndarray) -> np.ndarray:
    """Return the weighted density of each component, [..., components]."""
    stds = np.array(self.stds)
    offsets = (x[..., None] - np.array(self.means)) / stds
    scales = np.array(self.weights) / (np.sqrt(2 * np.pi) * stds)
    return scales * np.exp(-np.square(offsets) / 2)


# Two modes of unequal weight and width, with a valley between them.
MIXTURE = Mixture(weights=(0.6, 0.4), means=(-1.0, 1.0), stds=(0.5, 0.35))


def optimum(mixture: Mixture, x: np.ndarray, noise_std: float) -> np.ndarray:
  """Compute the optimal output of a denoising auto-encoder (Theorem 1).

      r*(x) = E[p(x - eta) (x - eta)] / E[p(x - eta)],   eta ~ N(0, noise_std^2)

  The expectations are integrals by the trapezoidal rule, which is exact to rounding here.

  Args:
    mixture: p.
    x: corrupted samples, [N].
    noise_std: sigma.

  Returns:
    r*(x), [N].
  """
  units = np.linspace(-_REACH, _REACH, _NODES)
  clean = x[:, None] - noise_std * units
  weights = np.exp(-np.square(units) / 2) * mixture.density(clean)
  return (weights * clean).sum(1) / weights.sum(1)


def optimum_of_samples(samples: np.ndarray, x: np.ndarray, noise_std: float) -> np.ndarray:
  """Compute `optimum` where p is the distribution of finitely many training samples.

  Args:
    samples: training samples, [M].
    x: corrupted samples, [N].
    noise_std: sigma.

  Returns:
    r*(x), [N].
  """
  logs = -np.square((x[:, None] - samples) / noise_std) / 2
  weights = np.exp(logs - logs.max(1, keepdims=True))
  return weights @ samples / weights.sum(1)


def wasserstein(left: np.ndarray, right: np.ndarray) -> float:
  """Return the Wasserstein-1 distance of two sets of equally many samples."""
  return float(np.abs(np.sort(left) - np.sort(right)).mean())
