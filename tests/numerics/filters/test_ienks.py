import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError, DataError
from daflow.numerics.filters.ensemble_transform import EnsembleTransform, apply_transform
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.filters.ienks import bundled, cost, iteration, no_transform, part_of_step

drawn = given(st.integers(0, 2**32 - 1), st.integers(2, 7), st.integers(1, 9))


class Problem:
    def __init__(self, seed, n_members=5, n_obs=4, bend=0.0):
        rng = np.random.default_rng(seed)
        self.prior = rng.standard_normal((n_members, 8))
        self.map, self.bend = rng.standard_normal((8, n_obs)) / np.sqrt(8), bend
        self.values, self.variances = rng.standard_normal(n_obs), rng.uniform(0.3, 2, n_obs)

    def predict(self, transform):
        linear = apply_transform(transform, self.prior) @ self.map
        return linear + self.bend * linear**3

    def step(self, transform):
        return iteration(transform, self.predict(transform), self.values, self.variances)

    def cost(self, weights):
        """Return J of the weights w of the mean alone."""
        mean = self.prior.mean(axis=0)
        anomalies = (self.prior - mean) / np.sqrt(len(self.prior) - 1)
        linear = (mean + weights @ anomalies) @ self.map
        residual = self.values - linear - self.bend * linear**3
        return 0.5 * weights @ weights + 0.5 * (residual**2 / self.variances).sum()


def close(actual, expected, rtol=1e-8):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * max(1.0, np.abs(expected).max()))


@settings(max_examples=30)
@drawn
def test_that_one_iteration_of_a_linear_problem_ends_at_the_etkf_and_stays(seed, n, n_obs):
    problem = Problem(seed, n, n_obs)
    expected = etkf(problem.predict(no_transform(n)), problem.values, problem.variances)
    first = problem.step(no_transform(n))
    close(first.transform.weights, expected.weights)
    for again in (problem.step(first.transform), problem.step(bundled(first.transform))):
        close(again.transform.weights, expected.weights, 1e-6)
        assert again.change < 1e-6


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_that_the_bundle_stops_where_the_gradient_of_the_cost_is_zero(seed):
    problem = Problem(seed, bend=0.05)
    found = problem.step(no_transform(5))
    for _ in range(30):
        found = problem.step(bundled(found.transform, 1e-6))
    assert found.change < 1e-6
    weights = 2 * found.transform.mean_weights
    gradient = [
        (problem.cost(weights + 1e-5 * axis) - problem.cost(weights - 1e-5 * axis)) / 2e-5
        for axis in np.eye(5)
    ]
    np.testing.assert_allclose(gradient, 0, atol=1e-5)


def test_that_iterations_of_the_transform_come_to_rest():
    problem = Problem(1, bend=0.05)
    found = problem.step(no_transform(5))
    changes = []
    for _ in range(15):
        found = problem.step(found.transform)
        changes.append(found.change)
    assert changes[-1] < 1e-5 < changes[0]
    anomalies = found.transform.anomaly_transform
    np.testing.assert_allclose(anomalies.sum(axis=1), 1, atol=1e-10)


def test_that_what_cannot_be_used_is_refused():
    problem = Problem(2)
    with pytest.raises(ConfigError, match="bundle"):
        bundled(no_transform(5), 0.0)
    with pytest.raises(DataError, match="another ensemble"):
        iteration(no_transform(4), problem.predict(no_transform(5)), problem.values, problem.variances)
    flat = EnsembleTransform(np.zeros(5), np.full((5, 5), 0.2))
    with pytest.raises(DataError, match="undone"):
        iteration(flat, problem.predict(no_transform(5)), problem.values, problem.variances)


def test_that_the_cost_is_that_of_the_weights_where_predictions_are_linear():
    problem = Problem(6)
    found = problem.step(no_transform(5)).transform
    for transform in (no_transform(5), found, part_of_step(no_transform(5), found, 0.3)):
        expected = problem.cost(2.0 * transform.mean_weights)
        given_cost = cost(transform, problem.predict(transform), problem.values, problem.variances)
        assert given_cost == pytest.approx(expected, rel=1e-10)


def test_that_predictions_that_are_not_finite_cost_infinitely():
    problem = Problem(6)
    predicted = problem.predict(no_transform(5))
    predicted[3, 1] = np.nan
    assert cost(no_transform(5), predicted, problem.values, problem.variances) == np.inf


def test_that_a_whole_step_is_the_other_and_none_keeps_the_weights():
    problem = Problem(7)
    used, found = no_transform(5), problem.step(no_transform(5)).transform
    for fraction, weights in ((1.0, found.mean_weights), (0.0, used.mean_weights)):
        part = part_of_step(used, found, fraction)
        np.testing.assert_allclose(part.mean_weights, weights, atol=1e-15)
        np.testing.assert_array_equal(part.anomaly_transform, found.anomaly_transform)
