"""Analyses of observations that are read by blocks are those of the whole."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError, DataError
from daflow.numerics.filters.ensemble_transform import modes_by_blocks
from daflow.numerics.filters.filter_transforms import denkf, denkf_of, etkf, etkf_of
from daflow.numerics.filters.finite_size import finite_size_enkf, finite_size_of, mode_corrected
from daflow.numerics.filters.serial_filters import (
    serial_factors,
    serial_transform,
    serial_transform_by_blocks,
)
from daflow.numerics.localization.letkf import letkf_factors_by_blocks
from daflow.numerics.obs_error.covariance import (
    BlockDiagonalCovariance,
    DenseCovariance,
    DiagonalCovariance,
    LowRankPlusDiagonalCovariance,
)
from daflow.numerics.observations import blocks
from daflow.numerics.observations.blocks import BlockedInnovations, innovations_of_arrays


def errors(rng, n_obs):
    root = rng.standard_normal((n_obs, n_obs))
    matrix = root @ root.T + np.eye(n_obs)
    sizes = rng.integers(1, 4, n_obs).cumsum()
    ends = [0, *sizes[sizes < n_obs].tolist(), n_obs]
    variances = rng.uniform(0.3, 2, n_obs)
    return {
        "diagonal": DiagonalCovariance(variances),
        "dense": DenseCovariance(matrix),
        "block": BlockDiagonalCovariance([matrix[a:b, a:b] for a, b in pairwise(ends)]),
        "low_rank": LowRankPlusDiagonalCovariance(rng.standard_normal((n_obs, 2)), variances),
    }


def problem(seed, n_members, n_obs, kind):
    rng = np.random.default_rng(seed)
    # A mean that dwarfs the spread.
    predicted = 1e3 + rng.standard_normal((n_members, n_obs))
    return predicted, predicted[0] + rng.standard_normal(n_obs), errors(rng, n_obs)[kind]


drawn = given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 9),
    st.integers(1, 40),
    st.sampled_from(["diagonal", "dense", "block", "low_rank"]),
    st.integers(1, 300),
    st.integers(1, 900),
)


def read_by(monkeypatch, block, window):
    monkeypatch.setattr(blocks, "BLOCK_NUMBERS", block)
    monkeypatch.setattr(blocks, "WINDOW_NUMBERS", window)


def close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))


@settings(max_examples=40)
@drawn
def test_that_blocks_give_what_the_whole_gives(seed, n_members, n_obs, kind, block, window):
    given_ = problem(seed, n_members, n_obs, kind)
    with pytest.MonkeyPatch.context() as patched:
        # A block has four observations a member at least: fewer members read by blocks than there are.
        read_by(patched, block, window)
        found = modes_by_blocks(innovations_of_arrays(*given_))
    for whole, part in ((etkf(*given_), etkf_of(found)), (denkf(*given_), denkf_of(found))):
        close(part.matrix, whole.matrix)
        close(part.mean_weights, whole.mean_weights)
    for hyperprior in (mode_corrected(), mode_corrected(2.0)):
        close(
            finite_size_of(found, hyperprior=hyperprior).transform.matrix,
            finite_size_enkf(*given_, hyperprior=hyperprior).transform.matrix,
            1e-9,
        )


@settings(max_examples=40)
@drawn
def test_that_serial_filters_by_blocks_are_those_of_the_whole(seed, n_members, n_obs, kind, block, window):
    predicted, values, error = problem(seed, n_members, n_obs, kind)
    for scheme in ("ensrf", "eakf"):
        factors = serial_factors(
            error.whiten(predicted - predicted[0]),
            error.whiten(values - predicted[0]),
            np.ones(n_obs),
            scheme=scheme,
        )
        with pytest.MonkeyPatch.context() as patched:
            read_by(patched, block, window)
            found = serial_transform_by_blocks(innovations_of_arrays(predicted, values, error), scheme)
        close(found.matrix, serial_transform(factors).matrix, 1e-11)


def test_that_the_matrix_does_what_mean_weights_and_anomalies_do():
    predicted, values, error = problem(1, 7, 5, "dense")
    transform = etkf(predicted, values, error)
    state = np.random.default_rng(0).standard_normal((7, 11))
    mean = state.mean(axis=0)
    expected = mean + transform.mean_weights @ (state - mean) + transform.anomaly_transform @ (state - mean)
    close(transform.matrix @ state, expected)
    close(transform.matrix.sum(axis=1), np.ones(7))


@pytest.mark.parametrize("make", [modes_by_blocks, serial_transform_by_blocks, letkf_factors_by_blocks])
def test_that_memory_does_not_grow_with_what_is_read(make, monkeypatch):
    read_by(monkeypatch, 2**14, 2**16)
    n_members, n_obs = 20, 20_000
    rng = np.random.default_rng(0)
    offsets = rng.standard_normal((n_members, 1))

    def predicted(start, stop):
        return offsets * np.cos(np.arange(start, stop) / 1e3 + offsets)

    source = BlockedInnovations(
        n_members, DiagonalCovariance(np.full(n_obs, 1e4)), predicted, np.zeros(n_obs)
    )
    tracemalloc.start()
    try:
        found = make(source)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    kept = found.anomalies.nbytes if hasattr(found, "anomalies") else 0
    # The predictions alone would be 3.2 MB.
    assert peak - 2 * kept < 2.4e6


def test_that_what_cannot_be_used_is_refused():
    predicted, values, error = problem(0, 5, 4, "dense")
    with pytest.raises(ConfigError, match="ensrf, eakf"):
        serial_transform_by_blocks(innovations_of_arrays(predicted, values, error), "enkf")
    with pytest.raises(DataError, match="two members"):
        innovations_of_arrays(predicted[:1], values, error)
    one = BlockedInnovations(1, error, lambda start, stop: predicted[:1, start:stop], values)
    for make in (modes_by_blocks, serial_transform_by_blocks):
        with pytest.raises(DataError, match="two members"):
            make(one)
    with pytest.raises(DataError, match="observations 0 to 4"):
        modes_by_blocks(
            BlockedInnovations(5, error, lambda start, stop: np.full((5, stop - start), np.nan), values)
        )
