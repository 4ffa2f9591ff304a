import numpy as np
import pytest

from daflow.errors import DataError
from daflow.numerics.obs_error.desroziers import desroziers_by_group, desroziers_sums


def cycles(n_analyses, assumed_scale=1.0):
    """Return departures of independent linear-Gaussian analyses, and the true covariances."""
    rng = np.random.default_rng(0)
    root = np.tril(rng.uniform(0.5, 1, (4, 4)))
    forecast, error = root @ root.T, np.diag([0.5, 1.0, 1.0, 2.0])
    error[0, 1] = error[1, 0] = 0.3
    mistakes = rng.standard_normal((n_analyses, 4)) @ root.T
    noise = rng.standard_normal((n_analyses, 4)) @ np.linalg.cholesky(error).T
    gain = forecast @ np.linalg.inv(forecast + assumed_scale * error)
    innovations = noise - mistakes
    return innovations, innovations - innovations @ gain.T, forecast, error, gain


def test_that_the_right_errors_are_found_again():
    innovations, residuals, forecast, error, gain = cycles(200_000)
    found = desroziers_sums(innovations, residuals)
    np.testing.assert_allclose(found.obs_error, error, atol=0.03)
    np.testing.assert_allclose(found.forecast_error, forecast, atol=0.03)
    np.testing.assert_allclose(found.analysis_error, forecast - gain @ forecast, atol=0.03)
    np.testing.assert_allclose(found.bias, 0, atol=0.02)
    np.testing.assert_allclose(found.std_ratio(np.diag(error)), 1, atol=0.03)
    np.testing.assert_array_equal(found.obs_error, found.obs_error.T)


def test_that_errors_assumed_too_large_are_diagnosed_smaller_than_assumed():
    innovations, residuals, _, error, _ = cycles(50_000, assumed_scale=4.0)
    ratio = desroziers_sums(innovations, residuals).std_ratio(4 * np.diag(error))
    assert (ratio < 0.95).all()


def test_that_sums_over_parts_are_those_over_the_whole():
    innovations, residuals, *_ = cycles(50)
    whole = desroziers_sums(innovations, residuals)
    parts = desroziers_sums(innovations[:20], residuals[:20]) + desroziers_sums(
        innovations[20:], residuals[20:]
    )
    assert parts.n_analyses == 50
    for name in ("obs_error", "forecast_error", "analysis_error", "bias"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-13)


def test_that_a_negative_variance_counts_as_zero():
    assert desroziers_sums([[1.0]], [[-0.5]]).std_ratio([1.0]).tolist() == [0.0]


def test_that_what_cannot_be_used_is_refused():
    with pytest.raises(DataError, match="no departures"):
        desroziers_sums(np.empty((0, 3)), np.empty((0, 3)))
    with pytest.raises(DataError, match="residuals"):
        desroziers_sums(np.ones((2, 3)), np.ones((2, 2)))
    with pytest.raises(DataError, match="positive"):
        desroziers_sums([[1.0]], [[0.5]]).std_ratio([0.0])


def test_that_a_group_s_ratio_is_the_factor_by_which_its_errors_are_wrong():
    # In a scalar analysis with the right gain the residual is r / (b + r) of the innovation.
    rng, n, factors = np.random.default_rng(5), 40_000, np.array([0.5, 2.0])
    groups = np.repeat([0, 1], n // 2)
    scale = rng.uniform(0.1, 10.0, n)
    right, spread = (factors[groups] * scale) ** 2, (1.5 * scale) ** 2
    innovations = np.sqrt(right + spread) * rng.standard_normal(n)
    residuals = right / (right + spread) * innovations
    found = desroziers_by_group(innovations, residuals, scale**2, groups)
    np.testing.assert_allclose(found.ratio, factors, rtol=0.03)
    assert found.n_obs.tolist() == [n // 2, n // 2]
    np.testing.assert_allclose(found.assumed**2, [np.mean(scale[groups == g] ** 2) for g in (0, 1)])


def test_that_with_one_variance_a_group_s_ratio_is_that_of_the_mean_covariance():
    rng = np.random.default_rng(6)
    before, after = rng.standard_normal((2, 5))
    found = desroziers_by_group(before, before + after, np.full(5, 0.3), np.zeros(5))
    sums = desroziers_sums(before[:, np.newaxis], (before + after)[:, np.newaxis])
    np.testing.assert_allclose(found.ratio, sums.std_ratio([0.3]))


def test_that_a_negative_variance_is_none_and_gaps_between_groups_are_refused():
    found = desroziers_by_group([1.0, 1.0], [-1.0, 1.0], [1.0, 1.0], [0, 1])
    assert found.ratio.tolist() == [0.0, 1.0]
    with pytest.raises(DataError, match="do not fit"):
        desroziers_by_group([1.0], [1.0], [1.0], [1])
