"""Laws of the misfits and of the spread."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.diagnostics.misfit import normalized_misfit, spread

seeds = st.integers(0, 2**32 - 1)


def problem(seed, n_members=5, n_obs=7):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_members, n_obs)), rng.normal(size=n_obs), rng.uniform(0.1, 3.0, n_obs)


def test_that_the_misfit_is_the_mean_square_in_standard_deviations():
    misfit = normalized_misfit([[1.0, 2.0], [3.0, 6.0]], [1.0, 4.0], [1.0, 2.0])
    np.testing.assert_array_equal(misfit, [0.5, 2.5])


@given(seed=seeds)
@settings(deadline=None)
def test_that_a_perfect_prediction_has_no_misfit(seed):
    _, values, deviation = problem(seed)
    perfect = np.tile(values, (3, 1))
    np.testing.assert_array_equal(normalized_misfit(perfect, values, deviation), 0.0)


@given(seed=seeds, scale=st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_that_the_misfit_does_not_know_the_units(seed, scale):
    predicted, values, deviation = problem(seed)
    expected = normalized_misfit(predicted, values, deviation)
    got = normalized_misfit(scale * predicted, scale * values, scale * deviation)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@given(seed=seeds, shift=st.floats(-10, 10), scale=st.floats(0.1, 10))
@settings(deadline=None)
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


@pytest.mark.parametrize("ensemble", [np.ones((1, 4)), np.ones(4), np.array([[1.0], [np.nan]])])
def test_that_a_spread_needs_two_finite_members(ensemble):
    with pytest.raises(DataError):
        spread(ensemble)
