"""On a linear-Gaussian problem the ensemble converges to the Kalman posterior at the Monte-Carlo rate."""

import numpy as np
import pytest

from daflow.numerics.inversion.updates import perturbed_observation_update
from daflow.numerics.smoothers.schedules import constant_alphas, geometric_alphas, given_alphas

N_STATE, N_OBS, N_SEEDS = 4, 3, 24
SMALL, LARGE = 100, 1600
RNG = np.random.default_rng(20)
ROOT = RNG.standard_normal((N_STATE, N_STATE)) / 2 + np.eye(N_STATE)
PRIOR_MEAN, PRIOR_COVARIANCE = RNG.standard_normal(N_STATE), ROOT @ ROOT.T
MODEL = RNG.standard_normal((N_OBS, N_STATE))
ERROR_ROOT = np.linalg.cholesky(np.array([[1.0, 0.4, 0.0], [0.4, 0.8, 0.1], [0.0, 0.1, 0.5]]))
ERROR = ERROR_ROOT @ ERROR_ROOT.T
OBSERVED = MODEL @ PRIOR_MEAN + RNG.standard_normal(N_OBS)


def kalman_update(mean, covariance, alpha):
    gain = covariance @ MODEL.T @ np.linalg.inv(MODEL @ covariance @ MODEL.T + alpha * ERROR)
    return mean + gain @ (OBSERVED - MODEL @ mean), covariance - gain @ MODEL @ covariance


POSTERIOR_MEAN, POSTERIOR_COVARIANCE = kalman_update(PRIOR_MEAN, PRIOR_COVARIANCE, 1.0)


def errors(n_members, inversion, alphas, seed):
    """Return the errors of mean and covariance of one run, in units of the posterior spread."""
    rng = np.random.default_rng((seed, n_members))
    state = PRIOR_MEAN + rng.standard_normal((n_members, N_STATE)) @ ROOT.T
    for alpha in alphas:
        normals = rng.standard_normal((n_members, N_OBS))
        observed = OBSERVED + np.sqrt(alpha) * normals @ ERROR_ROOT.T
        state = perturbed_observation_update(
            state, state @ MODEL.T, observed, ERROR, alpha=alpha, inversion=inversion
        )
    whiten = np.linalg.inv(np.linalg.cholesky(POSTERIOR_COVARIANCE))
    of_mean = whiten @ (state.mean(axis=0) - POSTERIOR_MEAN)
    of_covariance = whiten @ np.cov(state.T) @ whiten.T - np.eye(N_STATE)
    return np.sum(of_mean**2), np.sum(of_covariance**2)


@pytest.mark.parametrize(
    ("inversion", "alphas"),
    [
        ("exact_cholesky", constant_alphas(1)),
        ("subspace_rescaled", constant_alphas(1)),
        ("exact_cholesky", constant_alphas(4)),
    ],
    ids=["exact_cholesky", "subspace_rescaled", "es_mda"],
)
def test_that_mean_and_covariance_converge_at_the_monte_carlo_rate(inversion, alphas):
    # The mean of squared errors over the seeds goes as c / n_members. Each squared error sums about n_state
    # squares of near-normal numbers, so that its mean over the seeds has a relative standard deviation
    # of about sqrt(2 / (n_seeds n_state)) = 0.14, and the slope of log rms error, half the difference of two
    # such logarithms over log 16, one of 0.5 * sqrt(2) * 0.14 / 2.77 = 0.036. The next order of 1 / n_members
    # makes the slope steeper by at most a few per cent at 100 members. Five standard deviations:
    margin = 0.18
    mean_squares = {
        n_members: np.mean([errors(n_members, inversion, alphas, seed) for seed in range(N_SEEDS)], axis=0)
        for n_members in (SMALL, LARGE)
    }
    slopes = 0.5 * np.log(mean_squares[LARGE] / mean_squares[SMALL]) / np.log(LARGE / SMALL)
    assert np.abs(slopes + 0.5).max() < margin
    # An ideal sample of the posterior has errors n_state / n and about n_state (n_state + 1) / n; sampled
    # gains and fresh perturbations at each step cost a factor of a few, not of ten.
    ideal = np.array([N_STATE, N_STATE * (N_STATE + 1)]) / LARGE
    assert (mean_squares[LARGE] > 0.3 * ideal).all()
    assert (mean_squares[LARGE] < 10 * ideal).all()


@pytest.mark.parametrize(
    "alphas",
    [
        constant_alphas(1),
        constant_alphas(7),
        geometric_alphas(4, 2.0),
        given_alphas([9, 7, 4, 2], normalise=True),
    ],
    ids=["one", "constant", "geometric", "given"],
)
def test_that_updates_with_inflated_errors_equal_one_with_the_error_itself(alphas):
    mean, covariance = PRIOR_MEAN, PRIOR_COVARIANCE
    for alpha in alphas:
        mean, covariance = kalman_update(mean, covariance, alpha)
    np.testing.assert_allclose(mean, POSTERIOR_MEAN, rtol=0, atol=1e-10)
    np.testing.assert_allclose(covariance, POSTERIOR_COVARIANCE, rtol=0, atol=1e-10)


def with_exact_moments(rng, root, n_members):
    """Return (n_members, n) whose sample covariance is exactly root @ root.T and whose mean is zero."""
    normals = rng.standard_normal((n_members, root.shape[0]))
    normals -= normals.mean(axis=0)
    lower = np.linalg.cholesky(np.cov(normals.T).reshape(root.shape))
    return normals @ np.linalg.inv(lower).T @ root.T


@pytest.mark.parametrize(
    "inversion", ["exact_cholesky", "exact_woodbury", "rescaled", "subspace", "subspace_rescaled"]
)
def test_that_an_ensemble_of_exact_moments_gets_the_kalman_mean_at_any_size(inversion):
    rng = np.random.default_rng(1)
    n_members = 12
    prior = PRIOR_MEAN + with_exact_moments(rng, ROOT, n_members)
    observed = OBSERVED + with_exact_moments(rng, ERROR_ROOT, n_members)
    posterior = perturbed_observation_update(prior, prior @ MODEL.T, observed, ERROR, inversion=inversion)
    np.testing.assert_allclose(posterior.mean(axis=0), POSTERIOR_MEAN, rtol=0, atol=1e-12)
