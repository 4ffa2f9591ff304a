from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError, DataError
from daflow.numerics.diagnostics.rank_histogram import (
    divergence_from_uniform,
    rank_histogram,
    ranks,
    shared_rank_histogram,
)

with np.load(Path(__file__).parents[2] / "golden" / "rank_kl.npz") as _arrays:
    GOLDEN = {key: _arrays[key] for key in _arrays.files}


def test_that_the_golden_histogram_and_divergence_are_met():
    counts = rank_histogram(GOLDEN["ens"].T, GOLDEN["truth"])
    np.testing.assert_array_equal(counts, GOLDEN["counts"])
    assert divergence_from_uniform(counts) == pytest.approx(float(GOLDEN["kl"]), rel=1e-12)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 20))
def test_that_monotone_maps_change_nothing_and_parts_add_up(seed, n_members, n):
    rng = np.random.default_rng(seed)
    members, truth = rng.standard_normal((n_members, n)), rng.standard_normal(n)
    np.testing.assert_array_equal(ranks(np.exp(members), np.exp(truth)), ranks(members, truth))
    parts = [rank_histogram(members[:, s], truth[s]) for s in (slice(n // 2), slice(n // 2, None))]
    np.testing.assert_array_equal(sum(parts), rank_histogram(members, truth))
    assert rank_histogram(members, truth).sum() == n


def test_that_a_truth_drawn_like_the_members_gives_a_flat_histogram_and_others_do_not():
    rng = np.random.default_rng(0)
    members = rng.standard_normal((4, 20_000))
    flat, narrow, biased = (
        divergence_from_uniform(rank_histogram(members, truth))
        for truth in (rng.standard_normal(20_000), 2 * rng.standard_normal(20_000), 1 + members[0])
    )
    assert flat < 1e-3
    assert narrow > 50 * flat
    assert biased == np.inf


def test_that_empty_bins_are_infinite_unless_something_is_added():
    assert divergence_from_uniform([3, 0, 3]) == np.inf
    assert 0 < divergence_from_uniform([3, 0, 3], added=0.5) < np.inf
    assert divergence_from_uniform([4, 4, 4]) == 0.0


def test_that_what_cannot_be_used_is_refused():
    with pytest.raises(ConfigError, match="added"):
        divergence_from_uniform([1, 2], added=-1)
    for counts in ([0, 0], [-1, 2], []):
        with pytest.raises(DataError, match="counts"):
            divergence_from_uniform(counts)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 15))
def test_that_members_that_equal_the_truth_share_its_ranks(seed, n_members, n):
    rng = np.random.default_rng(seed)
    members, truth = rng.integers(0, 3, (n_members, n)).astype(float), rng.integers(0, 3, n).astype(float)
    expected = np.zeros(n_members + 1)
    for case in range(n):
        below = np.count_nonzero(members[:, case] < truth[case])
        equal = np.count_nonzero(members[:, case] == truth[case])
        expected[below : below + equal + 1] += 1 / (equal + 1)
    np.testing.assert_allclose(shared_rank_histogram(members, truth), expected, atol=1e-12)
    apart = members + 0.1 * rng.random((n_members, n)) + 0.01
    np.testing.assert_allclose(shared_rank_histogram(apart, truth), rank_histogram(apart, truth), atol=1e-12)


def test_that_rain_that_nobody_forecasts_and_that_does_not_fall_says_nothing():
    assert divergence_from_uniform(shared_rank_histogram(np.zeros((9, 50)), np.zeros(50))) < 1e-12
