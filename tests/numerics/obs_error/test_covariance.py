from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.obs_error.covariance import (
    BlockDiagonalCovariance,
    DenseCovariance,
    DiagonalCovariance,
    LowRankPlusDiagonalCovariance,
    as_covariance,
)


def spd(rng, n):
    square = rng.standard_normal((n, n))
    return square @ square.T / n + np.eye(n)


def make(kind, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    if kind == "diagonal":
        return DiagonalCovariance(rng.uniform(0.1, 3, n))
    if kind == "dense":
        return DenseCovariance(spd(rng, n))
    if kind == "block":
        return BlockDiagonalCovariance([spd(rng, int(size)) for size in rng.integers(1, 4, 3)])
    return LowRankPlusDiagonalCovariance(
        rng.standard_normal((n, int(rng.integers(1, 12)))), rng.uniform(0.1, 2, n)
    )


KINDS = ("diagonal", "dense", "block", "low_rank")
any_kind = pytest.mark.parametrize("kind", KINDS)
seeds = st.integers(0, 2**32 - 1)


def close(actual, expected, rtol=1e-11):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * max(np.abs(expected).max(), 1e-300))


@any_kind
@settings(max_examples=30)
@given(seed=seeds)
def test_that_whiten_and_colour_undo_each_other(kind, seed):
    covariance = make(kind, seed)
    rows = np.random.default_rng(seed).standard_normal((4, covariance.n_obs))
    close(covariance.whiten(covariance.colour(rows)), rows)
    close(covariance.colour(covariance.whiten(rows)), rows)


@any_kind
@settings(max_examples=30)
@given(seed=seeds)
def test_that_colour_of_the_identity_squares_to_the_covariance(kind, seed):
    covariance = make(kind, seed)
    rows = covariance.colour(np.eye(covariance.n_obs))
    close(rows.T @ rows, covariance.dense())


@any_kind
@settings(max_examples=30)
@given(seed=seeds)
def test_that_solve_undoes_multiply_and_is_whiten_adjoint_after_whiten(kind, seed):
    covariance = make(kind, seed)
    rows = np.random.default_rng(seed).standard_normal((4, covariance.n_obs))
    close(covariance.multiply(rows), rows @ covariance.dense())
    close(covariance.solve(covariance.multiply(rows)), rows, 1e-9)
    close(covariance.solve(rows), covariance.whiten_adjoint(covariance.whiten(rows)), 1e-10)


@any_kind
@settings(max_examples=30)
@given(seed=seeds)
def test_that_every_form_gives_what_the_dense_form_gives(kind, seed):
    covariance = make(kind, seed)
    dense = DenseCovariance(covariance.dense())
    rows = np.random.default_rng(seed).standard_normal((3, covariance.n_obs))
    close(covariance.solve(rows), dense.solve(rows), 1e-9)
    close(covariance.logdet(), dense.logdet(), 1e-9)
    close(covariance.logdet(), np.linalg.slogdet(covariance.dense())[1], 1e-9)
    close(covariance.diagonal(), np.diagonal(covariance.dense()))
    close(
        covariance.whiten(rows) @ covariance.whiten(rows).T, dense.whiten(rows) @ dense.whiten(rows).T, 1e-9
    )


@any_kind
def test_that_one_row_gives_one_row(kind):
    covariance = make(kind, 3)
    row = np.arange(1.0, covariance.n_obs + 1)
    for act in ("multiply", "solve", "whiten", "whiten_adjoint", "colour", "sample"):
        close(getattr(covariance, act)(row), getattr(covariance, act)(row[None])[0], 1e-14)


@any_kind
def test_that_samples_have_the_covariance(kind):
    covariance = make(kind, 5)
    n_draws = 40_000
    draws = covariance.sample(np.random.default_rng(1).standard_normal((n_draws, covariance.n_obs)))
    # The standard error of a sample covariance is at most sqrt(2 / n) of the largest variance.
    limit = 6 * np.sqrt(2 / n_draws) * covariance.diagonal().max()
    assert np.abs(np.cov(draws.T) - covariance.dense()).max() < limit


def test_that_dense_and_block_forms_colour_by_the_lower_cholesky_factor():
    matrix = np.array([[4.0, 1.8], [1.8, 1.0]])
    lower = np.linalg.cholesky(matrix)
    normals = np.array([[1.0, 2.0], [-1.0, 0.5]])
    close(DenseCovariance(matrix).colour(normals), normals @ lower.T, 1e-15)
    close(BlockDiagonalCovariance([matrix]).colour(normals), normals @ lower.T, 1e-15)


def test_that_low_rank_plus_diagonal_never_needs_a_square_matrix():
    n_obs = 200_000  # a square matrix would take 320 GB
    rng = np.random.default_rng(0)
    factor = 0.05 * rng.standard_normal((n_obs, 3))
    covariance = LowRankPlusDiagonalCovariance(factor, rng.uniform(1, 2, n_obs))
    row = rng.standard_normal(n_obs)
    close(covariance.multiply(covariance.solve(row)), row)
    close(covariance.whiten(covariance.colour(row)), row)
    small = np.eye(3) + (factor / covariance.variances[:, None]).T @ factor
    close(covariance.logdet(), np.log(covariance.variances).sum() + np.linalg.slogdet(small)[1])


def test_that_what_a_covariance_was_made_of_can_change_without_it():
    variances = np.array([1.0, 4.0])
    covariance = DiagonalCovariance(variances)
    variances[:] = 9.0
    assert covariance.diagonal().tolist() == [1.0, 4.0]
    with pytest.raises(ValueError, match="read-only"):
        covariance.diagonal()[0] = 2.0


def test_that_a_notebook_may_give_variances_or_a_matrix():
    assert isinstance(as_covariance([1.0, 2.0]), DiagonalCovariance)
    assert isinstance(as_covariance(np.eye(2)), DenseCovariance)
    made = DiagonalCovariance([1.0])
    assert as_covariance(made) is made


@any_kind
@settings(max_examples=30)
@given(seed=seeds, size=st.integers(1, 10))
def test_that_r_is_block_diagonal_in_its_parts_plus_the_patterns_whatever_the_size(kind, seed, size):
    covariance = make(kind, seed)
    whole, end = covariance.patterns @ covariance.patterns.T, 0
    for where, part in covariance.parts(size):
        assert where.start == end
        assert part.n_obs == where.stop - where.start
        assert part.n_obs <= max(size, 3) or kind == "dense"
        root = part.colour(np.eye(part.n_obs))
        whole[where, where] += root.T @ root
        rows = np.random.default_rng(seed).standard_normal((2, part.n_obs))
        close(part.whiten(part.colour(rows)), rows)
        end = where.stop
    assert end == covariance.n_obs
    close(whole, covariance.dense())


def test_that_blocks_of_many_sizes_give_what_each_gives_alone():
    rng = np.random.default_rng(0)
    blocks = [spd(rng, int(size)) for size in rng.choice([1, 2, 3, 40], 30)]
    covariance, rows = BlockDiagonalCovariance(blocks), rng.standard_normal((3, sum(map(len, blocks))))
    for act in ("multiply", "solve", "whiten", "whiten_adjoint", "colour"):
        together = getattr(covariance, act)(rows)
        for start, block, kept in zip(covariance.ends, blocks, covariance.blocks, strict=False):
            where = slice(start, start + len(block))
            close(together[:, where], getattr(DenseCovariance(block), act)(rows[:, where]), 1e-13)
            np.testing.assert_allclose(kept, block, rtol=1e-15)


BAD = {
    "no square block": (lambda: BlockDiagonalCovariance([np.eye(2), np.ones((2, 3))]), "block 1: .*square"),
    "no matrix": (lambda: BlockDiagonalCovariance([np.eye(1), np.ones(1)]), "block 1: .*wrong shape"),
    "infinite block": (lambda: BlockDiagonalCovariance([np.full((1, 1), np.inf)]), "block 0: .*finite"),
    "number for a block": (lambda: BlockDiagonalCovariance([1.0]), "block 0: .*wrong shape"),
    "text for a block": (lambda: BlockDiagonalCovariance([[["a"]]]), "block 0 .*real numbers"),
    "crooked block": (lambda: BlockDiagonalCovariance([[[1.0, 0.5], [0.1, 1.0]]]), "block 0: .*symmetric"),
    "negative variance": (lambda: DiagonalCovariance([1.0, -2.0]), "number 1 is not"),
    "zero variance": (lambda: DiagonalCovariance([0.0]), "number 0 is not"),
    "no variances": (lambda: DiagonalCovariance([]), "empty"),
    "nan variance": (lambda: DiagonalCovariance([1.0, np.nan]), r"first at \[1\]"),
    "text": (lambda: DiagonalCovariance(["a"]), "real numbers"),
    "masked": (lambda: DiagonalCovariance(np.ma.masked_less([1.0, -1.0], 0)), "masked"),
    "ragged": (lambda: DenseCovariance([[1.0], [1.0, 2.0]]), "no array"),
    "not square": (lambda: DenseCovariance(np.ones((2, 3))), "not square"),
    "one axis": (lambda: DenseCovariance(np.ones(3)), "wrong shape"),
    "not symmetric": (lambda: DenseCovariance([[1.0, 0.5], [0.1, 1.0]]), r"not symmetric: \[0, 1\]"),
    "indefinite": (lambda: DenseCovariance([[1.0, 2.0], [2.0, 1.0]]), "smallest eigenvalue -1"),
    "no blocks": (lambda: BlockDiagonalCovariance([]), "no blocks"),
    "bad block": (lambda: BlockDiagonalCovariance([np.eye(2), -np.eye(1)]), "block 1: .*positive definite"),
    "factor shape": (lambda: LowRankPlusDiagonalCovariance(np.ones((3, 1)), np.ones(2)), "wrong shape"),
    "no patterns": (lambda: LowRankPlusDiagonalCovariance(np.ones((2, 0)), np.ones(2)), "no columns"),
    "low-rank variance": (lambda: LowRankPlusDiagonalCovariance(np.ones((2, 1)), [1.0, 0.0]), "independent"),
    "three axes": (lambda: as_covariance(np.ones((1, 1, 1))), "3 axes"),
    "a number": (lambda: as_covariance(4.0), "float"),
    "rows": (lambda: DiagonalCovariance([1.0, 2.0]).whiten(np.ones((2, 3))), "do not fit"),
}


@pytest.mark.parametrize("case", BAD)
def test_that_what_is_no_covariance_is_refused_by_name(case):
    make_it, words = BAD[case]
    with pytest.raises(DataError, match=words):
        make_it()


def test_that_rounding_in_symmetry_is_forgiven_and_removed():
    matrix = np.array([[2.0, 1.0], [1.0 + 1e-13, 2.0]])
    dense = DenseCovariance(matrix).dense()
    assert dense[0, 1] == dense[1, 0]


def test_that_blocks_do_not_act_on_each_other():
    covariance = make("block", 11)
    edges = covariance.ends
    dense = covariance.dense().copy()
    for start, stop in pairwise(edges):
        dense[start:stop, start:stop] = 0
    assert not dense.any()
