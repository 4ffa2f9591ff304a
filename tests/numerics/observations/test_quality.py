import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError, DataError
from daflow.numerics.observations.quality import (
    background_check,
    robust_outliers,
    standardized_departures,
)


def problem(rng, n_members=30, n_obs=2000):
    spread = rng.uniform(0.5, 3, n_obs)
    truth, predicted = rng.standard_normal(n_obs), rng.standard_normal((n_members, n_obs))
    variances = rng.uniform(0.3, 2, n_obs)
    return spread * predicted, spread * truth + np.sqrt(variances) * rng.standard_normal(n_obs), variances


def test_that_departures_have_unit_variance_where_ensemble_and_errors_are_right():
    predicted, values, variances = problem(np.random.default_rng(0))
    departures = standardized_departures(predicted, values, variances)
    assert departures.std() == pytest.approx(1.0, abs=0.07)
    assert background_check(predicted, values, variances).mean() > 0.98


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 5), st.floats(0.1, 5))
def test_that_a_larger_threshold_never_drops_more(seed, one, other):
    given_ = problem(np.random.default_rng(seed), 5, 20)
    small, large = (background_check(*given_, threshold) for threshold in sorted((one, other)))
    assert (large >= small).all()
    assert background_check(*given_, np.inf).all()


def test_that_gross_errors_are_found_and_units_do_not_matter():
    predicted, values, variances = problem(np.random.default_rng(1), 10, 50)
    values[7] += 100
    kept = background_check(predicted, values, variances)
    assert not kept[7]
    np.testing.assert_array_equal(background_check(1e3 * predicted, 1e3 * values, 1e6 * variances), kept)


def test_that_outliers_among_departures_are_found_whatever_the_shift_and_unit():
    departures = np.random.default_rng(2).standard_normal(200)
    departures[[3, 50]] = [9.0, -8.0]
    for values in (departures, 5 + 1e4 * departures):
        assert {3, 50} <= set(np.flatnonzero(robust_outliers(values)))
        assert robust_outliers(values).sum() < 6
    np.testing.assert_array_equal(robust_outliers([1.0, 1.0, 1.0, 1.5]), [False, False, False, True])
    assert robust_outliers([]).size == 0


def test_that_what_cannot_be_used_is_refused():
    with pytest.raises(ConfigError, match="background"):
        background_check([[1.0], [2.0]], [1.0], [1.0], 0.0)
    with pytest.raises(ConfigError, match="outliers"):
        robust_outliers([1.0], -1.0)
    with pytest.raises(DataError):
        standardized_departures([[1.0], [2.0]], [1.0], [0.0])
