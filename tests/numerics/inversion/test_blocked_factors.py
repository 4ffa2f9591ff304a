import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.inversion.blocked_factors import covariance_factors, gain_factors
from daflow.numerics.inversion.updates import (
    InversionSettings,
    tapered_covariance_factors,
    tapered_gain_factors,
)
from daflow.numerics.obs_error.covariance import BlockDiagonalCovariance, DenseCovariance, DiagonalCovariance
from daflow.numerics.observations import blocks as observation_blocks
from daflow.numerics.observations.blocks import blocks_of_arrays

KINDS = ("diagonal", "dense", "block")


def problem(seed, kind, n_members, n_obs, size=1.0):
    rng = np.random.default_rng(seed)
    error = {
        "diagonal": lambda: DiagonalCovariance(rng.uniform(0.3, 2, n_obs)),
        "dense": lambda: DenseCovariance(np.eye(n_obs) + 0.5),
        "block": lambda: BlockDiagonalCovariance([np.eye(n) + 0.4 for n in (1, n_obs - 3, 2)]),
    }[kind]()
    predicted = 5 + size * rng.standard_normal((n_members, n_obs))
    return predicted, rng.standard_normal((n_members, n_obs)), error


def plain(predicted, observed, error, alpha):
    """Return both pairs of factors by the formulas."""
    n, anomalies = len(predicted) - 1, anomalies_of(predicted)
    inverse = np.linalg.inv(anomalies.T @ anomalies / n + alpha * error.dense())
    mismatch = observed - predicted
    return (anomalies @ inverse / n, mismatch), (anomalies / n, mismatch @ inverse)


def close(actual, expected, rtol=1e-12):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=rtol * np.abs(other).max())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), n_members=st.integers(2, 9), n_obs=st.integers(4, 40))
def test_that_blocks_give_the_factors_that_the_formulas_give(kind, seed, n_members, n_obs):
    arrays = problem(seed, kind, n_members, n_obs)
    of_gain, of_covariance = plain(*arrays, 1.7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observation_blocks, "BLOCK_NUMBERS", 1)
        patch.setattr(observation_blocks, "WINDOW_NUMBERS", 30)
        close(gain_factors(blocks_of_arrays(*arrays), 1.7), of_gain)
        close(covariance_factors(blocks_of_arrays(*arrays), 1.7), of_covariance)


@pytest.mark.parametrize("make", [tapered_gain_factors, tapered_covariance_factors])
def test_that_they_lie_observation_by_observation_in_memory(make):
    for factor in make(*problem(0, "diagonal", 4, 30)):
        assert factor.shape == (4, 30)
        assert factor.T.flags.c_contiguous


def test_that_a_difference_that_rounding_would_spoil_is_not_taken():
    predicted, observed, error = problem(0, "diagonal", 4, 30, size=1e4)
    assert covariance_factors(blocks_of_arrays(predicted, observed, error), 1.0) is None
    right = tapered_covariance_factors(predicted, observed, error).right
    by_modes = InversionSettings(inversion="subspace_rescaled")
    expected = tapered_covariance_factors(predicted, observed, error, by_modes).right
    np.testing.assert_allclose(right, expected, rtol=0, atol=1e-14 * np.abs(predicted).max())
