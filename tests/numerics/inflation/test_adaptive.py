import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.inflation.adaptive import (
    InflationEstimate,
    combined_inflation,
    inflation_by_blocks,
)
from daflow.numerics.obs_error.covariance import (
    BlockDiagonalCovariance,
    DenseCovariance,
    DiagonalCovariance,
    LowRankPlusDiagonalCovariance,
    as_covariance,
)
from daflow.numerics.observations import blocks
from daflow.numerics.observations.blocks import innovations_of_arrays


def told(predicted, values, error):
    return inflation_by_blocks(innovations_of_arrays(predicted, values, as_covariance(error)))


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
    found = [told(*experiment(rng, factor)) for _ in range(1500)]
    factors = np.array([one.factor for one in found])
    assert abs(factors.mean() - factor) < 4 * factors.std() / np.sqrt(len(factors))
    # The variance is that of independent innovations of one size, which these are not.
    assert 0.2 < np.median([one.variance for one in found]) / factors.var() < 5


def errors(rng, n_obs):
    root = 0.3 * rng.standard_normal((n_obs, n_obs))
    half, dense = n_obs // 2, root @ root.T + 0.3 * np.eye(n_obs)
    parts = [dense[:half, :half], dense[half:, half:]]
    return {
        "diagonal": DiagonalCovariance(np.diag(dense)),
        "dense": DenseCovariance(dense),
        "block": BlockDiagonalCovariance(parts),
        "low_rank": LowRankPlusDiagonalCovariance(rng.standard_normal((n_obs, 3)), np.diag(dense)),
    }


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["diagonal", "dense", "block", "low_rank"]))
def test_that_observations_read_by_blocks_tell_what_the_plain_formula_tells(seed, kind):
    rng = np.random.default_rng(seed)
    n_members, n_obs = int(rng.integers(2, 8)), int(rng.integers(2, 40))
    predicted, values = rng.standard_normal((n_members, n_obs)), 3 * rng.standard_normal(n_obs)
    error = errors(rng, n_obs)[kind]
    inverse, innovation = np.linalg.inv(error.dense()), values - predicted.mean(axis=0)
    trace = np.sum(inverse * np.cov(predicted.T))
    factor = (innovation @ inverse @ innovation - n_obs) / trace
    variance = 2 / n_obs * ((max(factor, 0.0) * trace + n_obs) / trace) ** 2
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(blocks, "BLOCK_NUMBERS", 1)
        found = told(predicted, values, error)
    np.testing.assert_allclose(found, (factor, variance), rtol=1e-8, atol=1e-8)


def test_that_predictions_without_spread_tell_nothing():
    assert told(np.ones((3, 2)), np.ones(2), np.ones(2)) is None


def test_that_units_of_the_observations_do_not_matter():
    predicted, values, error = experiment(np.random.default_rng(2), 1.0)
    scale = 10.0 ** np.arange(-5, 5)
    scaled = (predicted * scale, values * scale, error * np.outer(scale, scale))
    np.testing.assert_allclose(told(*scaled), told(predicted, values, error), rtol=1e-8)


def test_that_the_variance_falls_with_the_number_of_observations():
    predicted, values, error = experiment(np.random.default_rng(3), 1.0)
    few = told(predicted, values, np.diag(error).copy())
    many = told(np.tile(predicted, 4), np.tile(values, 4), np.tile(np.diag(error), 4))
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
    with pytest.raises(DataError, match="growth"):
        combined_inflation(one, one, growth=0.9)
    with pytest.raises(DataError, match="positive"):
        combined_inflation(one, InflationEstimate(1.0, 0.0))
