from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError, DataError
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.filters.serial_filters import (
    SERIAL_FILTERS,
    SerialFactors,
    apply_serial,
    serial_factors,
    serial_transform,
)
from daflow.numerics.obs_error.covariance import DenseCovariance

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = {"n8_m5_N6": 1e-8, "n3_m6_N20": 1e-8, "n4_m1_N2": 1e-8, "n40_m40_N10": 1e-8, "n5_m4_N7_ill": 1e-5}
any_scheme = pytest.mark.parametrize("scheme", SERIAL_FILTERS)
drawn = given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 10),
    st.integers(1, 9),
    st.integers(1, 7),
    st.sampled_from(list(SERIAL_FILTERS)),
)


def load(case):
    with np.load(GOLDEN / f"filt_{case}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def problem(seed, n_members=6, n_state=8, n_obs=5):
    rng = np.random.default_rng(seed)
    prior = 3 + rng.standard_normal((n_members, n_state))
    predicted = prior @ rng.standard_normal((n_state, n_obs))
    return prior, predicted, rng.standard_normal(n_obs), rng.uniform(0.3, 2, n_obs)


def close(actual, expected, rtol=1e-10):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * max(1.0, np.abs(expected).max()))


def meets(actual, expected, rtol):
    assert np.abs(actual - expected.T).max() <= rtol * np.abs(expected).max()


@any_scheme
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("key", "order"), [("esrf_serial", 1), ("esrf_serial_rev", -1)])
def test_that_the_golden_analyses_are_met_in_either_order(scheme, case, key, order):
    golden = load(case)
    variances, map_ = np.diag(golden["R"])[::order], golden["H"][::order]
    prior = golden["X"].T
    factors = serial_factors(prior @ map_.T, golden["y"][::order], variances, scheme=scheme)
    meets(apply_serial(factors, prior), golden[key], CASES[case])
    meets(apply_transform(serial_transform(factors), prior), golden[key], CASES[case])


@any_scheme
@pytest.mark.parametrize("case", CASES)
def test_that_the_golden_tapered_analyses_are_met(scheme, case):
    # Here predictions are made afresh from the tapered state after each observation.
    golden = load(case)
    state = golden["X"].T
    for j, map_ in enumerate(golden["H"]):
        factors = serial_factors(
            state @ map_[:, np.newaxis], golden["y"][[j]], golden["R"][[j], [j]], scheme=scheme
        )
        state = apply_serial(factors, state, golden["rho_serial"][[j]].T)
    meets(state, golden["esrf_serial_loc"], CASES[case])


@settings(max_examples=30)
@drawn
def test_that_mean_and_covariance_are_those_of_the_etkf(seed, n_members, n_state, n_obs, scheme):
    prior, *rest = problem(seed, n_members, n_state, n_obs)
    serial = apply_serial(serial_factors(*rest, scheme=scheme), prior)
    batch = apply_transform(etkf(*rest), prior)
    close(serial.mean(axis=0), batch.mean(axis=0))
    close(np.cov(serial.T), np.cov(batch.T))


@any_scheme
def test_that_whitened_observations_stand_for_correlated_errors(scheme):
    prior, predicted, values, _ = problem(7)
    root = np.random.default_rng(7).standard_normal((5, 5))
    error = DenseCovariance(root @ root.T + np.eye(5))
    factors = serial_factors(error.whiten(predicted), error.whiten(values), np.ones(5), scheme=scheme)
    serial = apply_serial(factors, prior)
    batch = apply_transform(etkf(predicted, values, error), prior)
    close(serial.mean(axis=0), batch.mean(axis=0))
    close(np.cov(serial.T), np.cov(batch.T))


@settings(max_examples=30)
@drawn
def test_that_both_schemes_agree_member_by_member_tapered_or_not(seed, n_members, n_state, n_obs, scheme):
    prior, *rest = problem(seed, n_members, n_state, n_obs)
    rng = np.random.default_rng(seed)
    tapers = rng.uniform(size=(n_obs, n_obs)), rng.uniform(size=(n_state, n_obs))
    for mine, theirs in ((None, None), tapers):
        ensrf, eakf = (
            apply_serial(serial_factors(*rest, scheme=name, obs_obs_taper=mine), prior, theirs)
            for name in SERIAL_FILTERS
        )
        close(ensrf, eakf)


@settings(max_examples=30)
@drawn
def test_that_a_transform_does_what_the_sequence_does(seed, n_members, n_state, n_obs, scheme):
    prior, *rest = problem(seed, n_members, n_state, n_obs)
    factors = serial_factors(*rest, scheme=scheme)
    close(apply_transform(serial_transform(factors), prior), apply_serial(factors, prior))


@settings(max_examples=30)
@drawn
def test_that_predictions_are_a_state_like_any_other(seed, n_members, n_state, n_obs, scheme):
    # With the same taper, replaying the sequence on the predictions themselves, or on a state that holds
    # them, is the same thing.
    _, predicted, values, variances = problem(seed, n_members, n_state, n_obs)
    taper = np.random.default_rng(seed).uniform(size=(n_obs, n_obs))
    factors = serial_factors(predicted, values, variances, scheme=scheme, obs_obs_taper=taper)
    state = predicted
    for j in range(n_obs):
        one = serial_factors(state[:, [j]], values[[j]], variances[[j]], scheme=scheme)
        state = apply_serial(one, state, taper[[j]].T)
    close(apply_serial(factors, predicted, taper.T), state)


@settings(max_examples=30)
@drawn
def test_that_the_order_does_not_matter_without_a_taper(seed, n_members, n_state, n_obs, scheme):
    prior, predicted, values, variances = problem(seed, n_members, n_state, n_obs)
    forwards = apply_serial(serial_factors(predicted, values, variances, scheme=scheme), prior)
    backwards = serial_factors(predicted[:, ::-1], values[::-1], variances[::-1], scheme=scheme)
    other = apply_serial(backwards, prior)
    close(other.mean(axis=0), forwards.mean(axis=0))
    close(np.cov(other.T), np.cov(forwards.T))


@settings(max_examples=30)
@drawn
def test_that_slices_give_what_the_whole_gives(seed, n_members, n_state, n_obs, scheme):
    prior, *rest = problem(seed, n_members, n_state, n_obs)
    taper = np.random.default_rng(seed).uniform(size=(n_state, n_obs))
    factors = serial_factors(*rest, scheme=scheme)
    cut = n_state // 2
    slices = [apply_serial(factors, prior[:, part], taper[part]) for part in (slice(cut), slice(cut, None))]
    close(np.hstack(slices), apply_serial(factors, prior, taper), 1e-12)


@any_scheme
def test_that_a_taper_of_ones_is_none_and_of_zeros_lets_nothing_through(scheme):
    prior, *rest = problem(1)
    factors = serial_factors(*rest, scheme=scheme)
    ones = serial_factors(*rest, scheme=scheme, obs_obs_taper=np.ones((5, 5)))
    np.testing.assert_array_equal(apply_serial(ones, prior, np.ones((8, 5))), apply_serial(factors, prior))
    np.testing.assert_array_equal(apply_serial(factors, prior, np.zeros((8, 5))), prior)


@any_scheme
def test_that_constant_predictions_change_nothing(scheme):
    prior, _, *rest = problem(1)
    factors = serial_factors(np.ones((6, 5)), *rest, scheme=scheme)
    assert isinstance(factors, SerialFactors)
    np.testing.assert_array_equal(apply_serial(factors, prior), prior)


def test_that_what_cannot_be_used_is_refused():
    prior, predicted, values, variances = problem(0)
    with pytest.raises(ConfigError, match="ensrf, eakf"):
        serial_factors(predicted, values, variances, scheme="enkf")
    with pytest.raises(DataError):
        serial_factors(predicted, values, -variances)
    with pytest.raises(DataError):
        serial_factors(predicted[:1], values, variances)
    with pytest.raises(DataError):
        apply_serial(serial_factors(predicted, values, variances), prior, np.ones((5, 8)))
