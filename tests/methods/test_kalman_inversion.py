"""Ensemble Kalman inversion as a method."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from daflow.methods import AcceleratedEki, Eki, EsMda, Etki, PerturbedUpdate
from daflow.methods.kalman_inversion import plain_targets, raw_targets
from daflow.methods.step_lengths import DiscrepancyLengths, GivenLengths
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.obs_error.covariance import DenseCovariance
from daflow.numerics.smoothers.kalman_inversion import accelerated, misfit_of_mean, next_momentum
from daflow.ports import SlicePoints
from tests.methods.in_slices import InSlices
from tests.methods.smoothing import SEED, Problem, close, driven

GOLDEN = Path(__file__).parents[1] / "golden"
MANY = {"n_members": 1500, "n_state": 5}


class Given:
    """A golden step, whose targets are given; the square root of eps stands on the predictions' diagonal."""

    def __init__(self, name):
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            self.golden = {key: arrays[key] for key in arrays.files}
        self.values, self.seed, self.numbers = self.golden["y"], 0, None
        jitter = np.sqrt(np.finfo(float).eps) * np.eye(len(self.values))
        self.obs_error = DenseCovariance(self.golden["Gamma"] + jitter)

    def begin(self, step, members, alpha, draw=0):
        eigenvalues, vectors = np.linalg.eigh(self.golden["Gamma"])
        noise = (vectors * np.sqrt(eigenvalues) @ vectors.T @ self.golden["noise"]).T
        targets = self.values + np.sqrt(alpha) * noise
        return lambda where, part: targets[:, where]


@pytest.mark.parametrize("case", ["ekp_p6_d5_J20", "ekp_p4_d9_J5", "ekp_p10_d10_J8", "ekp_p1_d1_J10"])
def test_that_steps_meet_the_golden_numbers(case):
    source = Given(case)
    parameters, predicted = source.golden["u"].T, source.golden["g"].T
    points = SlicePoints(np.zeros(parameters.shape[1], np.int64), np.full((parameters.shape[1], 3), np.nan))
    for targets, name in ((raw_targets, "eki_noloc"), (plain_targets, "eki_noloc_nonoise")):
        method = Eki(GivenLengths((1.0,)), PerturbedUpdate(source), targets)
        found, _ = InSlices(method, points, [1]).step(0, parameters, predicted)
        expected = source.golden[name].T
        assert np.abs(found - expected).max() <= 1e-9 * np.abs(expected).max()


def kalman(problem):
    """Return mean and covariance of the posterior of the prior N(0, I)."""
    operator = problem.map.T
    gain = operator.T @ np.linalg.inv(operator @ operator.T + problem.covariance.dense())
    return gain @ problem.values, np.eye(problem.n_state) - gain @ operator


@pytest.mark.parametrize("steps", [(2.0, 4.0, 4.0), "discrepancy"])
def test_that_steps_that_sum_to_one_end_at_the_kalman_posterior(steps):
    problem = Problem(**MANY)
    lengths = DiscrepancyLengths(50) if steps == "discrepancy" else GivenLengths(steps)
    state = driven(problem, Eki(lengths, problem.update())).final
    mean, covariance = kalman(problem)
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    # In units of the posterior spread: as for ES-MDA, twice five standard deviations of a sample's moments.
    margin = 2.0 * 5.0 / np.sqrt(problem.n_members)
    assert np.abs(whiten @ (state.mean(axis=0) - mean)).max() < margin
    assert np.abs(whiten @ np.cov(state.T) @ whiten.T - np.eye(5)).max() < margin * np.sqrt(2.0)


def test_that_steps_that_sum_to_one_are_es_mda_but_for_one_member_in_many():
    problem, alphas = Problem(**MANY), (2.0, 4.0, 4.0)
    inversion = driven(problem, Eki(GivenLengths(alphas), problem.update())).final
    smoothed = driven(problem, EsMda(alphas, problem.values, problem.covariance, SEED)).final
    difference = np.abs(inversion - smoothed).max()
    assert 0 < difference < 20 / problem.n_members


def test_that_the_mean_of_the_transform_is_that_of_observations_as_they_are():
    problem = Problem()
    n = problem.n_members
    # Covariances are over n_members in the one and n_members - 1 in the other.
    transform = driven(problem, Etki(GivenLengths((2.5,)), problem.source)).final
    plain = Eki(GivenLengths((2.5 * (n - 1) / n,)), problem.update(), plain_targets)
    close(transform.mean(axis=0), driven(problem, plain).final.mean(axis=0), 1e-10)


@pytest.mark.parametrize("error", ["diagonal", "dense", "block", "low_rank"])
def test_that_transform_steps_that_sum_to_one_end_at_the_etkf(error):
    problem = Problem(error=error)
    found = driven(problem, Etki(GivenLengths((2.0, 4.0, 4.0)), problem.source), [7]).final
    whole = apply_transform(
        etkf(problem.predict(problem.prior), problem.values, problem.covariance), problem.prior
    )
    close(found.mean(axis=0), whole.mean(axis=0), 1e-9)
    close(np.cov(found.T), np.cov(whole.T), 1e-9)


def test_that_observations_as_they_are_never_raise_the_misfit_of_the_mean():
    problem = Problem(far=4.0)
    method = Eki(GivenLengths((1.0,) * 12), problem.update(), plain_targets)
    history = driven(problem, method)
    misfits = [
        misfit_of_mean(problem.predict(state), problem.values, problem.covariance) for state in history.states
    ]
    assert (np.diff(misfits) <= 1e-12).all()
    assert misfits[-1] < 0.1 * misfits[0]


def accelerated_by_hand(problem, method, dropped=()):
    """Return what the model sees after each step, by the formula on whole arrays."""
    plain, theta, states = method.inversion, 1.0, [problem.prior]
    before, kept = problem.prior, list(range(problem.n_members))
    for step in range(method.n_steps):
        seen = states[-1]
        if step == 2 and dropped:
            rows = [row for row, member in enumerate(kept) if member not in dropped]
            kept = [kept[row] for row in rows]
            seen, before = seen[rows], before[rows]
        one = replace(problem)
        one.prior, one.n_members = seen, len(seen)
        now = driven(one, plain, n_steps=1).final
        following = next_momentum(theta)
        last = step == method.n_steps - 1
        states.append(now if last else accelerated(now, before, following, theta))
        before, theta = now, following
    return states


@pytest.mark.parametrize("dropped", [(), (1, 6)])
def test_that_the_model_is_run_ahead_by_nesterov_s_recursion_and_the_last_step_is_not(dropped):
    problem = Problem(bend=0.02, far=4.0)
    plain = Eki(GivenLengths((1.0,) * 5), problem.update(), plain_targets)
    method = AcceleratedEki(plain)
    history = driven(problem, method, [3, 21], dropped={2: dropped})
    for found, expected in zip(history.states, accelerated_by_hand(problem, method, dropped), strict=True):
        close(found, expected, 1e-10)
    assert history.figures("ahead")[0] == history.figures("ahead")[-1] == 0.0
    assert min(history.figures("ahead")[1:-1]) > 0.2


def test_that_acceleration_fits_in_fewer_steps():
    problem = Problem(far=4.0, n_obs=20)
    plain = Eki(GivenLengths((0.05,) * 15), problem.update(), plain_targets)

    def misfit(method):
        state = driven(problem, method).final
        return misfit_of_mean(problem.predict(state), problem.values, problem.covariance)

    assert misfit(AcceleratedEki(plain)) < misfit(plain)
