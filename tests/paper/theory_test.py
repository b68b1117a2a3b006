"""Theorems 1 to 3 in one dimension: the exact optimum, and trained networks."""

import numpy as np
import pytest

from a3dcae_jax.paper import theory
from a3dcae_jax.paper.denoiser import Training, outputs, trained
from a3dcae_jax.paper.density import MIXTURE, optimum, optimum_of_samples, wasserstein

QUICK = Training(noise_std=0.2, steps=400, batch=256, learning_rate=4e-3)


def test_density_integrates_to_one_and_its_score_is_its_log_derivative():
  x = np.linspace(-8, 8, 16001)
  density = MIXTURE.density(x)
  assert np.trapezoid(density, x) == pytest.approx(1, abs=1e-9)
  inner = slice(5000, 11000)
  slope = np.gradient(np.log(density[inner]), x[inner])
  np.testing.assert_allclose(MIXTURE.score(x[inner])[1:-1], slope[1:-1], atol=1e-3)


def test_samples_have_the_moments_of_the_density():
  samples = MIXTURE.sample(200_000, seed=0)
  assert samples.mean() == pytest.approx(-0.2, abs=0.01)
  assert (samples < 0).mean() == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize('noise_std', [0.05, 0.3, 1.0, 3.0])
def test_theorem_1_equals_the_score_of_the_smoothed_density(noise_std):
  """Tweedie's formula, which is exact for every sigma and has no integral."""
  x = theory.grid()
  expected = x + noise_std**2 * MIXTURE.smoothed(noise_std).score(x)
  np.testing.assert_allclose(optimum(MIXTURE, x, noise_std), expected, atol=1e-9)


def test_theorem_2_the_error_of_the_optimum_is_of_second_order():
  errors = [theory.exact_error(noise_std) for noise_std in theory.RATE_STDS]
  assert theory.rate(theory.RATE_STDS, errors) == pytest.approx(2, abs=0.05)
  x = theory.grid()
  # A wrong sign or factor gives an error as large as the score itself.
  assert errors[-1] < 0.01 * theory.weighted_rms(MIXTURE.score(x), x)


def test_theorem_2_the_leading_term_of_the_error():
  """The smoothed density is p + sigma^2 / 2 p'', so the error is sigma^2 / 2 (p'' / p)'."""
  x = np.linspace(-3.0, 2.5, 5501)
  density = MIXTURE.density(x)
  curvature = np.gradient(np.gradient(density, x), x) / density
  expected = 0.025**2 / 2 * theory.weighted_rms(np.gradient(curvature, x)[5:-5], x[5:-5])
  assert theory.exact_error(0.025) == pytest.approx(expected, rel=0.02)


def test_theorem_2_fails_for_finitely_many_samples():
  assert theory.finite_error(0.2) < theory.finite_error(0.05) / 1.3
  assert theory.finite_error(0.025) > theory.weighted_rms(
    MIXTURE.score(theory.grid()), theory.grid()
  )


def test_optimum_of_two_samples_by_hand():
  samples = np.array([0.0, 1.0])
  middle, near = optimum_of_samples(samples, np.array([0.5, 0.9]), 0.01)
  assert middle == pytest.approx(0.5)
  assert near == pytest.approx(1.0)


def test_the_displacement_is_zero_in_the_valley():
  valley = np.array([theory.valley_of_density()])
  assert MIXTURE.density(valley) < 0.3 * MIXTURE.density(theory.grid()).max()
  assert abs(MIXTURE.score(valley)[0]) < 0.01


def test_smallest_loss_between_zero_and_the_noise():
  assert theory.smallest_loss(0.05) == pytest.approx(0.05**2, rel=0.05)
  assert 0.1 < theory.smallest_loss(0.5) < 0.25


def test_wasserstein_by_hand():
  assert wasserstein(np.array([0.0, 2.0]), np.array([3.0, 1.0])) == 1


@pytest.mark.slow
def test_theorem_2_a_trained_network_follows_the_score():
  x = theory.grid()
  state = trained(MIXTURE, QUICK, 1)
  error = theory.score_error(outputs(state, x)[0], x, QUICK.noise_std)
  # 2.2 for the identity, 4 for the wrong sign; the optimum has 0.49.
  assert error < 0.9


@pytest.mark.slow
def test_theorem_1_a_trained_network_has_the_weighted_average():
  x = theory.grid()
  expected = optimum(MIXTURE, x, 1.0)
  found = outputs(trained(MIXTURE, QUICK._replace(noise_std=1.0), 1), x)[0]
  displacement = theory.weighted_rms(expected - x, x)
  assert theory.weighted_rms(found - expected, x) < 0.15 * displacement


@pytest.mark.slow
def test_theorem_3_the_adversarial_term_brings_the_outputs_nearer_to_p():
  noise_std = 0.5
  training = QUICK._replace(noise_std=noise_std, adversarial_weight=3.0, learning_rate=2e-3)
  fresh = MIXTURE.sample(5000, seed=1)
  noisy = MIXTURE.sample(5000, seed=2) + np.random.default_rng(3).normal(0, noise_std, 5000)
  without = wasserstein(optimum(MIXTURE, noisy, noise_std), fresh)
  found = outputs(trained(MIXTURE, training, 1), noisy)[0]
  assert wasserstein(found, fresh) < 0.75 * without


def test_figures_have_a_column_for_each_value(monkeypatch):
  monkeypatch.setattr(theory, 'TRAINED_STDS', (0.4, 0.2))
  monkeypatch.setattr(theory, 'trained', lambda *_: None)
  monkeypatch.setattr(theory, 'outputs', lambda _, x: np.stack([x, 1.1 * x, x]))
  for found in theory.figures():
    assert found.verdict and found.title
    assert all(len(row) == len(found.columns) for row in found.rows)
    assert len(found.rows) > 4
