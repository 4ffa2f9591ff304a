import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError, DataError
from daflow.numerics.diagnostics.information import gram_of
from daflow.numerics.inversion.updates import perturbed_observation_update
from daflow.numerics.smoothers.iterative_smoothers import (
    Predictions,
    apply_weights,
    gauss_newton_step,
    levenberg_marquardt_step,
    member_costs,
    member_span,
    next_damping,
    no_weights,
)

drawn = given(st.integers(0, 2**32 - 1), st.integers(2, 7), st.integers(1, 9), st.integers(1, 9))


class Problem:
    def __init__(self, seed, n_members=6, n_state=8, n_obs=5, bend=0.0):
        rng = np.random.default_rng(seed)
        self.prior = rng.standard_normal((n_members, n_state))
        self.map, self.bend = rng.standard_normal((n_state, n_obs)) / np.sqrt(n_state), bend
        root = rng.standard_normal((n_obs, n_obs))
        self.error = root @ root.T / n_obs + np.eye(n_obs)
        noise = rng.standard_normal((n_members, n_obs)) @ np.linalg.cholesky(self.error).T
        self.observed = rng.standard_normal(n_obs) + noise
        self.start = 0.3 * rng.standard_normal((n_members, n_members))
        # Small states need to know what their members span.
        self.span = member_span(gram_of(self.prior)) if n_state < n_members - 1 else None

    def predict(self, state):
        linear = state @ self.map
        return linear + self.bend * linear**3

    def given(self, weights):
        return Predictions(self.predict(apply_weights(weights, self.prior)), self.observed, self.error)

    @property
    def smoothed(self):
        return perturbed_observation_update(self.prior, self.predict(self.prior), self.observed, self.error)


def close(actual, expected, rtol=1e-8):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * max(1.0, np.abs(expected).max()))


@settings(max_examples=30)
@drawn
def test_that_one_step_of_a_linear_problem_ends_at_the_ensemble_smoother_from_anywhere(
    seed, n, n_state, n_obs
):
    problem = Problem(seed, n, n_state, n_obs)
    first = gauss_newton_step(no_weights(n), problem.given(no_weights(n)), span=problem.span)
    close(apply_weights(first, problem.prior), problem.smoothed)
    elsewhere = gauss_newton_step(problem.start, problem.given(problem.start), span=problem.span)
    close(apply_weights(elsewhere, problem.prior), problem.smoothed)
    again = gauss_newton_step(first, problem.given(first), step_length=0.5, span=problem.span)
    close(apply_weights(again, problem.prior), problem.smoothed)


@settings(max_examples=30)
@drawn
def test_that_levenberg_and_marquardt_lie_between_gauss_newton_and_standing_still(seed, n, n_state, n_obs):
    problem = Problem(seed, n, n_state, n_obs)
    given_ = problem.given(problem.start)
    undamped = levenberg_marquardt_step(problem.start, given_, damping=0.0, span=problem.span)
    close(undamped, gauss_newton_step(problem.start, given_, span=problem.span))
    still = levenberg_marquardt_step(problem.start, given_, damping=1e15, span=problem.span)
    close(still, problem.start)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_that_damped_steps_bring_the_cost_of_a_nonlinear_problem_down(seed):
    problem = Problem(seed, 12, 8, 5, bend=0.3)
    problem.span = member_span(gram_of(problem.prior))
    weights, damping = no_weights(12), 1.0
    costs = [member_costs(weights, problem.given(weights))]
    for _ in range(20):
        trial = levenberg_marquardt_step(weights, problem.given(weights), damping=damping, span=problem.span)
        cost = member_costs(trial, problem.given(trial))
        damping = next_damping(damping, costs[-1], cost, factor=4.0)
        if cost.mean() < costs[-1].mean():
            weights = trial
            costs.append(cost)
    means = [cost.mean() for cost in costs]
    assert len(means) > 2
    assert (np.diff(means) < 0).all()


@settings(max_examples=30)
@drawn
def test_that_slices_give_what_the_whole_gives_and_zeros_the_prior(seed, n, n_state, n_obs):
    problem = Problem(seed, n, n_state, n_obs)
    whole = apply_weights(problem.start, problem.prior)
    parts = [
        apply_weights(problem.start, problem.prior[:, s])
        for s in (slice(n_state // 2), slice(n_state // 2, None))
    ]
    close(np.hstack(parts), whole, 1e-13)
    np.testing.assert_array_equal(apply_weights(no_weights(n), problem.prior), problem.prior)


def test_that_units_of_the_observations_do_not_matter():
    problem = Problem(1)
    given_ = problem.given(problem.start)
    scale = np.array([1e-3, 1.0, 7.0, 1e4, 1e-2])
    scaled = Predictions(
        given_.predicted * scale,
        given_.perturbed_observations * scale,
        problem.error * np.outer(scale, scale),
    )
    close(gauss_newton_step(problem.start, scaled), gauss_newton_step(problem.start, given_))
    close(member_costs(problem.start, scaled), member_costs(problem.start, given_))


def test_that_the_cost_is_that_of_its_definition_and_least_at_the_smoother():
    problem = Problem(2)
    best = gauss_newton_step(no_weights(6), problem.given(no_weights(6)))
    residual = problem.observed - problem.predict(apply_weights(best, problem.prior))
    expected = 0.5 * (best**2).sum(axis=1) + 0.5 * np.einsum(
        "ij,ij->i", residual, np.linalg.solve(problem.error, residual.T).T
    )
    close(member_costs(best, problem.given(best)), expected)
    rng = np.random.default_rng(0)
    for _ in range(10):
        other = best + 0.1 * rng.standard_normal(best.shape)
        assert (member_costs(other, problem.given(other)) >= expected - 1e-9).all()


def test_that_damping_falls_with_the_cost_and_rises_with_it():
    assert next_damping(1.0, [2.0, 4.0], [1.0, 4.0]) == 0.1
    assert next_damping(1.0, [1.0, 4.0], [2.0, 4.0], factor=4.0) == 4.0


def test_that_what_cannot_be_used_is_refused():
    problem = Problem(3)
    given_ = problem.given(no_weights(6))
    with pytest.raises(ConfigError, match="length"):
        gauss_newton_step(no_weights(6), given_, step_length=1.5)
    with pytest.raises(ConfigError, match="damping"):
        levenberg_marquardt_step(no_weights(6), given_, damping=-1.0)
    with pytest.raises(ConfigError, match="adapted"):
        next_damping(1.0, [1.0], [1.0], factor=1.0)
    with pytest.raises(DataError, match="weights"):
        gauss_newton_step(no_weights(5), given_)
    collapsed = -np.sqrt(5) * np.eye(6)
    with pytest.raises(DataError, match="no longer differ"):
        gauss_newton_step(collapsed, given_)
