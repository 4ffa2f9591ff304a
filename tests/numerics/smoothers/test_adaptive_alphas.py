from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.diagnostics.misfit import data_misfit
from daflow.numerics.inversion.updates import perturbed_observation_update
from daflow.numerics.obs_error.covariance import as_covariance
from daflow.numerics.smoothers.adaptive_alphas import (
    Trial,
    discrepancy_alpha,
    first_trial,
    is_complete,
    largest_move,
    next_trial,
    restricted_step,
    spent,
)

GOLDEN = Path(__file__).parents[2] / "golden"
forms = pytest.mark.parametrize("form", ["diag", "dense"])


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


class Problem:
    """A weakly nonlinear problem whose perturbations come from a table, one block a draw."""

    def __init__(self, golden):
        self.matrix, self.values, self.error = golden["A"], golden["d"], as_covariance(golden["R"])
        self.draws, self.used = golden["Z"], 0
        self.state = golden["X0"].T

    @property
    def predicted(self):
        linear = self.state @ self.matrix.T
        return linear + 0.1 * linear**2

    def misfits(self):
        return data_misfit(self.predicted, self.values, self.error)

    def update(self, alpha, draw=0):
        perturbed = self.values + np.sqrt(alpha) * self.error.colour(self.draws[self.used + draw].T)
        return perturbed_observation_update(self.state, self.predicted, perturbed, self.error, alpha=alpha)


def assert_follows(golden, alphas, states):
    np.testing.assert_allclose(alphas, golden["alphas"], rtol=1e-8)
    assert len(states) == len(golden["traj"])
    for state, expected in zip(states, golden["traj"], strict=True):
        assert np.abs(state - expected.T).max() <= 1e-8 * np.abs(expected).max()


@forms
def test_that_the_data_misfit_controller_follows_the_golden_trajectory(form):
    golden = load(f"esmda_dmc_{form}")
    problem, alphas = Problem(golden), []
    states = [problem.state]
    while not is_complete(alphas):
        alpha = discrepancy_alpha(problem.misfits(), len(problem.values), alphas)
        problem.state = problem.update(alpha)
        problem.used += 1
        states.append(problem.state)
        alphas.append(alpha)
    assert_follows(golden, alphas, states)
    assert abs(spent(alphas) - 1) < 1e-12


def restricted(problem):
    deviations, alphas, states = problem.state.std(axis=0, ddof=1), [], [problem.state]
    moves = []
    while not is_complete(alphas):
        trial = first_trial(problem.misfits(), len(problem.values), alphas)
        step = restricted_step(problem.update, problem.state, deviations, trial, alphas)
        moves.append(largest_move(step.posterior - problem.state, deviations))
        problem.state = step.posterior
        problem.used += step.trial.draw + 1
        states.append(step.posterior)
        alphas.append(step.trial.alpha)
    return alphas, states, moves


@forms
def test_that_the_restricted_step_follows_the_golden_trajectory(form):
    golden = load(f"esmda_rs_{form}")
    alphas, states, moves = restricted(Problem(golden))
    assert_follows(golden, alphas, states)
    assert max(moves[:-1]) < 2


def random_problem(seed, n_members=8, n_state=4, n_obs=5):
    rng = np.random.default_rng(seed)
    return Problem(
        {
            "A": rng.standard_normal((n_obs, n_state)),
            "d": 4 * rng.standard_normal(n_obs),
            "R": np.diag(rng.uniform(0.05, 1, n_obs)),
            "X0": rng.standard_normal((n_state, n_members)),
            "Z": rng.standard_normal((300, n_obs, n_members)),
        }
    )


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_that_the_restricted_schedule_ends_with_a_sum_of_one_and_moves_nothing_too_far(seed):
    alphas, _, moves = restricted(random_problem(seed))
    assert abs(spent(alphas) - 1) < 1e-12
    assert all(move < 2 for move in moves[:-1])


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_that_the_schedule_of_the_controller_ends_with_a_sum_of_one(seed):
    rng, alphas = np.random.default_rng(seed), []
    for _ in range(10_000):
        alphas.append(discrepancy_alpha(rng.gamma(2, 5, size=6), 10, alphas))
        if is_complete(alphas):
            break
    assert abs(spent(alphas) - 1) < 1e-12


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(1, 1e6))
def test_that_larger_misfits_never_give_a_smaller_alpha(seed, factor):
    misfits = np.random.default_rng(seed).gamma(2, 5, size=6)
    assert discrepancy_alpha(factor * misfits, 10, [2.0]) >= discrepancy_alpha(misfits, 10, [2.0])


def test_that_misfits_that_are_all_zero_or_all_the_same_spend_what_is_left():
    assert discrepancy_alpha(np.zeros(4), 10, [2.0]) == 2.0
    assert discrepancy_alpha(np.full(4, 7.0), 10, [2.0]) == 2.0
    assert first_trial(np.zeros(4), 10, [4.0, 4.0]) == Trial(2.0)


def test_that_a_trial_is_doubled_where_it_moves_too_far_and_closed_where_it_spends_too_much():
    trial = Trial(5.0)
    assert next_trial(trial, 2.0, []) == Trial(10.0, draw=1)
    assert next_trial(trial, 1.9, []) is trial
    assert next_trial(trial, 1.9, [1.0 + 1 / 7]) == Trial(pytest.approx(8.0), closing=True)
    closing = Trial(1.5, closing=True)
    assert next_trial(closing, 100.0, []) is closing


def test_that_a_sum_one_rounding_below_one_is_complete():
    assert is_complete([1.0 / (1.0 - 2e-16)])
    assert not is_complete([2.0])
    assert not is_complete([])


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_that_the_largest_move_over_the_slices_is_that_of_the_whole(seed, cut):
    rng = np.random.default_rng(seed)
    increment, deviations = rng.standard_normal((3, 10)), rng.uniform(0.1, 2, 10)
    slices = [largest_move(increment[:, part], deviations[part]) for part in (slice(cut), slice(cut, None))]
    assert max(slices) == largest_move(increment, deviations)


def test_that_what_has_no_spread_counts_only_where_it_moves():
    assert largest_move([[1.0, 0.0]], [2.0, 0.0]) == 0.5
    assert largest_move([[1.0, 1e-9]], [2.0, 0.0]) == np.inf


BAD = {
    "one member": lambda: discrepancy_alpha([1.0], 3, []),
    "negative": lambda: discrepancy_alpha([1.0, -1.0], 3, []),
    "not finite": lambda: discrepancy_alpha([1.0, np.nan], 3, []),
    "complete": lambda: discrepancy_alpha([1.0, 2.0], 3, [1.0]),
    "no alphas": lambda: spent([0.0, 1.0]),
    "spread": lambda: largest_move([[1.0]], [-1.0]),
    "an update that ignores alpha": lambda: restricted_step(
        lambda alpha, number: np.ones((2, 1)), np.zeros((2, 1)), [0.1], Trial(1.0), []
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_that_what_cannot_be_used_is_refused(case):
    with pytest.raises(DataError):
        BAD[case]()
