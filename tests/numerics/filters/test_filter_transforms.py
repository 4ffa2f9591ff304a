from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.filter_transforms import (
    denkf,
    etkf,
    gain_inflated_enkf,
    recentred,
    stochastic_enkf,
)
from daflow.numerics.inversion.updates import perturbed_observation_update
from daflow.numerics.obs_error.covariance import as_covariance

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = {"n8_m5_N6": 1e-8, "n3_m6_N20": 1e-8, "n4_m1_N2": 1e-8, "n40_m40_N10": 1e-8, "n5_m4_N7_ill": 1e-5}
drawn = st.tuples(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 9), st.integers(1, 9))


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def draws_of(golden):
    return as_covariance(golden["R"]).colour(golden["Z"].T)


FILTERS = {
    "etkf": lambda y, d, r, e: etkf(y, d, r),
    "denkf": lambda y, d, r, e: denkf(y, d, r),
    "stochastic": lambda y, d, r, e: stochastic_enkf(y, d, r, recentred(e)),
    "stochastic_norecentre": stochastic_enkf,
    "zeta01": lambda y, d, r, e: gain_inflated_enkf(y, d, r, e, 0.1),
}
any_filter = pytest.mark.parametrize("name", FILTERS)


class Problem:
    def __init__(self, seed, n_members=6, n_state=5, n_obs=4):
        rng = np.random.default_rng(seed)
        self.prior = 3 + rng.standard_normal((n_members, n_state))
        self.map = rng.standard_normal((n_state, n_obs))
        self.values = rng.standard_normal(n_obs)
        root = rng.standard_normal((n_obs, n_obs))
        self.error = root @ root.T + np.eye(n_obs)
        self.draws = rng.standard_normal((n_members, n_obs)) @ np.linalg.cholesky(self.error).T

    def posterior(self, name, scale=1.0, order=slice(None)):
        prior = self.prior[order]
        transform = FILTERS[name](prior @ self.map, self.values, scale * self.error, self.draws[order])
        return apply_transform(transform, prior)

    def kalman(self):
        """Return mean and covariance of the Kalman filter with the ensemble's own moments."""
        cov = np.atleast_2d(np.cov(self.prior.T))
        gain = cov @ self.map @ np.linalg.inv(self.map.T @ cov @ self.map + self.error)
        mean = self.prior.mean(axis=0)
        return mean + gain @ (self.values - mean @ self.map), cov - gain @ self.map.T @ cov, gain


def close(actual, expected, rtol=1e-10):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * max(1.0, np.abs(expected).max()))


@any_filter
@pytest.mark.parametrize("case", CASES)
def test_that_the_golden_analyses_are_met(name, case):
    golden = load(f"filt_{case}")
    prior, predicted = golden["X"].T, (golden["H"] @ golden["X"]).T
    transform = FILTERS[name](predicted, golden["y"], golden["R"], draws_of(golden))
    expected = golden[name].T
    assert np.abs(apply_transform(transform, prior) - expected).max() <= CASES[case] * np.abs(expected).max()


@pytest.mark.parametrize(("inflation", "key"), [(0.0, "expected"), (0.5, "zeta_0p5")])
def test_that_the_worked_example_of_the_inflated_gain_is_met(inflation, key):
    golden = load("filt_seed003")
    prior = golden["X"].T
    transform = gain_inflated_enkf(prior, golden["y"], golden["R"], golden["gamma"].T, inflation)
    close(apply_transform(transform, prior), golden[key].T)


@settings(max_examples=30)
@given(drawn, st.sampled_from(["etkf", "denkf", "stochastic"]))
def test_that_the_mean_is_the_kalman_mean(sizes, name):
    problem = Problem(*sizes)
    close(problem.posterior(name).mean(axis=0), problem.kalman()[0])


@settings(max_examples=30)
@given(drawn)
def test_that_the_covariances_are_those_of_the_table(sizes):
    problem = Problem(*sizes)
    _, covariance, gain = problem.kalman()
    close(np.cov(problem.posterior("etkf").T), covariance.squeeze())
    spread = problem.map.T @ np.atleast_2d(np.cov(problem.prior.T)) @ problem.map
    close(np.cov(problem.posterior("denkf").T), (covariance + gain @ spread @ gain.T / 4).squeeze())


@any_filter
def test_that_r_to_infinity_gives_the_identity(name):
    problem = Problem(1)
    transform = FILTERS[name](
        problem.prior @ problem.map, problem.values, 1e30 * problem.error, problem.draws
    )
    close(transform.mean_weights, np.zeros(6), 1e-12)
    close(transform.anomaly_transform, np.eye(6), 1e-12)


@settings(max_examples=30)
@given(drawn, st.sampled_from(list(FILTERS)))
def test_that_permuting_the_members_permutes_the_posterior(sizes, name):
    problem = Problem(*sizes)
    order = np.random.default_rng(0).permutation(sizes[1])
    close(problem.posterior(name, order=order), problem.posterior(name)[order])


@any_filter
def test_that_units_of_the_observations_do_not_matter(name):
    problem = Problem(2)
    scale = np.array([1e-3, 1.0, 7.0, 1e4])
    predicted = problem.prior @ problem.map
    plain = FILTERS[name](predicted, problem.values, problem.error, problem.draws)
    scaled = FILTERS[name](
        predicted * scale,
        problem.values * scale,
        problem.error * np.outer(scale, scale),
        problem.draws * scale,
    )
    close(scaled.weights, plain.weights)


@any_filter
def test_that_constant_predictions_change_nothing(name):
    problem = Problem(3)
    transform = FILTERS[name](np.ones((6, 4)), problem.values, problem.error, problem.draws)
    np.testing.assert_array_equal(apply_transform(transform, problem.prior), problem.prior)


@any_filter
def test_that_many_members_give_the_kalman_filter(name):
    rng = np.random.default_rng(4)
    root = np.array([[1.0, 0.0], [0.5, 0.8]])
    prior = rng.standard_normal((40_000, 2)) @ root.T
    draws = rng.standard_normal((40_000, 1))
    # A gain and a covariance in closed form, for H = (1, 0), R = 1 and an observation of 2.
    weight = 1.1 if name == "zeta01" else 1.0
    covariance = root @ root.T
    gain = weight * covariance[:, 0] / (weight * covariance[0, 0] + 1)
    rest = np.eye(2) - np.outer(gain, [1, 0])
    expected = rest @ covariance @ rest.T + np.outer(gain, gain)
    if name == "denkf":
        expected = rest @ covariance + covariance[0, 0] * np.outer(gain, gain) / 4
    # Blocks of 200 members are filtered apart: a transform of 40,000 would not fit anywhere.
    blocks = [
        apply_transform(FILTERS[name](x[:, :1], [2.0], [1.0], e), x)
        for x, e in zip(np.split(prior, 200), np.split(draws, 200), strict=True)
    ]
    close(np.mean([b.mean(axis=0) for b in blocks], axis=0), 2 * gain, 0.03)
    close(np.mean([np.cov(b.T) for b in blocks], axis=0), expected, 0.03)


@settings(max_examples=30)
@given(drawn)
def test_that_the_stochastic_filter_is_one_update_with_alpha_one(sizes):
    problem = Problem(*sizes)
    predicted = problem.prior @ problem.map
    expected = perturbed_observation_update(
        problem.prior, predicted, problem.values + problem.draws, problem.error
    )
    close(problem.posterior("stochastic_norecentre"), expected)


@settings(max_examples=30)
@given(drawn, st.floats(-0.5, 5))
def test_that_an_inflated_gain_is_that_of_a_smaller_r(sizes, inflation):
    problem = Problem(*sizes)
    predicted = problem.prior @ problem.map
    transform = gain_inflated_enkf(predicted, problem.values, problem.error, problem.draws, inflation)
    smaller = problem.error / (1 + inflation)
    expected = perturbed_observation_update(problem.prior, predicted, problem.values + problem.draws, smaller)
    close(apply_transform(transform, problem.prior), expected)
    plain = gain_inflated_enkf(predicted, problem.values, problem.error, problem.draws, 0.0)
    close(apply_transform(plain, problem.prior), problem.posterior("stochastic_norecentre"))


def test_that_the_symmetric_root_moves_the_members_least():
    problem = Problem(5)
    transform = etkf(problem.prior @ problem.map, problem.values, problem.error)
    moved = np.linalg.norm(transform.anomaly_transform - np.eye(6))
    orthogonal, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))
    assert moved < np.linalg.norm(orthogonal @ transform.anomaly_transform - np.eye(6))
    np.testing.assert_allclose(transform.anomaly_transform, transform.anomaly_transform.T, atol=1e-14)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12))
def test_that_recentred_perturbations_have_mean_zero_and_keep_their_variance(seed, n_members):
    draws = np.random.default_rng(seed).standard_normal((n_members, 3))
    centred = recentred(draws)
    close(centred.mean(axis=0), np.zeros(3), 1e-14)
    close((centred**2).mean(axis=0), draws.var(axis=0, ddof=1))


BAD = {
    "one member": lambda p: etkf([[1.0, 2.0]], [1.0, 2.0], np.ones(2)),
    "other observations": lambda p: denkf(p.prior @ p.map, p.values[:-1], p.error),
    "other draws": lambda p: stochastic_enkf(p.prior @ p.map, p.values, p.error, p.draws[:-1]),
    "inflation": lambda p: gain_inflated_enkf(p.prior @ p.map, p.values, p.error, p.draws, -1.0),
    "not finite": lambda p: etkf(p.prior @ p.map * np.nan, p.values, p.error),
    "overflow": lambda p: etkf(1e200 * p.prior @ p.map, p.values, 1e-20 * p.error),
    "one draw": lambda p: recentred(np.ones((1, 3))),
}


@pytest.mark.parametrize("case", BAD)
def test_that_what_cannot_be_used_is_refused(case):
    with pytest.raises(DataError):
        BAD[case](Problem(0))
