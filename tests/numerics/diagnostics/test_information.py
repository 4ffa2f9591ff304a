import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.diagnostics.information import (
    degrees_of_freedom_for_signal,
    effective_rank,
    gram_of,
    information_content,
    innovation_chi_square,
)

drawn = given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.integers(1, 8))


def problem(seed, n_members, n_obs):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((n_obs, n_obs))
    return rng.standard_normal((n_members, n_obs)), rng.standard_normal(n_obs), root @ root.T + np.eye(n_obs)


@settings(max_examples=30)
@drawn
def test_that_all_are_those_of_the_plain_formulas(seed, n_members, n_obs):
    predicted, values, error = problem(seed, n_members, n_obs)
    spread = np.atleast_2d(np.cov(predicted.T))
    gain = spread @ np.linalg.inv(spread + error)
    assert degrees_of_freedom_for_signal(predicted, error) == pytest.approx(np.trace(gain), rel=1e-9)
    _, determinant = np.linalg.slogdet(np.eye(n_obs) + spread @ np.linalg.inv(error))
    assert information_content(predicted, error) == pytest.approx(determinant / 2, rel=1e-9)
    innovation = values - predicted.mean(axis=0)
    whole = (n_members + 1) / n_members * spread + error
    expected = innovation @ np.linalg.solve(whole, innovation) / n_obs
    assert innovation_chi_square(predicted, values, error) == pytest.approx(expected, rel=1e-8)


@settings(max_examples=30)
@drawn
def test_that_the_degrees_of_freedom_lie_between_none_and_the_rank(seed, n_members, n_obs):
    predicted, _, error = problem(seed, n_members, n_obs)
    rank = min(n_members - 1, n_obs)
    assert degrees_of_freedom_for_signal(predicted, 1e12 * error) == pytest.approx(0, abs=1e-6)
    assert degrees_of_freedom_for_signal(predicted, 1e-12 * error) == pytest.approx(rank, abs=1e-3)
    scale = 10.0 ** np.arange(n_obs)
    scaled = degrees_of_freedom_for_signal(predicted * scale, error * np.outer(scale, scale))
    assert scaled == pytest.approx(degrees_of_freedom_for_signal(predicted, error), rel=1e-7)


def test_that_chi_square_is_one_where_the_truth_is_drawn_like_the_members():
    rng = np.random.default_rng(0)
    root = np.tril(rng.uniform(0.5, 1, (5, 5)))
    found = []
    for _ in range(400):
        members = rng.standard_normal((61, 5)) @ root.T
        found.append(innovation_chi_square(members[1:], members[0] + rng.standard_normal(5), np.ones(5)))
    assert np.mean(found) == pytest.approx(1.0, abs=0.12)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_that_the_effective_rank_lies_between_one_and_the_members_less_one_by_slices(seed, n_members):
    members = np.random.default_rng(seed).standard_normal((n_members, 6))
    scales = np.arange(1.0, 7.0)
    gram = gram_of(members, scales)
    assert 1 - 1e-12 <= effective_rank(gram) <= n_members - 1 + 1e-12
    assert effective_rank(7 * gram) == pytest.approx(effective_rank(gram))
    np.testing.assert_allclose(
        gram_of(members[:, :2], scales[:2]) + gram_of(members[:, 2:], scales[2:]), gram
    )


def test_that_the_effective_rank_is_that_of_known_ensembles():
    assert effective_rank(gram_of(np.eye(5))) == pytest.approx(4)
    assert effective_rank(gram_of(np.arange(5.0)[:, np.newaxis] * np.ones(3))) == pytest.approx(1)
    assert effective_rank(gram_of(np.ones((4, 3)))) == 0.0


def test_that_what_cannot_be_used_is_refused():
    with pytest.raises(DataError, match="scale"):
        gram_of(np.ones((3, 2)), [1.0, 0.0])
    with pytest.raises(DataError, match="two members"):
        degrees_of_freedom_for_signal([[1.0]], [1.0])
