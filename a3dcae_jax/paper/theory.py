"""Theorems 1 to 3 checked numerically, for a density in one dimension.

The theorems say nothing about video, so they are checked where everything can be computed: p is a
mixture of two Gaussians with a known score, the optimum of Theorem 1 is an integral, and small
networks are trained by the update of the video networks (`training.step`).

What holds, and under which condition:

- Theorem 1 holds for every sigma, not only large ones. Eq. 3 prints p(S - eta) for p(S~ - eta).
  Its proof says that the smallest loss is 0; it is E Var(S | S~), which is positive.
- Theorem 2 holds where p is smooth and positive. The error of (r - x) / sigma^2 is O(sigma^2). With
  finitely many training samples there is no density: below a sigma of the order of their distances
  the optimum is the nearest sample, and the error grows as sigma falls.
- From Theorem 2 the paper concludes that the reconstruction error is larger where p is smaller.
  That does not follow: the displacement is 0 at every stationary point of p, also between two
  modes.
- Theorem 3 needs log(1 - D) in the second term of Eq. 8, and describes the adversarial loss alone.
  In the sum of Eq. 9 the distance to p falls as lambda grows, and the reconstruction error rises.

Source: Sun et al. 2021, section III-A and appendices; Alain and Bengio 2014, arXiv:1211.4246.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.paper.denoiser import Training, outputs, trained
from a3dcae_jax.paper.density import MIXTURE, optimum, optimum_of_samples, wasserstein

EXACT_STDS = (0.8, 0.4, 0.2, 0.1, 0.05, 0.025)
TRAINED_STDS = (0.4, 0.2, 0.1)
# The rate is fitted where sigma is small beside the widths of the modes, 0.35 and 0.5.
RATE_STDS = (0.1, 0.05, 0.025)
LARGE_STD = 1.0
# The first is without the adversarial term, the second is lambda of the variant `paper`.
ADVERSARIAL_WEIGHTS = (0.0, 1e-5, 0.03, 0.3, 3.0)
FINITE_SAMPLES = 10_000
SCORED_SAMPLES = 20_000

TRAINING = Training(noise_std=0.2)
ADVERSARIAL_TRAINING = Training(noise_std=0.5, steps=1000, batch=256)
SEEDS = 4


class TheoryFigure(NamedTuple):
  """One figure as data.

  Attributes:
    name: short name, such as 'theorem_2_rate'.
    title: one line.
    columns: names of the columns; the first is the horizontal axis.
    rows: one tuple per point; None where there is no value.
    verdict: whether the theorem's claim holds, with the numbers.
  """

  name: str
  title: str
  columns: tuple[str, ...]
  rows: list[tuple[Any, ...]]
  verdict: str


def figures() -> list[TheoryFigure]:
  """Return all figures; trains 36 small networks, which takes minutes."""
  return [
    theorem_1(TRAINING),
    theorem_2_rate(TRAINING),
    theorem_2_field(TRAINING),
    theorem_3(ADVERSARIAL_TRAINING),
  ]


def grid() -> np.ndarray:
  """Return points that span nearly all of the mass of p, [N]."""
  return np.linspace(-3.0, 2.5, 551)


def weighted_rms(values: np.ndarray, x: np.ndarray) -> np.ndarray:
  """Return the root mean square over the last axis, weighted by p(x)."""
  weights = MIXTURE.density(x)
  return np.sqrt((np.square(values) * weights).sum(-1) / weights.sum())


def score_error(reconstruction: np.ndarray, x: np.ndarray, noise_std: float) -> np.ndarray:
  """Return the weighted RMS of (r(x) - x) / sigma^2 - d log p / dx.

  Args:
    reconstruction: r(x), [..., N].
    x: points, [N].
    noise_std: sigma.
  """
  return weighted_rms((reconstruction - x) / noise_std**2 - MIXTURE.score(x), x)


def rate(noise_stds: Sequence[float], errors: Sequence[float]) -> float:
  """Return the exponent k of errors ~ sigma^k, by a fit of the logarithms."""
  return float(np.polyfit(np.log(noise_stds), np.log(errors), 1)[0])


def exact_error(noise_std: float) -> float:
  """Return the error of the optimum of Theorem 1 as an estimate of the score."""
  x = grid()
  return float(score_error(optimum(MIXTURE, x, noise_std), x, noise_std))


def finite_error(noise_std: float) -> float:
  """Return the same for the optimum on `FINITE_SAMPLES` training samples."""
  x = grid()
  samples = MIXTURE.sample(FINITE_SAMPLES, seed=0)
  return float(score_error(optimum_of_samples(samples, x, noise_std), x, noise_std))


def trained_errors(training: Training) -> tuple[np.ndarray, np.ndarray]:
  """Return the same for trained networks, and how far they are from the optimum.

  Returns:
    Errors as estimates of the score, and weighted RMS of (r - r*) / sigma^2, both [seeds].
  """
  x = grid()
  found = outputs(trained(MIXTURE, training, SEEDS), x)
  difference = found - optimum(MIXTURE, x, training.noise_std)
  return (
    score_error(found, x, training.noise_std),
    weighted_rms(difference, x) / training.noise_std**2,
  )


def theorem_1(training: Training) -> TheoryFigure:
  """Compare trained networks with Theorem 1 at a large sigma."""
  x = grid()
  expected = optimum(MIXTURE, x, LARGE_STD)
  state = trained(MIXTURE, training._replace(noise_std=LARGE_STD), SEEDS)
  found = outputs(state, x)
  extrapolated = x + LARGE_STD**2 * MIXTURE.score(x)
  moved = weighted_rms(expected - x, x)
  difference = weighted_rms(found - expected, x).mean() / moved
  wrong = weighted_rms(extrapolated - expected, x) / moved
  columns = ('x', 'Theorem 1', 'trained, mean', 'trained, deviation', 'Theorem 2')
  arrays = (x, expected, found.mean(0), found.std(0, ddof=1), extrapolated)
  verdict = (
    f'Holds at sigma = {LARGE_STD:g}: trained networks differ from Theorem 1 by '
    f'{100 * difference:.1f} % of the displacement (RMS), Theorem 2 by {100 * wrong:.0f} %. The '
    f'smallest loss is {smallest_loss(LARGE_STD):.3f}, not 0 as in the proof.'
  )
  title = f'Output of a denoising auto-encoder at sigma = {LARGE_STD:g}'
  return TheoryFigure('theorem_1', title, columns, _rows(arrays), verdict)


def smallest_loss(noise_std: float) -> float:
  """Return E Var(S | S~), the loss of the optimum."""
  x = np.linspace(-8, 8, 1601)
  weights = MIXTURE.smoothed(noise_std).density(x)
  mean_square = np.square(optimum(MIXTURE, x, noise_std)) @ weights / weights.sum()
  second_moment = np.square(MIXTURE.means) + np.square(MIXTURE.stds)
  return float(second_moment @ MIXTURE.weights - mean_square)


def theorem_2_rate(training: Training) -> TheoryFigure:
  """Measure how fast displacement / sigma^2 approaches the score as sigma falls."""
  rows = [_rate_row(training, noise_std) for noise_std in EXACT_STDS]
  columns = (
    'sigma',
    'optimum',
    f'optimum of {FINITE_SAMPLES} samples',
    'trained, mean',
    'trained, deviation',
    'trained against optimum',
  )
  title = 'Error of (r(x) - x) / sigma^2 as an estimate of d log p / dx'
  return TheoryFigure('theorem_2_rate', title, columns, rows, _rate_verdict(rows))


def _rate_row(training: Training, noise_std: float) -> tuple[float | None, ...]:
  """Return the errors at one sigma."""
  exact = (noise_std, exact_error(noise_std), finite_error(noise_std))
  if noise_std not in TRAINED_STDS:
    return (*exact, None, None, None)
  errors, differences = trained_errors(training._replace(noise_std=noise_std))
  return (*exact, float(errors.mean()), float(errors.std(ddof=1)), float(differences.mean()))


def _rate_verdict(rows: Sequence[tuple[Any, ...]]) -> str:
  """Return in words at which rates the errors of `theorem_2_rate` fall."""
  x = grid()
  small = [row for row in rows if row[0] in RATE_STDS]
  exact = rate([row[0] for row in small], [row[1] for row in small])
  both = [row for row in rows if row[3] is not None]
  last = min(both)
  best = min(rows, key=lambda row: row[2])
  least = min(rows)
  return (
    f'Holds for the optimum: the error falls as sigma^{exact:.2f} below {max(RATE_STDS):g}, which '
    f'is O(sigma^2); the RMS of the score is {weighted_rms(MIXTURE.score(x), x):.2f}. Trained '
    f'networks follow the optimum down to sigma = {both[-2][0]:g} (error {both[-2][3]:.2f}, '
    f'optimum {both[-2][1]:.2f}). At {last[0]:g} the error of training is larger than that of the '
    f'theorem ({last[5]:.2f} and {last[1]:.2f}). Fails for {FINITE_SAMPLES} training samples below '
    f'sigma = {best[0]:g}: the error is {best[2]:.2f} there and {least[2]:.2f} at {least[0]:g}.'
  )


def theorem_2_field(training: Training) -> TheoryFigure:
  """Show displacement / sigma^2 beside the score and the density."""
  x = grid()
  square = training.noise_std**2
  expected = (optimum(MIXTURE, x, training.noise_std) - x) / square
  found = (outputs(trained(MIXTURE, training, SEEDS), x) - x) / square
  score = MIXTURE.score(x)
  density = MIXTURE.density(x)
  arrays = (x, score, expected, found.mean(0), found.std(0, ddof=1), density)
  columns = ('x', 'd log p / dx', 'optimum', 'trained, mean', 'trained, deviation', 'p')
  valley = valley_of_density()
  between = MIXTURE.density(np.array([valley]))[0] / density.max()
  match = np.corrcoef(found.mean(0), score)[0, 1]
  verdict = (
    f'Trained networks at sigma = {training.noise_std:g} follow the score (correlation '
    f'{match:.3f} over the grid). A small displacement does not show a high density: at '
    f'x = {valley:.2f}, between the modes, p is {100 * between:.0f} % of its maximum and the '
    'score is 0.'
  )
  title = f'Displacement / sigma^2 at sigma = {training.noise_std:g}'
  return TheoryFigure('theorem_2_field', title, columns, _rows(arrays), verdict)


def valley_of_density() -> float:
  """Return the point of least density between the two modes."""
  between = np.linspace(*MIXTURE.means, 2001)
  return float(between[MIXTURE.density(between).argmin()])


def theorem_3(training: Training) -> TheoryFigure:
  """Measure how near the outputs' distribution comes to p with the adversarial term."""
  fresh = MIXTURE.sample(SCORED_SAMPLES, seed=101)
  clean = MIXTURE.sample(SCORED_SAMPLES, seed=102)
  noise = np.random.default_rng(103).normal(scale=training.noise_std, size=SCORED_SAMPLES)
  rows = []
  for weight in ADVERSARIAL_WEIGHTS:
    state = trained(MIXTURE, training._replace(adversarial_weight=weight), SEEDS)
    found = outputs(state, clean + noise)
    distances = np.array([wasserstein(row, fresh) for row in found])
    losses = np.square(found - clean).mean(1)
    row = (weight, distances.mean(), distances.std(ddof=1), losses.mean())
    rows.append(tuple(float(value) for value in row))
  columns = ('lambda', 'distance, mean', 'distance, deviation', 'reconstruction loss')
  plain, paper, best = rows[0], rows[1], min(rows, key=lambda row: row[1])
  verdict = (
    f'At sigma = {training.noise_std:g} the Wasserstein-1 distance of outputs and samples of p is '
    f'{plain[1]:.3f} without the adversarial term and {best[1]:.3f} with lambda = {best[0]:g} '
    f'({SEEDS} seeds, deviations {plain[2]:.3f} and {best[2]:.3f}); two sets of samples differ by '
    f'{wasserstein(clean, fresh):.3f}. The reconstruction loss rises from {plain[3]:.4f} to '
    f'{best[3]:.4f}. With lambda = {paper[0]:g} the distance is {paper[1]:.3f}.'
  )
  title = f'Distance of the output distribution to p, over lambda, sigma = {training.noise_std:g}'
  return TheoryFigure('theorem_3', title, columns, rows, verdict)


def _rows(arrays: Sequence[np.ndarray]) -> list[tuple[float, ...]]:
  """Return arrays of one length as rows."""
  return list(zip(*(array.tolist() for array in arrays), strict=True))
