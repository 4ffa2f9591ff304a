import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.inversion import global_update, thin_transform
from daflow.numerics.inversion.global_update import transform_members
from daflow.numerics.inversion.thin_transform import (
    ANOMALIES,
    MATRIX,
    WEIGHTS,
    ThinTransform,
    is_transform,
    matrix_of,
    transform_arrays,
    transform_of,
)
from daflow.numerics.inversion.updates import InversionSettings, transform_by_blocks
from daflow.numerics.obs_error.covariance import DenseCovariance, DiagonalCovariance
from daflow.numerics.observations.blocks import blocks_of_arrays

sizes = st.integers(1, 6).flatmap(lambda n_obs: st.tuples(st.integers(2 * n_obs, 14), st.just(n_obs)))
seeds = st.integers(0, 2**32 - 1)
HOW = InversionSettings(1.5)


@pytest.fixture
def thin(monkeypatch):
    monkeypatch.setattr(thin_transform, "THIN_FROM", 2)


def observed(seed, n_members, n_obs, *, dense=False):
    rng = np.random.default_rng(seed)
    predicted, perturbed = rng.standard_normal((2, n_members, n_obs))
    root = rng.standard_normal((n_obs, n_obs))
    error = DenseCovariance(root @ root.T + np.eye(n_obs)) if dense else DiagonalCovariance(1 + root[0] ** 2)
    return blocks_of_arrays(predicted, perturbed, error)


def factors_of(seed, n_members, k):
    weights, anomalies = np.random.default_rng(seed).standard_normal((2, n_members, k))
    return ThinTransform(weights, anomalies - anomalies.mean(axis=0))


@settings(max_examples=60)
@given(seeds, sizes, st.booleans())
def test_that_the_factors_are_the_matrix(seed, shape, dense):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thin_transform, "THIN_FROM", 2)
        arrays = transform_arrays(observed(seed, *shape, dense=dense), HOW)
    assert set(arrays) == {WEIGHTS, ANOMALIES}
    expected = transform_by_blocks(observed(seed, *shape, dense=dense), HOW)
    np.testing.assert_allclose(matrix_of(arrays), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("n_members", "n_obs", "inversion"),
    [(9, 5, "exact_cholesky"), (12, 3, "exact_woodbury"), (12, 3, "subspace")],
)
def test_that_many_observations_and_other_inversions_give_the_matrix(thin, n_members, n_obs, inversion):
    arrays = transform_arrays(observed(1, n_members, n_obs), InversionSettings(1.0, inversion))
    assert set(arrays) == {MATRIX}
    assert transform_of(arrays) is matrix_of(arrays) is arrays[MATRIX]


def test_that_fewer_members_give_the_matrix():
    assert set(transform_arrays(observed(1, thin_transform.THIN_FROM // 8, 2))) == {MATRIX}


def test_that_names_tell_a_transform_from_more_than_that():
    assert is_transform({MATRIX})
    assert is_transform({WEIGHTS, ANOMALIES})
    assert not is_transform({MATRIX, "mean"})
    assert not is_transform({WEIGHTS})
    assert matrix_of({"mean": np.zeros(2)}) is None


@settings(max_examples=60)
@given(
    seed=seeds,
    shape=st.tuples(st.integers(2, 12), st.integers(1, 300), st.integers(1, 5)),
    mean=st.sampled_from([0.0, 1e4]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_that_no_number_is_further_from_the_exact_product_than_the_bound(seed, shape, mean, dtype):
    n_members, n, k = shape
    prior = (mean + np.random.default_rng(seed).standard_normal((n_members, n))).astype(dtype)
    transform, wide = factors_of(seed, n_members, k), prior.astype(np.longdouble)
    departures = wide - wide[0]
    exact = wide + transform.weights.astype(np.longdouble) @ (transform.anomalies.T @ departures)
    sizes_of_terms = np.abs(transform.weights) @ (np.abs(transform.anomalies).T @ np.abs(departures))
    transform_members(transform, prior, prior)
    unit = np.finfo(dtype).eps / 2
    assert (np.abs(prior - exact) <= unit * (n_members + k + 4) * (np.abs(wide) + sizes_of_terms)).all()


@settings(max_examples=40)
@given(seeds, st.tuples(st.integers(2, 12), st.integers(1, 300), st.integers(1, 5)), st.integers(1, 4))
def test_that_neither_threads_nor_the_place_change_a_bit(seed, shape, n_threads):
    n_members, n, k = shape
    prior = np.random.default_rng(seed).standard_normal((n_members, n))
    transform, apart = factors_of(seed, n_members, k), np.empty_like(prior)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(global_update, "LONGEST_BLOCK", 64)
        transform_members(transform, prior, apart)
        transform_members(transform, prior, prior, n_threads)
    assert prior.tobytes() == apart.tobytes()


def test_that_members_that_agree_are_left_alone_exactly():
    prior = np.repeat(np.random.default_rng(2).standard_normal((1, 70)), 8, axis=0)
    before = prior.copy()
    transform_members(factors_of(3, 8, 2), prior, prior)
    assert prior.tobytes() == before.tobytes()


def test_that_what_is_not_finite_stays_in_its_column():
    prior = np.random.default_rng(2).standard_normal((8, 70))
    prior[3, 5] = np.nan
    transform_members(factors_of(3, 8, 2), prior, prior)
    assert np.flatnonzero(~np.isfinite(prior).all(axis=0)).tolist() == [5]


def test_that_factors_that_do_not_keep_the_sum_are_refused():
    transform = factors_of(3, 8, 2)
    off = ThinTransform(transform.weights, transform.anomalies + 0.1)
    with pytest.raises(DataError, match="do not sum to one"):
        transform_members(off, np.zeros((8, 4)), np.zeros((8, 4)))
    with pytest.raises(DataError, match="does not fit"):
        transform_members(transform, np.zeros((7, 4)), np.zeros((7, 4)))


def test_that_many_members_and_few_observations_never_make_a_matrix_of_members():
    n_members, n_obs = 6_000, 20
    source = observed(4, n_members, n_obs)
    prior = np.zeros((n_members, 64))
    tracemalloc.start()
    transform_members(transform_of(transform_arrays(source)), prior, prior)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n_members**2 * 8 / 10
