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
    inflation_by_blocks,
    inflation_of_increments,
    inflation_of_innovations,
)
from daflow.numerics.obs_error.covariance import (
    BlockDiagonalCovariance,
    DenseCovariance,
    DiagonalCovariance,
    LowRankPlusDiagonalCovariance,
)
from daflow.numerics.observations import blocks
from daflow.numerics.observations.blocks import BlockedInnovations


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


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["diagonal", "dense", "block", "low_rank"]))
def test_that_observations_read_by_blocks_tell_what_all_at_once_tell(seed, kind):
    rng = np.random.default_rng(seed)
    n_members, n_obs = int(rng.integers(2, 8)), int(rng.integers(2, 40))
    predicted, values = rng.standard_normal((n_members, n_obs)), 3 * rng.standard_normal(n_obs)
    error = errors(rng, n_obs)[kind]
    source = BlockedInnovations(n_members, error, lambda a, b: predicted[:, a:b], values)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(blocks, "BLOCK_NUMBERS", 1)
        found = inflation_by_blocks(source)
    np.testing.assert_allclose(
        found, inflation_of_innovations(predicted, values, error), rtol=1e-9, atol=1e-9
    )


def test_that_predictions_without_spread_read_by_blocks_tell_nothing():
    source = BlockedInnovations(
        3, DiagonalCovariance(np.ones(2)), lambda a, b: np.ones((3, b - a)), np.ones(2)
    )
    assert inflation_by_blocks(source) is None


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


@settings(max_examples=30)
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
