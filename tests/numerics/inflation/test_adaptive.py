import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.inflation.adaptive import (
    InflationEstimate,
    combined_inflation,
    inflation_of_increments,
    inflation_of_innovations,
)


def experiment(rng, factor, n_members=20, n_obs=10):
    """Return predictions whose covariance is too small by a factor, observations and their R."""
    root = np.tril(rng.uniform(0.5, 1.5, (n_obs, n_obs))) / np.sqrt(n_obs)
    predicted = rng.standard_normal((n_members, n_obs)) @ root.T
    noise = np.tril(rng.uniform(0.2, 1.0, (n_obs, n_obs))) / np.sqrt(n_obs) + np.eye(n_obs) / 2
    own = np.sqrt(factor / (n_members - 1)) * (
        rng.standard_normal(n_members) @ (predicted - predicted.mean(0))
    )
    return predicted, predicted.mean(axis=0) + own + noise @ rng.standard_normal(n_obs), noise @ noise.T


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_that_the_estimate_of_innovations_is_unbiased_and_its_variance_of_the_right_size(factor):
    rng = np.random.default_rng(0)
    found = [inflation_of_innovations(*experiment(rng, factor)) for _ in range(1500)]
    factors = np.array([one.factor for one in found])
    assert abs(factors.mean() - factor) < 4 * factors.std() / np.sqrt(len(factors))
    # The variance is that of independent innovations of one size, which these are not.
    assert 0.2 < np.median([one.variance for one in found]) / factors.var() < 5


def test_that_the_estimate_of_increments_is_one_where_all_is_as_assumed():
    rng = np.random.default_rng(1)
    factors = []
    for _ in range(1200):
        predicted, values, error = experiment(rng, 1.0)
        posterior = apply_transform(etkf(predicted, values, error), predicted)
        factors.append(inflation_of_increments(predicted, posterior, values, error).factor)
    assert abs(np.mean(factors) - 1) < 4 * np.std(factors) / np.sqrt(len(factors))


def test_that_units_of_the_observations_do_not_matter():
    predicted, values, error = experiment(np.random.default_rng(2), 1.0)
    scale = 10.0 ** np.arange(-5, 5)
    scaled = (predicted * scale, values * scale, error * np.outer(scale, scale))
    for estimate in (
        inflation_of_innovations,
        lambda p, v, r: inflation_of_increments(p, p + (v - p) / 2, v, r),
    ):
        np.testing.assert_allclose(estimate(*scaled), estimate(predicted, values, error), rtol=1e-8)


def test_that_the_variance_falls_with_the_number_of_observations():
    predicted, values, error = experiment(np.random.default_rng(3), 1.0)
    few = inflation_of_innovations(predicted, values, np.diag(error).copy())
    many = inflation_of_innovations(np.tile(predicted, 4), np.tile(values, 4), np.tile(np.diag(error), 4))
    assert many.factor == pytest.approx(few.factor)
    assert many.variance == pytest.approx(few.variance / 4)


@settings(deadline=None, max_examples=30)
@given(st.floats(-1, 5), st.floats(1e-3, 10), st.floats(-1, 5), st.floats(1e-3, 10))
def test_that_a_combination_lies_between_and_is_known_better_than_both(old, old_var, new, new_var):
    both = combined_inflation(InflationEstimate(old, old_var), InflationEstimate(new, new_var), growth=1.0)
    assert min(old, new) - 1e-12 <= both.factor <= max(old, new) + 1e-12
    assert both.variance <= min(old_var, new_var) * (1 + 1e-12)


def test_that_what_cannot_be_used_is_refused():
    one = InflationEstimate(1.0, 1.0)
    with pytest.raises(DataError, match="spread"):
        inflation_of_innovations(np.ones((4, 2)), [1.0, 2.0], [1.0, 1.0])
    with pytest.raises(DataError, match="growth"):
        combined_inflation(one, one, growth=0.9)
    with pytest.raises(DataError, match="positive"):
        combined_inflation(one, InflationEstimate(1.0, 0.0))
