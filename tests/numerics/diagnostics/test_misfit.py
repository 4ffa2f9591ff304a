"""Laws of the misfits and of the spread."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.diagnostics.misfit import (
    data_misfit,
    misfit_by_group,
    normalized_misfit,
    spread,
)
from daflow.numerics.obs_error.covariance import DenseCovariance, DiagonalCovariance

seeds = st.integers(0, 2**32 - 1)


def problem(seed, n_members=5, n_obs=7):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_members, n_obs)), rng.normal(size=n_obs), rng.uniform(0.1, 3.0, n_obs)


def test_that_the_misfit_is_the_mean_square_in_standard_deviations():
    misfit = normalized_misfit([[1.0, 2.0], [3.0, 6.0]], [1.0, 4.0], [1.0, 2.0])
    np.testing.assert_array_equal(misfit, [0.5, 2.5])


@given(seed=seeds)
def test_that_a_perfect_prediction_has_no_misfit(seed):
    _, values, deviation = problem(seed)
    perfect = np.tile(values, (3, 1))
    np.testing.assert_array_equal(normalized_misfit(perfect, values, deviation), 0.0)
    np.testing.assert_array_equal(data_misfit(perfect, values, DiagonalCovariance(deviation**2)), 0.0)


@given(seed=seeds, scale=st.floats(1e-3, 1e3))
def test_that_the_misfit_does_not_know_the_units(seed, scale):
    predicted, values, deviation = problem(seed)
    expected = normalized_misfit(predicted, values, deviation)
    got = normalized_misfit(scale * predicted, scale * values, scale * deviation)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@given(seed=seeds)
def test_that_for_independent_errors_it_is_twice_the_data_misfit_per_observation(seed):
    predicted, values, deviation = problem(seed)
    expected = 2.0 * data_misfit(predicted, values, DiagonalCovariance(deviation**2)) / 7
    np.testing.assert_allclose(normalized_misfit(predicted, values, deviation), expected, rtol=1e-12)


@given(seed=seeds)
@settings(max_examples=20)
def test_that_the_data_misfit_is_the_quadratic_form_and_grows_with_the_square(seed):
    predicted, values, _ = problem(seed)
    root = np.random.default_rng(seed).normal(size=(7, 7))
    matrix = root @ root.T + 7.0 * np.eye(7)
    residual = values - predicted
    expected = [0.5 * r @ np.linalg.solve(matrix, r) for r in residual]
    error = DenseCovariance(matrix)
    np.testing.assert_allclose(data_misfit(predicted, values, error), expected, rtol=1e-10)
    np.testing.assert_allclose(
        data_misfit(values - 3.0 * residual, values, error), 9.0 * np.array(expected), rtol=1e-10
    )


@given(seed=seeds, groups=st.lists(st.sampled_from("abc"), min_size=7, max_size=7))
def test_that_the_groups_weighted_by_size_add_up_to_the_whole(seed, groups):
    predicted, values, deviation = problem(seed)
    by_group = misfit_by_group(predicted, values, deviation, groups)
    assert list(by_group) == list(dict.fromkeys(groups))
    total = sum(misfit * groups.count(group) for group, misfit in by_group.items())
    np.testing.assert_allclose(total / 7, normalized_misfit(predicted, values, deviation), rtol=1e-12)


@given(seed=seeds, shift=st.floats(-10, 10), scale=st.floats(0.1, 10))
def test_that_the_spread_ignores_a_shift_and_scales(seed, shift, scale):
    ensemble, _, _ = problem(seed)
    np.testing.assert_allclose(spread(shift + scale * ensemble), scale * spread(ensemble), rtol=1e-9)


def test_that_the_spread_counts_one_degree_of_freedom_for_the_mean():
    np.testing.assert_allclose(spread([[0.0, 1.0], [2.0, 1.0]]), [np.sqrt(2.0), 0.0])


@pytest.mark.parametrize(
    ("predicted", "values", "deviation", "words"),
    [
        (np.ones((3, 2)), np.ones(3), np.ones(3), "predicted"),
        (np.ones(3), np.ones(3), np.ones(3), "predicted"),
        (np.ones((3, 0)), np.ones(0), np.ones(0), "one observation"),
        (np.ones((3, 2)), np.ones((2, 1)), np.ones(2), "values"),
        (np.ones((3, 2)), np.array([1.0, np.nan]), np.ones(2), "values"),
        (np.array([[1.0, 1.0], [1.0, np.inf]]), np.ones(2), np.ones(2), "member 1"),
        (np.ones((3, 2)), np.ones(2), np.array([1.0, 0.0]), "above 0"),
        (np.ones((3, 2)), np.ones(2), np.ones(3), "standard deviations"),
        (np.ones((3, 2)), np.ones(2), np.array([1.0, np.nan]), "standard_deviation"),
    ],
)
def test_that_what_cannot_be_compared_is_named(predicted, values, deviation, words):
    with pytest.raises(DataError, match=words):
        normalized_misfit(predicted, values, deviation)


def test_that_groups_of_another_length_are_refused():
    with pytest.raises(DataError, match="groups"):
        misfit_by_group(np.ones((3, 2)), np.ones(2), np.ones(2), ["a"])


@pytest.mark.parametrize("ensemble", [np.ones((1, 4)), np.ones(4), np.array([[1.0], [np.nan]])])
def test_that_a_spread_needs_two_finite_members(ensemble):
    with pytest.raises(DataError):
        spread(ensemble)
