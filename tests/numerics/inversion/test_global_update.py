import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError, DataError
from daflow.numerics.inversion import global_update
from daflow.numerics.inversion.global_update import LONGEST_BLOCK, transform_members, update_in_place
from daflow.numerics.inversion.updates import InversionSettings, perturbed_observation_update

sizes = st.tuples(st.integers(2, 12), st.integers(1, 300), st.integers(1, 15))
seeds = st.integers(0, 2**32 - 1)
either_type = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def problem(seed, n_members, n_state, n_obs):
    rng = np.random.default_rng(seed)
    prior = 3 + rng.standard_normal((n_members, n_state))
    predicted, observed = rng.standard_normal((2, n_members, n_obs))
    return prior, predicted, observed, rng.uniform(0.3, 2, n_obs)


def transform_of(seed, n_members, size=1.0):
    transform = size * np.random.default_rng(seed).standard_normal((n_members, n_members))
    transform -= transform.mean(axis=1, keepdims=True)
    return transform + np.eye(n_members)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12 * max(1.0, np.abs(expected).max()))


@settings(max_examples=40)
@given(seeds, sizes, st.sampled_from(["exact_cholesky", "subspace_rescaled"]))
def test_that_in_place_equals_the_plain_update(seed, shape, inversion):
    prior, *rest = problem(seed, *shape)
    expected = perturbed_observation_update(prior, *rest, alpha=1.5, inversion=inversion)
    update_in_place(prior, *rest, InversionSettings(1.5, inversion))
    close(prior, expected)


@settings(max_examples=40)
@given(seeds, sizes, st.integers(1, 5), st.sampled_from([np.float32, np.float64]))
def test_that_neither_threads_nor_the_place_change_a_bit(seed, shape, n_threads, dtype):
    n_members, n, _ = shape
    prior = np.random.default_rng(seed).standard_normal((n_members, n)).astype(dtype)
    transform, apart = transform_of(seed, n_members), np.empty_like(prior)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(global_update, "LONGEST_BLOCK", 64)
        transform_members(transform, prior, apart)
        transform_members(transform, prior, prior, n_threads)
    assert prior.tobytes() == apart.tobytes()


@settings(max_examples=40)
@given(seeds, sizes, st.sampled_from([64, 100, LONGEST_BLOCK]), st.sampled_from([64, 2000, 2**20]))
def test_that_the_size_of_blocks_does_not_matter(seed, shape, longest, numbers):
    n_members, n, _ = shape
    prior = np.random.default_rng(seed).standard_normal((n_members, n))
    transform = transform_of(seed, n_members)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(global_update, "LONGEST_BLOCK", longest)
        patch.setattr(global_update, "BUFFER_NUMBERS", numbers)
        posterior = np.empty_like(prior)
        transform_members(transform, prior, posterior)
    close(posterior, transform @ prior)


@either_type
@settings(max_examples=40)
@given(seed=seeds, shape=sizes, mean=st.sampled_from([0.0, 1.0, 1e4]), size=st.sampled_from([0.1, 10.0]))
def test_that_no_number_is_further_from_the_exact_product_than_the_bound(dtype, seed, shape, mean, size):
    n_members, n, _ = shape
    prior = (mean + np.random.default_rng(seed).standard_normal((n_members, n))).astype(dtype)
    transform, wide = transform_of(seed, n_members, size), prior.astype(np.longdouble)
    departures = wide - wide[0]
    exact = wide[0] + transform.astype(np.longdouble) @ departures
    bound = np.abs(wide[0]) + np.abs(transform) @ np.abs(departures)
    transform_members(transform, prior, prior)
    unit = np.finfo(dtype).eps / 2
    assert (np.abs(prior - exact) <= unit * (n_members + 4) * bound).all()


def test_that_float32_follows_the_float64_update():
    prior, *rest = problem(0, 50, 2000, 30)
    expected, single = prior.astype(np.float32).astype(float), prior.astype(np.float32)
    spread = expected.std(axis=0).max()
    update_in_place(expected, *rest)
    update_in_place(single, *rest)
    assert single.dtype == np.float32
    assert np.abs(single - expected).max() <= 8 * np.finfo(np.float32).eps * (spread + np.abs(expected).max())


@either_type
@pytest.mark.parametrize(
    "cut",
    [
        lambda wide: wide[:, :700],
        lambda wide: wide[:, 300:],
        lambda wide: wide[::2],
        lambda wide: wide.T[:40],
        lambda wide: wide[:, ::3],
    ],
    ids=["left", "right", "every other row", "columns together", "every third column"],
)
def test_that_a_view_is_updated_where_it_lies_and_nothing_beside_it(cut, dtype):
    wide = np.random.default_rng(1).standard_normal((60, 1000)).astype(dtype)
    view, expected = cut(wide), wide.copy()
    transform = transform_of(2, len(view), 0.1)
    cut(expected)[...] = (transform @ view.astype(float)).astype(dtype)
    transform_members(transform, view, view)
    np.testing.assert_allclose(wide, expected, rtol=0, atol=100 * np.finfo(dtype).eps)
    beside = np.ones(wide.shape, bool)
    cut(beside)[...] = False
    assert (wide[beside] == expected[beside]).all()


@either_type
def test_that_where_all_members_agree_so_do_the_posteriors(dtype):
    prior = np.random.default_rng(1).standard_normal((9, 50)).astype(dtype)
    prior[:, 7], prior[:, 11] = 0.1, 1e30
    before = prior.copy()
    transform_members(transform_of(0, 9, 100.0), prior, prior)
    assert (prior[:, [7, 11]] == before[:, [7, 11]]).all()
    assert (prior[:, 0] != before[:, 0]).all()


@either_type
def test_that_constant_predictions_change_nothing(dtype):
    prior = 1e9 + np.random.default_rng(1).standard_normal((9, 50)).astype(dtype)
    before, apart = prior.copy(), np.zeros_like(prior)
    update_in_place(prior, np.full((9, 4), 0.3), np.ones((9, 4)), np.ones(4))
    transform_members(np.eye(9), prior, apart)
    assert prior.tobytes() == before.tobytes() == apart.tobytes()


@either_type
@pytest.mark.parametrize("member", [0, 3])
def test_that_what_is_not_finite_stays_in_its_column(dtype, member):
    prior = np.random.default_rng(1).standard_normal((9, 50)).astype(dtype)
    sound, transform = prior.copy(), transform_of(0, 9)
    prior[member, 7], prior[member, 9] = np.nan, np.inf
    transform_members(transform, sound, sound)
    transform_members(transform, prior, prior, 2)
    others = np.delete(np.arange(50), [7, 9])
    assert not np.isfinite(prior[:, [7, 9]]).any()
    assert prior[:, others].tobytes() == sound[:, others].tobytes()


def test_that_an_empty_slice_stays_empty():
    empty = np.empty((5, 0))
    transform_members(transform_of(0, 5), empty, empty, 2)
    assert empty.shape == (5, 0)


def read_only():
    array = np.ones((4, 3))
    array.setflags(write=False)
    return array


BAD_PRIORS = {
    "a list": ([[1.0], [2.0]], "no array"),
    "one axis": (np.ones(4), "no array"),
    "whole numbers": (np.ones((4, 3), int), "float64 or float32"),
    "foreign bytes": (np.ones((4, 3), np.dtype(float).newbyteorder()), "float64 or float32"),
    "read-only": (read_only(), "written to"),
    "masked": (np.ma.masked_less(np.ones((4, 3)), 0), "masked"),
    "not finite": (np.where(np.eye(4, 3), np.nan, 1.0), r"prior has 3 .* first at \[0, 0\]"),
    "infinite": (np.full((4, 3), np.inf, np.float32), r"prior has 12 .* first at \[0, 0\]"),
    "other members": (np.ones((5, 3)), "does not fit the ensemble"),
}


@pytest.mark.parametrize("case", BAD_PRIORS)
def test_that_a_prior_that_cannot_be_updated_is_refused_and_unchanged(case):
    prior, words = BAD_PRIORS[case]
    before = np.array(prior)
    predicted = np.random.default_rng(0).standard_normal((4, 2))
    with pytest.raises(DataError, match=words):
        update_in_place(prior, predicted, predicted + 1, np.ones(2))
    np.testing.assert_array_equal(np.array(prior), before)


def test_that_large_finite_numbers_are_not_taken_for_infinite_ones():
    prior = np.full((4, 3), 1.7e308)
    predicted = np.random.default_rng(0).standard_normal((4, 2))
    update_in_place(prior, predicted, predicted + 1, np.ones(2))
    assert (prior == 1.7e308).all()


def test_that_what_does_not_fit_is_refused():
    prior = np.ones((4, 3))
    with pytest.raises(DataError, match="posterior does not fit"):
        transform_members(np.eye(4), prior, np.ones((4, 3), np.float32))
    with pytest.raises(DataError, match="sum to one"):
        transform_members(2 * np.eye(4), prior, prior)
    with pytest.raises(ConfigError, match="needs a thread"):
        transform_members(np.eye(4), prior, prior, 0)
