from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import CombinationError, DataError
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.inversion.blocked_projection import PROJECTIONS, compress
from daflow.numerics.inversion.innovation import MOST_OBS_SQUARED, InnovationCovariance
from daflow.numerics.inversion.inversions import INVERSIONS, prepare_inversion
from daflow.numerics.inversion.updates import InversionSettings, global_transform, transform_by_blocks
from daflow.numerics.obs_error.covariance import (
    BlockDiagonalCovariance,
    DenseCovariance,
    DiagonalCovariance,
    LowRankPlusDiagonalCovariance,
)
from daflow.numerics.observations import blocks as observation_blocks
from daflow.numerics.observations.blocks import BlockedObservations, blocks_of_arrays

KINDS = ("diagonal", "dense", "block", "low_rank")
any_kind = pytest.mark.parametrize("kind", KINDS)
blocked = pytest.mark.parametrize("inversion", PROJECTIONS)
seeds = st.integers(0, 2**32 - 1)


def error_of(kind, rng, n_obs, strength=1.0):
    if kind == "diagonal":
        return DiagonalCovariance(rng.uniform(0.3, 2, n_obs))
    if kind == "dense":
        square = rng.standard_normal((n_obs, n_obs))
        return DenseCovariance(square @ square.T / n_obs + np.eye(n_obs))
    if kind == "block":
        sizes = np.diff([0, *np.sort(rng.choice(n_obs, min(n_obs // 3, 9), replace=False)), n_obs])
        return BlockDiagonalCovariance([0.5 * np.eye(n) + 0.3 for n in sizes if n])
    patterns = strength * rng.standard_normal((n_obs, int(rng.integers(1, 4))))
    return LowRankPlusDiagonalCovariance(patterns, rng.uniform(0.3, 2, n_obs))


def problem(seed, kind, n_members, n_obs, strength=1.0):
    rng = np.random.default_rng(seed)
    error = error_of(kind, rng, n_obs, strength)
    predicted = 5 + rng.standard_normal((n_members, 3)) @ rng.standard_normal((3, n_obs))
    predicted += rng.standard_normal((n_members, n_obs)) + 3 * error.patterns.sum(axis=1)
    return predicted, error.sample(rng.standard_normal((n_members, n_obs))), error


def in_blocks_of(size, act, *given):
    """Carry out with blocks of so many observations, windows of a few blocks."""
    n_members = len(given[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observation_blocks, "BLOCK_NUMBERS", 1)
        patch.setattr(observation_blocks, "WINDOW_NUMBERS", 3 * size * n_members)
        source = blocks_of_arrays(*given)
        return act(Narrow(source.n_members, source.obs_error, source.predicted, source.perturbed, size))


class Narrow(BlockedObservations):
    """Blocks of any size."""

    __slots__ = ("size",)

    def __init__(self, n_members, obs_error, predicted, perturbed, size):
        super().__init__(n_members, obs_error, predicted, perturbed)
        object.__setattr__(self, "size", size)

    def predictions(self):
        for where, part in self.obs_error.parts(self.size):
            yield where, part, self.predicted(where.start, where.stop)


def plain(predicted, observed, error, alpha, inversion="naive", truncation=1.0):
    """Return the transform by the formula, with all observations at once."""
    anomalies = anomalies_of(predicted)
    innovation = InnovationCovariance(anomalies, error, alpha)
    weights = prepare_inversion(inversion, innovation, truncation).project(observed - predicted)
    weights /= len(predicted) - 1
    return np.eye(len(predicted)) + weights - weights.mean(axis=1, keepdims=True)


def close(actual, expected, rtol=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * max(1.0, np.abs(expected).max()))


@any_kind
@settings(max_examples=25)
@given(seeds, st.integers(2, 9), st.integers(3, 60), st.integers(1, 70), st.sampled_from(list(PROJECTIONS)))
def test_that_the_size_of_blocks_does_not_matter(kind, seed, n_members, n_obs, size, inversion):
    arrays = problem(seed, kind, n_members, n_obs)
    how = InversionSettings(1.3, inversion)
    narrow = in_blocks_of(size, lambda source: transform_by_blocks(source, how), *arrays)
    close(narrow, transform_by_blocks(blocks_of_arrays(*arrays), how))


@any_kind
@settings(max_examples=25)
@given(
    seeds,
    st.integers(2, 9),
    st.integers(3, 60),
    st.integers(1, 70),
    st.sampled_from([name for name in PROJECTIONS if name != "subspace"]),
)
def test_that_blocks_give_what_the_plain_formula_gives(kind, seed, n_members, n_obs, size, inversion):
    arrays = problem(seed, kind, n_members, n_obs)
    how = InversionSettings(1.3, inversion)
    close(
        in_blocks_of(size, lambda source: transform_by_blocks(source, how), *arrays),
        plain(*arrays, 1.3),
        1e-11,
    )


@any_kind
@pytest.mark.parametrize("inversion", ["rescaled", "subspace", "subspace_rescaled"])
@pytest.mark.parametrize("truncation", [0.95, 0.6, 0.05])
@pytest.mark.parametrize("shape", [(6, 50), (9, 7), (5, 5)])
def test_that_blocks_truncate_as_the_whole_does(kind, inversion, truncation, shape):
    arrays = problem(3, kind, *shape)
    how = InversionSettings(1.3, inversion, truncation)
    expected = plain(*arrays, 1.3, inversion, truncation)
    close(in_blocks_of(4, lambda source: transform_by_blocks(source, how), *arrays), expected, 1e-11)


@pytest.mark.parametrize("inversion", ["exact_cholesky", "subspace_rescaled"])
@pytest.mark.parametrize("strength", [1e-3, 1.0, 1e3, 1e6])
def test_that_shared_errors_cost_no_more_digits_than_their_own_strength_does(inversion, strength):
    # The predictions differ along the patterns as well, three times as much as these are strong.
    rng = np.random.default_rng(1)
    predicted, observed, error = problem(2, "low_rank", 4, 12, strength)
    predicted += 3 * rng.standard_normal((4, error.patterns.shape[1])) @ error.patterns.T
    how = InversionSettings(1.0, inversion)
    actual = in_blocks_of(5, lambda source: transform_by_blocks(source, how), predicted, observed, error)
    # Rounding the predictions alone moves them by so much in units of the independent errors.
    rounding = np.finfo(float).eps * np.abs(predicted / np.sqrt(error.variances)).max()
    rtol = max(1e-12, 5 * rounding)
    close(actual, exactly(predicted, observed, error), rtol)


def exactly(predicted, observed, error):
    """Return the transform by the formula, in rational numbers."""
    y, d, f, r = (
        np.vectorize(Fraction, otypes=[object])(array)
        for array in (predicted, observed, error.factor, np.diag(error.variances))
    )
    n_members, n_obs = y.shape
    z = y - y.sum(axis=0) / n_members
    system = np.concatenate([z.T @ z / Fraction(n_members - 1) + r + f @ f.T, z.T], axis=1)
    for pivot in range(n_obs):
        system[pivot] /= system[pivot, pivot]
        others = np.arange(n_obs) != pivot
        system[others] -= np.multiply.outer(system[others, pivot], system[pivot])
    weights = ((d - y) @ system[:, n_obs:] / Fraction(n_members - 1)).astype(float)
    return np.eye(n_members) + weights - weights.mean(axis=1, keepdims=True)


def test_that_what_is_compressed_has_the_same_signal_and_no_more_observations_than_members_and_patterns():
    arrays = problem(5, "low_rank", 4, 300)
    few, mismatch = in_blocks_of(7, lambda source: compress(source, 2.0), *arrays)
    assert few.n_obs == mismatch.shape[1] == 4 + arrays[2].patterns.shape[1]
    assert few.n_obs + few.n_silent == 300
    many = InnovationCovariance(anomalies_of(arrays[0]), arrays[2], 2.0)
    for one, other in ((few, many), (many, few)):
        z, zz = one.whitened_anomalies(), other.whitened_anomalies()
        close(z @ z.T, zz @ zz.T, 1e-12)


def test_that_predictions_are_read_once_and_by_windows():
    predicted, observed, error = problem(0, "diagonal", 3, 100)
    asked = []

    def read(start, stop):
        asked.append((start, stop))
        return predicted[:, start:stop].copy()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observation_blocks, "BLOCK_NUMBERS", 36)
        patch.setattr(observation_blocks, "WINDOW_NUMBERS", 120)
        source = BlockedObservations(3, error, read, lambda: lambda where, _: observed[:, where])
        transform = transform_by_blocks(source)
    assert asked == [(0, 36), (36, 72), (72, 100)]
    close(transform, global_transform(predicted, observed, error))


def test_that_predictions_that_are_not_finite_are_refused_by_the_observations_they_are_of():
    predicted, observed, error = problem(0, "diagonal", 3, 10)
    predicted[1, 4] = np.nan
    with pytest.raises(DataError, match=r"observations 0 to 10.* first at \[1, 4\]"):
        transform_by_blocks(blocks_of_arrays(predicted, observed, error))


@pytest.mark.parametrize("inversion", [name for name in INVERSIONS if name not in PROJECTIONS])
def test_that_too_many_observations_for_their_square_are_refused_before_it_is_formed(inversion):
    n_obs = MOST_OBS_SQUARED + 1
    predicted = np.random.default_rng(0).standard_normal((2, n_obs))
    how = InversionSettings(inversion=inversion)
    with pytest.raises(CombinationError, match=r"20,001 observations: 3\.2 GB"):
        global_transform(predicted, predicted + 1, np.ones(n_obs), how)
