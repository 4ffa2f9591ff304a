import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import CombinationError, ConfigError, DataError
from daflow.numerics.diagnostics.information import gram_of
from daflow.numerics.inversion.global_update import transform_members
from daflow.numerics.inversion.updates import perturbed_observation_update
from daflow.numerics.obs_error.covariance import as_covariance
from daflow.numerics.observations import blocks
from daflow.numerics.observations.blocks import blocks_of_arrays
from daflow.numerics.smoothers.weight_steps import (
    PredictionSums,
    costs,
    gauss_newton,
    levenberg_marquardt,
    member_span,
    next_damping,
    no_weights,
    sums_of_predictions,
    survivors_weights,
    transform_of_weights,
)
from tests.methods.smoothing import errors_of

FORMS = ["diagonal", "dense", "block", "low_rank"]


def drawn(seed, n_members=7, n_obs=12):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_members, n_obs)), 2 * rng.standard_normal((n_members, n_obs))


def close(actual, expected, rtol=1e-12):
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * scale)


def members_of(weights, prior):
    """Return the members that weights stand for, as it is defined."""
    return prior + weights @ (prior - prior.mean(axis=0)) / np.sqrt(len(prior) - 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 5, 2**18])
def test_that_sums_by_blocks_are_those_of_the_whole(form, size, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_NUMBERS", size)
    monkeypatch.setattr(blocks, "WINDOW_NUMBERS", 3 * size)
    predicted, observed = drawn(1)
    error = errors_of(12)[form]
    found = sums_of_predictions(blocks_of_arrays(predicted, observed, error))
    anomalies, mismatch = predicted - predicted.mean(axis=0), observed - predicted
    inverse = np.linalg.inv(error.dense())
    close(found.gram, anomalies @ inverse @ anomalies.T, 1e-11)
    close(found.products, mismatch @ inverse @ anomalies.T, 1e-11)
    close(found.squares, np.einsum("ij,jk,ik->i", mismatch, inverse, mismatch), 1e-11)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.sets(st.integers(0, 6), min_size=2).map(sorted))
def test_that_sums_of_survivors_are_those_of_members_that_had_never_been_others(seed, kept):
    predicted, observed = drawn(seed)
    error = errors_of(12)["diagonal"]
    found = sums_of_predictions(blocks_of_arrays(predicted, observed, error)).of(kept)
    alone = sums_of_predictions(blocks_of_arrays(predicted[kept], observed[kept], error))
    for one, other in zip(found, alone, strict=True):
        close(one, other, 1e-11)


def weights_of(seed, n_members=7):
    """Return weights as steps make them: their rows sum to zero."""
    weights = 0.3 * np.random.default_rng(seed).standard_normal((n_members, n_members))
    return weights - weights.mean(axis=1, keepdims=True)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.integers(0, 6))
def test_that_a_survivor_moves_by_its_weight_on_the_lost_times_how_far_that_is_from_the_others(seed, lost):
    prior = np.random.default_rng(seed + 1).standard_normal((7, 5))
    kept = [member for member in range(7) if member != lost]
    weights = weights_of(seed)
    before = members_of(weights, prior)[kept]
    after = members_of(survivors_weights(weights, kept), prior[kept])
    away = prior[lost] - prior[kept].mean(axis=0)
    close(before - after, np.outer(weights[kept, lost] / np.sqrt(6), away))


def test_that_nobody_lost_changes_nothing_and_no_weights_stay_none():
    weights = weights_of(3)
    assert survivors_weights(weights, list(range(7))) is weights
    assert not survivors_weights(no_weights(7), [0, 2, 5]).any()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**16))
def test_that_the_transform_of_weights_makes_the_members_that_they_stand_for(seed):
    prior, weights = np.random.default_rng(seed).standard_normal((7, 9)), weights_of(seed)
    found = np.empty_like(prior)
    transform_members(transform_of_weights(weights), prior, found)
    close(found, members_of(weights, prior))
    transform_members(transform_of_weights(no_weights(7)), prior, found)
    assert found.tobytes() == prior.tobytes()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**16), st.floats(0, 100))
def test_that_damped_steps_lie_between_gauss_newton_and_standing_still(seed, damping):
    sums = sums_of_predictions(blocks_of_arrays(*drawn(seed), errors_of(12)["dense"]))
    weights = weights_of(seed)
    full = gauss_newton(weights, sums, 1.0)
    close(levenberg_marquardt(weights, sums, 0.0), full, 1e-9)
    step = levenberg_marquardt(weights, sums, damping) - weights
    assert np.linalg.norm(step) <= np.linalg.norm(full - weights) * (1 + 1e-9)
    close(levenberg_marquardt(weights, sums, 1e14), weights, 1e-9)


sizes = given(st.integers(0, 2**32 - 1), st.integers(2, 7), st.integers(1, 9), st.integers(1, 9))


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
        """Return what is predicted of the members that weights stand for."""
        predicted = self.predict(members_of(weights, self.prior))
        return sums_of_predictions(blocks_of_arrays(predicted, self.observed, as_covariance(self.error)))

    @property
    def smoothed(self):
        return perturbed_observation_update(self.prior, self.predict(self.prior), self.observed, self.error)


@settings(deadline=None, max_examples=30)
@sizes
def test_that_one_step_of_a_linear_problem_ends_at_the_ensemble_smoother_from_anywhere(
    seed, n, n_state, n_obs
):
    problem = Problem(seed, n, n_state, n_obs)
    first = gauss_newton(no_weights(n), problem.given(no_weights(n)), 1.0, problem.span)
    close(members_of(first, problem.prior), problem.smoothed, 1e-8)
    elsewhere = gauss_newton(problem.start, problem.given(problem.start), 1.0, problem.span)
    close(members_of(elsewhere, problem.prior), problem.smoothed, 1e-8)
    again = gauss_newton(first, problem.given(first), 0.5, problem.span)
    close(members_of(again, problem.prior), problem.smoothed, 1e-8)


@settings(deadline=None, max_examples=30)
@sizes
def test_that_levenberg_and_marquardt_lie_between_gauss_newton_and_standing_still(seed, n, n_state, n_obs):
    problem = Problem(seed, n, n_state, n_obs)
    given_ = problem.given(problem.start)
    undamped = levenberg_marquardt(problem.start, given_, 0.0, problem.span)
    close(undamped, gauss_newton(problem.start, given_, 1.0, problem.span), 1e-8)
    still = levenberg_marquardt(problem.start, given_, 1e15, problem.span)
    close(still, problem.start, 1e-8)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_that_damped_steps_bring_the_cost_of_a_nonlinear_problem_down(seed):
    problem = Problem(seed, 12, 8, 5, bend=0.3)
    problem.span = member_span(gram_of(problem.prior))
    weights, damping = no_weights(12), 1.0
    lowered = [costs(weights, problem.given(weights))]
    for _ in range(20):
        trial = levenberg_marquardt(weights, problem.given(weights), damping, problem.span)
        cost = costs(trial, problem.given(trial))
        damping = next_damping(damping, lowered[-1], cost, 4.0)
        if cost.mean() < lowered[-1].mean():
            weights = trial
            lowered.append(cost)
    means = [cost.mean() for cost in lowered]
    assert len(means) > 2
    assert (np.diff(means) < 0).all()


def test_that_units_of_the_observations_do_not_matter():
    problem = Problem(1)
    scale = np.array([1e-3, 1.0, 7.0, 1e4, 1e-2])
    predicted, error = problem.predict(members_of(problem.start, problem.prior)), np.outer(scale, scale)
    scaled = sums_of_predictions(
        blocks_of_arrays(predicted * scale, problem.observed * scale, as_covariance(problem.error * error))
    )
    given_ = problem.given(problem.start)
    close(gauss_newton(problem.start, scaled, 1.0), gauss_newton(problem.start, given_, 1.0), 1e-8)
    close(costs(problem.start, scaled), costs(problem.start, given_), 1e-8)


def test_that_the_cost_is_that_of_its_definition_and_least_at_the_smoother():
    problem = Problem(2)
    best = gauss_newton(no_weights(6), problem.given(no_weights(6)), 1.0)
    residual = problem.observed - problem.predict(members_of(best, problem.prior))
    expected = 0.5 * (best**2).sum(axis=1) + 0.5 * np.einsum(
        "ij,ij->i", residual, np.linalg.solve(problem.error, residual.T).T
    )
    close(costs(best, problem.given(best)), expected, 1e-8)
    rng = np.random.default_rng(0)
    for _ in range(10):
        other = best + 0.1 * rng.standard_normal(best.shape)
        assert (costs(other, problem.given(other)) >= expected - 1e-9).all()


def test_that_damping_falls_with_the_cost_and_rises_with_it():
    assert next_damping(1.0, [2.0, 4.0], [1.0, 4.0], 10.0) == 0.1
    assert next_damping(1.0, [1.0, 4.0], [2.0, 4.0], 4.0) == 4.0


def test_that_costs_are_of_weights_and_mismatch():
    sums = PredictionSums(np.zeros((2, 2)), np.zeros((2, 2)), np.array([3.0, 5.0]))
    np.testing.assert_allclose(costs(np.array([[1.0, 2.0], [0.0, 4.0]]), sums), [4.0, 10.5])


def test_that_predictions_that_dwarf_their_errors_are_told_of():
    rng = np.random.default_rng(4)
    predicted, observed = 1e15 * rng.standard_normal((7, 3)), rng.standard_normal((7, 3))
    sums = sums_of_predictions(blocks_of_arrays(predicted, observed, errors_of(3)["diagonal"]))
    with pytest.raises(CombinationError, match="rounding hides"):
        gauss_newton(no_weights(7), sums, 1.0)


def test_that_what_cannot_be_used_is_refused():
    sums = sums_of_predictions(blocks_of_arrays(*drawn(1), errors_of(12)["diagonal"]))
    with pytest.raises(ConfigError, match="length of a step"):
        gauss_newton(no_weights(7), sums, 0.0)
    with pytest.raises(ConfigError, match="damping"):
        levenberg_marquardt(no_weights(7), sums, -1.0)
    with pytest.raises(ConfigError, match="adapted"):
        next_damping(1.0, [1.0], [1.0], 1.0)
    same = -np.sqrt(6) * (np.eye(7) - 1 / 7)
    with pytest.raises(DataError, match="no longer differ"):
        gauss_newton(same, sums, 1.0)
    predicted, observed = drawn(1)
    predicted[3, 2] = np.nan
    with pytest.raises(DataError, match="predicted"):
        sums_of_predictions(blocks_of_arrays(predicted, observed, errors_of(12)["diagonal"]))
