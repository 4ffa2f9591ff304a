"""Figures by blocks against the plain formulas."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.diagnostics.information import (
    degrees_of_freedom_for_signal,
    effective_rank,
    gram_of,
    innovation_chi_square,
)
from daflow.numerics.diagnostics.innovations import innovation_figures
from daflow.numerics.diagnostics.misfit import normalized_misfit
from daflow.numerics.obs_error.covariance import (
    BlockDiagonalCovariance,
    DenseCovariance,
    DiagonalCovariance,
    LowRankPlusDiagonalCovariance,
)
from daflow.numerics.observations import blocks

FORMS = ("diagonal", "dense", "block", "low_rank")


def positive(rng, n):
    root = rng.standard_normal((n, n))
    return root @ root.T / n + 0.2 * np.eye(n)


def error_of(form, rng, n_obs):
    variances = rng.uniform(0.1, 2.0, n_obs)
    match form:
        case "diagonal":
            return DiagonalCovariance(variances)
        case "dense":
            return DenseCovariance(positive(rng, n_obs))
        case "block":
            first = int(rng.integers(0, n_obs))
            return BlockDiagonalCovariance([positive(rng, n) for n in (first, n_obs - first) if n])
        case _:
            return LowRankPlusDiagonalCovariance(rng.standard_normal((n_obs, rng.integers(1, 4))), variances)


def reader(predicted):
    return lambda start, stop: predicted[:, start:stop].copy()


@settings(max_examples=50)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 8),
    st.integers(1, 30),
    st.sampled_from(FORMS),
    st.integers(1, 40),
    st.sampled_from([1e-2, 1.0, 1e2]),
)
def test_that_figures_by_blocks_are_those_of_the_plain_formulas(seed, n_members, n_obs, form, block, scale):
    rng = np.random.default_rng(seed)
    predicted, values = scale * rng.standard_normal((n_members, n_obs)), rng.standard_normal(n_obs)
    error = error_of(form, rng, n_obs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_NUMBERS", n_members * block)
        patch.setattr(blocks, "WINDOW_NUMBERS", 3 * n_members * block)
        found = innovation_figures(n_members, reader(predicted), values, error)
    spread, inverse = np.atleast_2d(np.cov(predicted.T)), np.linalg.inv(error.dense())
    innovation, residuals = values - predicted.mean(axis=0), values - predicted
    whole = (n_members + 1) / n_members * spread + error.dense()
    expected = innovation @ np.linalg.solve(whole, innovation) / n_obs
    assert found.chi_square == pytest.approx(expected, rel=1e-7)
    assert found.chi_square == pytest.approx(innovation_chi_square(predicted, values, error), rel=1e-7)
    gain = spread @ np.linalg.inv(spread + error.dense())
    assert found.signal == pytest.approx(np.trace(gain), rel=1e-7)
    assert found.signal == pytest.approx(degrees_of_freedom_for_signal(predicted, error), rel=1e-7)
    assert found.rank == pytest.approx(effective_rank(gram_of(error.whiten(predicted))), rel=1e-9)
    misfits = np.einsum("ij,jk,ik->i", residuals, inverse, residuals) / n_obs
    assert found.misfit == pytest.approx(misfits.mean(), rel=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(FORMS[:2]))
def test_that_the_order_of_the_observations_and_their_units_do_not_matter(seed, form):
    rng = np.random.default_rng(seed)
    predicted, values, error = rng.standard_normal((5, 7)), rng.standard_normal(7), error_of(form, rng, 7)
    order, units = rng.permutation(7), 10.0 ** rng.integers(-6, 6, 7)
    found = innovation_figures(5, reader(predicted), values, error)
    dense = (error.dense() * np.outer(units, units))[np.ix_(order, order)]
    other = innovation_figures(
        5, reader((predicted * units)[:, order]), (values * units)[order], DenseCovariance(dense)
    )
    np.testing.assert_allclose(other, found, rtol=1e-8)


def test_that_the_misfit_is_the_mean_normalized_misfit_where_errors_are_independent():
    rng = np.random.default_rng(5)
    predicted, values, std = rng.standard_normal((6, 9)), rng.standard_normal(9), rng.uniform(0.5, 2, 9)
    found = innovation_figures(6, reader(predicted), values, DiagonalCovariance(std**2))
    assert found.misfit == pytest.approx(normalized_misfit(predicted, values, std).mean(), rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_that_chi_square_is_one_for_a_truth_that_is_drawn_like_the_members(form):
    # 200 problems of 12 observations: a standard deviation of sqrt(2 / 2400) = 0.029; with 60 members the
    # inverse of a sampled covariance is too large by up to 1 + 12 / 60 where R adds nothing, less here.
    rng = np.random.default_rng(11)
    error = error_of(form, rng, 12)
    found = []
    for _ in range(200):
        states = rng.standard_normal((61, 12)) @ np.tril(np.full((12, 12), 0.4))
        values = states[0] + error.sample(rng.standard_normal((1, 12)))[0]
        found.append(innovation_figures(60, reader(states[1:]), values, error).chi_square)
    assert np.mean(found) == pytest.approx(1.0, abs=0.13)


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_that_chi_square_tells_an_ensemble_that_promises_too_much_or_too_little(factor):
    rng = np.random.default_rng(12)
    error, found = DiagonalCovariance(np.full(10, 0.01)), []
    for _ in range(50):
        states = rng.standard_normal((61, 10))
        values = states[0] + 0.1 * rng.standard_normal(10)
        found.append(innovation_figures(60, reader(factor * states[1:]), values, error).chi_square)
    assert np.mean(found) > 3 if factor < 1 else np.mean(found) < 0.5


def test_that_what_a_strong_pattern_leaves_is_not_lost():
    rng = np.random.default_rng(3)
    pattern = rng.standard_normal((20, 1))
    error = LowRankPlusDiagonalCovariance(1e7 * pattern, np.full(20, 0.5))
    predicted = rng.standard_normal((5, 20)) + 1e7 * rng.standard_normal((5, 1)) * pattern.T
    values = rng.standard_normal(20)
    found = innovation_figures(5, reader(predicted), values, error)
    assert found.signal == pytest.approx(degrees_of_freedom_for_signal(predicted, error), rel=1e-5)
    assert 0 < found.chi_square < 20


def test_that_what_rounding_hides_is_not_told():
    rng = np.random.default_rng(4)
    predicted, values = rng.standard_normal((5, 3)), rng.standard_normal(3)
    found = innovation_figures(5, reader(predicted), values, DiagonalCovariance(np.full(3, 1e-20)))
    assert np.isnan(found.chi_square)
    assert np.isnan(found.signal)
    assert 1 <= found.rank <= 3
    assert found.misfit > 1e15


def test_that_members_that_agree_leave_the_plain_misfit():
    found = innovation_figures(
        3, reader(np.ones((3, 2))), np.array([2.0, 4.0]), DiagonalCovariance(np.ones(2))
    )
    assert found == pytest.approx((5.0, 0.0, 0.0, 5.0))


@pytest.mark.parametrize("bad", [np.nan, 1e300])
def test_that_predictions_that_cannot_be_used_are_refused(bad):
    predicted = np.ones((3, 2))
    predicted[1, 1] = bad
    with pytest.raises(DataError):
        innovation_figures(3, reader(predicted), np.ones(2), DiagonalCovariance(np.full(2, 1e-20)))


@pytest.mark.parametrize("form", ["diagonal", "low_rank"])
def test_that_many_members_and_few_observations_never_make_a_matrix_of_members(form):
    n_members, n_obs, rng = 3_000, 10, np.random.default_rng(8)
    predicted = rng.standard_normal((n_members, n_obs))
    error = error_of(form, rng, n_obs)
    tracemalloc.start()
    innovation_figures(n_members, reader(predicted), np.zeros(n_obs), error)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n_members**2 * 8 / 10
