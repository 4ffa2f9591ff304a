from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.inversion.updates import perturbed_observation_update
from daflow.numerics.localization.correlation_tapers import correlations
from daflow.numerics.localization.index_tapers import radial_taper
from daflow.numerics.localization.nice_correction import choose_nice, nice_weights, survey_norms
from daflow.numerics.localization.sampling_error import power_weights
from daflow.numerics.smoothers.kalman_inversion import (
    accelerated,
    equivalent_alpha,
    inversion_transform,
    misfit_of_mean,
    next_momentum,
    perturbed_targets,
    transform_inversion,
)

GOLDEN = Path(__file__).parents[2] / "golden"
any_case = pytest.mark.parametrize(
    "case", ["ekp_p6_d5_J20", "ekp_p4_d9_J5", "ekp_p10_d10_J8", "ekp_p1_d1_J10"]
)


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


class Case:
    """A golden step; there the square root of eps stands on the diagonal of the predictions' covariance."""

    def __init__(self, name):
        golden = self.golden = load(name)
        self.parameters, self.predicted, self.values = golden["u"].T, golden["g"].T, golden["y"]
        self.jitter = np.sqrt(np.finfo(float).eps) * np.eye(len(self.values))

    def error(self, time_step):
        return self.golden["Gamma"] + time_step * self.jitter

    def targets(self, time_step):
        # There the symmetric root of R colours the normals, here that of Cholesky.
        eigenvalues, vectors = np.linalg.eigh(self.golden["Gamma"])
        root = vectors * np.sqrt(eigenvalues) @ vectors.T
        normals = np.linalg.solve(np.linalg.cholesky(self.golden["Gamma"]), root @ self.golden["noise"]).T
        return perturbed_targets(self.values, self.golden["Gamma"], time_step, normals)

    def meets(self, found, name, rtol=1e-9):
        expected = self.golden[name].T
        assert np.abs(found - expected).max() <= rtol * np.abs(expected).max()


@any_case
def test_that_steps_without_tapers_meet_the_golden_numbers(case):
    one = Case(case)
    for targets, name in ((one.targets(1.0), "eki_noloc"), (one.values, "eki_noloc_nonoise")):
        transform = inversion_transform(one.predicted, targets, one.error(1.0), 1.0)
        one.meets(apply_transform(transform, one.parameters), name)


@any_case
def test_that_steps_with_corrected_sampling_errors_meet_the_golden_numbers(case):
    one = Case(case)
    n_members = len(one.parameters)
    n_state, deviations = one.parameters.shape[1], np.sqrt(np.diag(one.golden["C"]))
    correlation = one.golden["C"] / np.outer(deviations, deviations)
    cross, own = correlation[:n_state, n_state:], correlation[n_state:, n_state:]
    np.testing.assert_allclose(cross, correlations(one.parameters, one.predicted), atol=1e-6)
    nice = [nice_weights(r, choose_nice(survey_norms(r, n_members, std="ekp_v2"))) for r in (cross, own)]
    power = [power_weights(r, 1.0) for r in (cross, own)]
    unperturbed = np.broadcast_to(one.values, one.predicted.shape)
    # There NICE clips perfect correlations a little below one.
    for weights, time_step, targets, name, rtol in (
        (nice, 1.0, unperturbed, "eki_nice", 1e-6),
        (power, 0.5, one.targets(0.5), "eki_sec1_dt05", 1e-9),
    ):
        found = perturbed_observation_update(
            one.parameters,
            one.predicted,
            targets,
            one.error(time_step),
            alpha=equivalent_alpha(time_step, n_members),
            state_obs_taper=weights[0],
            obs_obs_taper=weights[1],
        )
        one.meets(found, name, rtol)


def test_that_momentum_meets_the_golden_numbers():
    golden = load("nesterov")
    thetas = [1.0]
    while len(thetas) <= len(golden["theta"]):
        thetas.append(next_momentum(thetas[-1]))
    offset = 0 if golden["theta"][0] == 1.0 else 1
    np.testing.assert_allclose(golden["theta"], thetas[offset : offset + len(golden["theta"])], rtol=1e-12)
    for (before, theta), expected in zip(pairwise(thetas), golden["v"], strict=True):
        found = accelerated(golden["u"].T, golden["u_prev"].T, theta, before)
        np.testing.assert_allclose(found, expected.T, rtol=1e-12, atol=1e-12)


@settings(max_examples=30)
@given(st.floats(1e-6, 1))
def test_that_the_recursion_of_momentum_holds(theta):
    following = next_momentum(theta)
    assert following**2 == pytest.approx((1 - following) * theta**2, rel=1e-10)
    assert 0 < following < theta


def test_that_momentum_adds_nothing_at_first_and_commutes_with_linear_maps_and_slices():
    rng = np.random.default_rng(0)
    now, before, matrix = (rng.standard_normal(shape) for shape in ((4, 5), (4, 5), (5, 3)))
    np.testing.assert_array_equal(accelerated(now, before, next_momentum(1.0), 1.0), now)
    moved = accelerated(now, before, 0.4, 0.6)
    close(accelerated(now @ matrix, before @ matrix, 0.4, 0.6), moved @ matrix)
    close(accelerated(now[:, :2], before[:, :2], 0.4, 0.6), moved[:, :2])


def problem(seed, n_members=6, n_state=5, n_obs=8):
    rng = np.random.default_rng(seed)
    prior = 1 + rng.standard_normal((n_members, n_state))
    matrix = rng.standard_normal((n_state, n_obs))
    return prior, matrix, rng.standard_normal(n_obs), rng.uniform(0.3, 2, n_obs), rng


def close(actual, expected, rtol=1e-9):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * max(1.0, np.abs(expected).max()))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.lists(st.floats(0.01, 5), min_size=1, max_size=5))
def test_that_transform_steps_that_sum_to_one_end_at_the_etkf_s_posterior(seed, steps):
    prior, matrix, values, variances, _ = problem(seed)
    state = prior
    for step in np.array(steps) / sum(steps):
        state = apply_transform(transform_inversion(state @ matrix, values, variances, step), state)
    expected = apply_transform(etkf(prior @ matrix, values, variances), prior)
    close(state.mean(axis=0), expected.mean(axis=0))
    close(np.cov(state.T), np.cov(expected.T))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100))
def test_that_a_transform_step_is_the_etkf_with_r_over_h(seed, step):
    prior, matrix, values, variances, _ = problem(seed)
    found = transform_inversion(prior @ matrix, values, variances, step)
    close(found.weights, etkf(prior @ matrix, values, variances / step).weights)


def test_that_a_step_of_no_length_is_the_identity():
    prior, matrix, values, variances, rng = problem(1)
    targets = perturbed_targets(values, variances, 1e-20, rng.standard_normal((6, 8)))
    for transform in (
        inversion_transform(prior @ matrix, values, variances, 1e-20),
        inversion_transform(prior @ matrix, targets, variances, 1e-20),
        transform_inversion(prior @ matrix, values, variances, 1e-20),
    ):
        close(apply_transform(transform, prior), prior, 1e-8)


def test_that_inversions_stay_in_the_span_of_the_members_and_reach_the_least_misfit_in_it():
    prior, matrix, values, variances, _ = problem(2, n_members=4)
    state, misfits = prior, []
    for _ in range(300):
        misfits.append(misfit_of_mean(state @ matrix, values, variances))
        state = apply_transform(inversion_transform(state @ matrix, values, variances, 1.0), state)
    span = (prior[1:] - prior[0]).T
    assert np.linalg.matrix_rank(np.column_stack([span, (state - prior[0]).T]), tol=1e-8) == 3
    assert (np.diff(misfits) <= 1e-12).all()
    whitened = (span.T @ matrix / np.sqrt(variances)).T
    residual = (values - prior[0] @ matrix) / np.sqrt(variances)
    best = np.linalg.lstsq(whitened, residual, rcond=None)[1][0] / 8
    assert misfits[-1] == pytest.approx(best, rel=0.01)


def test_that_perturbed_steps_are_updates_of_es_mda_with_the_equivalent_alpha():
    prior, matrix, values, variances, rng = problem(3)
    targets = perturbed_targets(values, variances, 0.25, rng.standard_normal((6, 8)))
    taper = radial_taper((0, 5), 8, 1e9)
    found = apply_transform(inversion_transform(prior @ matrix, targets, variances, 0.25), prior)
    alpha = equivalent_alpha(0.25, 6)
    assert alpha == pytest.approx(4.8)
    close(
        perturbed_observation_update(
            prior, prior @ matrix, targets, variances, alpha=alpha, state_obs_taper=taper
        ),
        found,
    )


def test_that_what_cannot_be_used_is_refused():
    prior, matrix, values, variances, _ = problem(4)
    with pytest.raises(DataError, match="positive"):
        inversion_transform(prior @ matrix, values, variances, 0.0)
    with pytest.raises(DataError, match="targets"):
        inversion_transform(prior @ matrix, values[:-1], variances, 1.0)
    with pytest.raises(DataError, match="two members"):
        equivalent_alpha(1.0, 1)
    with pytest.raises(DataError, match="momentum"):
        next_momentum(0.0)
