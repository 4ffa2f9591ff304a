import numpy as np
import pytest

from daflow.errors import DataError
from daflow.numerics.obs_error.desroziers import desroziers_by_group


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
    expected = np.sqrt(max(np.mean((before + after) * before), 0.0) / 0.3)
    np.testing.assert_allclose(found.ratio, expected)


def test_that_a_negative_variance_is_none_and_gaps_between_groups_are_refused():
    found = desroziers_by_group([1.0, 1.0], [-1.0, 1.0], [1.0, 1.0], [0, 1])
    assert found.ratio.tolist() == [0.0, 1.0]
    with pytest.raises(DataError, match="do not fit"):
        desroziers_by_group([1.0], [1.0], [1.0], [1])
